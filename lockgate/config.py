"""Settings, read once from the environment; whoever needs one is handed it.

A blank variable counts as unset. A wrong one stops the start, naming the variable, its value and the cure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn, get_args
from urllib.parse import urlsplit

from ledger.endpoints import DAY_S, Terms
from ledger.signatures import Scheme, key

# The artifacts that come with this version.
SHIPPED = Path(__file__).resolve().parent.parent / "models"
ORIGINS = ("purchase", "promo", "free_tier", "gift")
Half = Literal["ledger", "detector"]
LONGEST_HOURS = 87_600  # ten years: far beyond any use, and far from overflowing a PostgreSQL timestamp

LONGEST_DAYS = 3_650
LONGEST_TIMEOUT_S = 30  # a post must end within its endpoint's lease


class SettingError(ValueError):
    """An environment variable that Lockgate cannot use."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator chose.

    >>> Settings.from_env({"LOCKGATE_LOCK_HOURS": "0.5"}).lock_s
    1800
    """

    database_url: str | None = None
    home: Path = Path(".lockgate")
    lock_s: int = 24 * 3600
    hold_s: int = 72 * 3600
    clearing_s: int = 24 * 3600
    cool_off_s: int = 24 * 3600
    giftable_origins: frozenset[str] = frozenset({"purchase", "promo", "gift"})
    settle_every_s: float = 1.0
    trusted_key: str | None = None
    models: Path = SHIPPED
    # By scheme of signing; more than one secret while an endpoint's is being rotated.
    identity_secrets: Mapping[Scheme, tuple[str, ...]] = field(default_factory=dict)
    webhooks: Terms = field(default_factory=Terms)
    webhook_every_s: float = 0.5
    # One half of the house alone; a ledger alone asks the scorer at this URL.
    only: Half | None = None
    scorer: str | None = None
    scorer_key: str | None = field(default=None, repr=False)
    scorer_deadline_s: float = 0.25
    scorer_failures: int = 5
    scorer_rest_s: float = 2.0
    scorer_patience_s: int = 4 * 3600

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        unset = cls()
        only = _only(environ)
        return cls(
            only=only,
            scorer=_scorer(environ, only),
            scorer_key=_text(environ, "LOCKGATE_SCORER_KEY") or None,
            scorer_deadline_s=_within(environ, "LOCKGATE_SCORER_DEADLINE_MS", 250, (10, 60_000)) / 1000,
            scorer_failures=round(_within(environ, "LOCKGATE_SCORER_FAILURES", unset.scorer_failures, (1, 1000))),
            scorer_rest_s=_within(environ, "LOCKGATE_SCORER_REST_S", unset.scorer_rest_s, (0.1, 600)),
            scorer_patience_s=_hours(environ, "LOCKGATE_SCORER_PATIENCE_HOURS", unset.scorer_patience_s, least_s=0),
            database_url=_database_url(environ),
            home=Path(_text(environ, "LOCKGATE_HOME") or unset.home).expanduser(),
            lock_s=_hours(environ, "LOCKGATE_LOCK_HOURS", unset.lock_s, least_s=1),
            hold_s=_hours(environ, "LOCKGATE_HOLD_HOURS", unset.hold_s, least_s=1),
            clearing_s=_hours(environ, "LOCKGATE_CLEARING_HOURS", unset.clearing_s, least_s=0),
            cool_off_s=_hours(environ, "LOCKGATE_COOL_OFF_HOURS", unset.cool_off_s, least_s=0),
            giftable_origins=_origins(environ, unset.giftable_origins),
            settle_every_s=_seconds(environ, "LOCKGATE_SETTLE_EVERY_S", unset.settle_every_s),
            trusted_key=_trusted_key(environ),
            models=Path(_text(environ, "LOCKGATE_MODELS") or unset.models).expanduser(),
            identity_secrets={scheme: found for scheme in get_args(Scheme) if (found := _secrets(environ, scheme))},
            webhooks=_webhooks(environ, unset.webhooks),
            webhook_every_s=_seconds(environ, "LOCKGATE_WEBHOOK_EVERY_S", unset.webhook_every_s),
        )


def _database_url(environ: Mapping[str, str]) -> str | None:
    url = _text(environ, "DATABASE_URL")
    if url and not url.startswith(("postgresql://", "postgres://")):
        # The one value that is not shown: it may hold a password, and errors end up in logs.
        _refuse("DATABASE_URL", f"({len(url)} characters, not shown)", "write postgresql://user@host/database")
    return url or None


def _only(environ: Mapping[str, str]) -> Half | None:
    half = _text(environ, "LOCKGATE_ONLY")
    if half and half not in get_args(Half):
        _refuse("LOCKGATE_ONLY", repr(half), "write ledger or detector")
    return half or None  # type: ignore[return-value]


def _scorer(environ: Mapping[str, str], only: Half | None) -> str | None:
    name, url = "LOCKGATE_SCORER", _text(environ, "LOCKGATE_SCORER")
    if only != "ledger":
        if url:
            _refuse(name, repr(url), "only a ledger alone asks a scorer: set LOCKGATE_ONLY=ledger (--only ledger)")
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        _refuse(name, repr(url), "a ledger alone needs its scorer's address, such as https://scorer.example:8080")
    if not _text(environ, "LOCKGATE_SCORER_KEY"):
        cure = "give the service key that 'lockgate keys create --role service --name ledger' prints at the scorer"
        _refuse("LOCKGATE_SCORER_KEY", "not set", cure)
    return url


def _within(environ: Mapping[str, str], name: str, unset: float, bounds: tuple[float, float]) -> float:
    text = _text(environ, name)
    number = _number(text) if text else unset
    least, most = bounds
    if not least <= number <= most:
        _refuse(name, repr(text), f"give a number from {least:g} to {most:g}")
    return number


def _trusted_key(environ: Mapping[str, str]) -> str | None:
    key = _text(environ, "LOCKGATE_TRUSTED_KEY")
    if key and not re.fullmatch("[0-9a-f]{64}", key):
        _refuse("LOCKGATE_TRUSTED_KEY", repr(key), "give the public key that signs artifacts as 64 hexadecimal digits")
    return key or None


def _secrets(environ: Mapping[str, str], scheme: Scheme) -> tuple[str, ...]:
    name = f"LOCKGATE_IDENTITY_{scheme.upper()}_SECRETS"
    secrets = tuple(filter(None, (one.strip() for one in _text(environ, name).split(","))))
    for secret in secrets:
        try:
            key(scheme, secret)
        except ValueError:
            _refuse(
                name, f"({len(secret)} characters, not shown)", "give 'whsec_' and base64, as the provider shows it"
            )
    return secrets


def _webhooks(environ: Mapping[str, str], unset: Terms) -> Terms:
    private = _text(environ, "LOCKGATE_WEBHOOK_PRIVATE")
    if private not in ("", "allow", "refuse"):
        _refuse("LOCKGATE_WEBHOOK_PRIVATE", repr(private), "write allow or refuse")
    days = {name: f"LOCKGATE_WEBHOOK_{name}_DAYS" for name in ("GIVE_UP", "KEEP")}
    return Terms(
        private=private == "allow",
        timeout_s=_seconds(environ, "LOCKGATE_WEBHOOK_TIMEOUT_S", unset.timeout_s, most_s=LONGEST_TIMEOUT_S),
        retry_s=_seconds(environ, "LOCKGATE_WEBHOOK_RETRY_S", unset.retry_s),
        give_up_s=_days(environ, days["GIVE_UP"], unset.give_up_s),
        keep_s=_days(environ, days["KEEP"], unset.keep_s),
    )


def _days(environ: Mapping[str, str], name: str, unset_s: int) -> int:
    text = _text(environ, name)
    if not text:
        return unset_s
    days = _number(text)
    if not 0 < days <= LONGEST_DAYS or round(days * DAY_S) < 1:
        _refuse(name, repr(text), f"give days as a number above 0 and up to {LONGEST_DAYS}, such as 5 or 0.5")
    return round(days * DAY_S)


def _hours(environ: Mapping[str, str], name: str, unset_s: int, *, least_s: int) -> int:
    text = _text(environ, name)
    if not text:
        return unset_s
    hours = _number(text)
    if not 0 <= hours <= LONGEST_HOURS or round(hours * 3600) < least_s:
        least = "0" if least_s == 0 else f"{least_s} s"
        _refuse(name, repr(text), f"give hours as a number, from {least} to {LONGEST_HOURS} h, such as 24 or 0.5")
    return round(hours * 3600)


def _seconds(environ: Mapping[str, str], name: str, unset_s: float, most_s: int = 3600) -> float:
    text = _text(environ, name)
    if not text:
        return unset_s
    seconds = _number(text)
    if not 0 < seconds <= most_s:
        _refuse(name, repr(text), f"give seconds as a number above 0 and up to {most_s}, such as 1.0")
    return seconds


def _origins(environ: Mapping[str, str], unset: frozenset[str]) -> frozenset[str]:
    name = "LOCKGATE_GIFTABLE_ORIGINS"
    text = _text(environ, name)
    if not text:
        return unset
    origins = frozenset(word.strip() for word in text.split(","))
    if not origins <= set(ORIGINS):
        _refuse(name, repr(text), f"list some of {', '.join(ORIGINS)}, with commas between them")
    return origins


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _number(text: str) -> float:
    """The number written, or NaN, which no range contains."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _refuse(name: str, shown: str, cure: str) -> NoReturn:
    raise SettingError(f"{name} is {shown}: {cure}, or leave it unset")
