"""Settings: what each variable means, and what a wrong one says."""

from pathlib import Path

import pytest

from ledger.endpoints import Terms
from lockgate.config import SettingError, Settings

WRONG = [
    ("LOCKGATE_LOCK_HOURS", "0", "24 or 0.5"),
    ("LOCKGATE_LOCK_HOURS", "-1", "24 or 0.5"),
    ("LOCKGATE_LOCK_HOURS", "0.0001", "from 1 s"),
    ("LOCKGATE_LOCK_HOURS", "a day", "24 or 0.5"),
    ("LOCKGATE_LOCK_HOURS", "nan", "24 or 0.5"),
    ("LOCKGATE_LOCK_HOURS", "inf", "87600 h"),
    ("LOCKGATE_HOLD_HOURS", "0", "24 or 0.5"),
    ("LOCKGATE_CLEARING_HOURS", "-0.5", "from 0"),
    ("LOCKGATE_COOL_OFF_HOURS", "-1", "from 0"),
    ("LOCKGATE_GIFTABLE_ORIGINS", "purchase,bonus", "purchase, promo, free_tier, gift"),
    ("LOCKGATE_GIFTABLE_ORIGINS", "purchase,", "purchase, promo, free_tier, gift"),
    ("LOCKGATE_SETTLE_EVERY_S", "0", "above 0"),
    ("LOCKGATE_SETTLE_EVERY_S", "often", "above 0"),
    ("LOCKGATE_WEBHOOK_PRIVATE", "yes", "allow or refuse"),
    ("LOCKGATE_WEBHOOK_TIMEOUT_S", "31", "up to 30"),
    ("LOCKGATE_WEBHOOK_RETRY_S", "0", "above 0"),
    ("LOCKGATE_WEBHOOK_EVERY_S", "-1", "above 0"),
    ("LOCKGATE_WEBHOOK_GIVE_UP_DAYS", "0", "5 or 0.5"),
    ("LOCKGATE_WEBHOOK_KEEP_DAYS", "for ever", "up to 3650"),
    ("LOCKGATE_ONLY", "gate", "ledger or detector"),
    ("LOCKGATE_SCORER", "http://scorer", "--only ledger"),
    ("LOCKGATE_SCORER_DEADLINE_MS", "5", "from 10 to 60000"),
    ("LOCKGATE_SCORER_FAILURES", "none", "from 1 to 1000"),
    ("LOCKGATE_SCORER_REST_S", "nan", "from 0.1 to 600"),
    ("LOCKGATE_SCORER_PATIENCE_HOURS", "-1", "24 or 0.5"),
]


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.database_url is None
    assert settings.home == Path(".lockgate")
    assert (settings.lock_s, settings.hold_s, settings.clearing_s) == (86_400, 259_200, 86_400)
    assert settings.giftable_origins == {"purchase", "promo", "gift"}
    assert settings.settle_every_s == 1.0


def test_every_variable_is_read() -> None:
    settings = Settings.from_env(
        {
            "DATABASE_URL": "postgres://me:secret@db.example/credits",
            "LOCKGATE_HOME": "~/lockgate",
            "LOCKGATE_LOCK_HOURS": "0.5",
            "LOCKGATE_HOLD_HOURS": "1",
            "LOCKGATE_CLEARING_HOURS": "0",
            "LOCKGATE_COOL_OFF_HOURS": "2",
            "LOCKGATE_GIFTABLE_ORIGINS": "purchase, free_tier",
            "LOCKGATE_SETTLE_EVERY_S": "0.25",
            "LOCKGATE_WEBHOOK_PRIVATE": "allow",
            "LOCKGATE_WEBHOOK_TIMEOUT_S": "5",
            "LOCKGATE_WEBHOOK_RETRY_S": "0.5",
            "LOCKGATE_WEBHOOK_EVERY_S": "0.1",
            "LOCKGATE_WEBHOOK_GIVE_UP_DAYS": "2",
            "LOCKGATE_WEBHOOK_KEEP_DAYS": "0.5",
        }
    )
    assert settings == Settings(
        database_url="postgres://me:secret@db.example/credits",
        home=Path.home() / "lockgate",
        lock_s=1800,
        hold_s=3600,
        clearing_s=0,
        cool_off_s=7200,
        giftable_origins=frozenset({"purchase", "free_tier"}),
        settle_every_s=0.25,
        webhooks=Terms(private=True, timeout_s=5, retry_s=0.5, give_up_s=172_800, keep_s=43_200),
        webhook_every_s=0.1,
    )
    assert isinstance(settings.lock_s, int)


def test_a_blank_variable_counts_as_unset() -> None:
    names = {name for name, _, _ in WRONG} | {"DATABASE_URL", "LOCKGATE_HOME"}
    assert Settings.from_env(dict.fromkeys(names, "  ")) == Settings()


@pytest.mark.parametrize(("name", "text", "cure"), WRONG)
def test_a_wrong_variable_is_named_with_its_value_and_the_cure(name: str, text: str, cure: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({name: text})
    assert name in str(caught.value)
    assert repr(text) in str(caught.value)
    assert cure in str(caught.value)


def test_a_wrong_database_url_never_shows_its_password() -> None:
    with pytest.raises(SettingError, match=r"DATABASE_URL is .* write postgresql://") as caught:
        Settings.from_env({"DATABASE_URL": "mysql://me:secret@db/credits"})
    assert "secret" not in str(caught.value)
