"""What waits in the lock when something becomes known: each row is a piece of news, and what it does to whom.

In every row three gifts wait since yesterday, a minute before their hour: one that the news touches, one of strangers,
and one of the same parties that is held already. The news comes; the minute passes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from msgspec import structs

from detector import labels, list_work
from detector.case_shapes import Listed, ListName
from detector.contract import Label
from ledger.news import News, standing
from lockgate import first_model
from lockgate.config import SHIPPED
from models import artifact, files
from models.artifact import Content
from tests.support import CREDIT, House, again, open_house, rule

DAY_S, MINUTE_S, LATE_S = 86_400, 60, 86_340
HELD = rule("medium", "amount = 2000000")
MODEL = '[model]\nname = "champion"\n'


@dataclass(slots=True)
class Scene:
    """A house and what waits in it: `gift` is touched, `stranger` is not, `held` is held before the news."""

    house: House
    a: str = ""
    b: str = ""
    gift: str = ""
    stranger: str = ""
    held: str = ""
    past: list[str] = field(default_factory=list)
    artifact: bytes = b""
    other: bytes = b""

    async def wait(self) -> None:
        """Yesterday's gifts, a minute before their hour."""
        house = self.house
        self.a = await house.org("a", amount=100 * CREDIT, domain="Mail.Example.com")
        self.b = await house.org("b", domain="b.example.org")
        c, d = await house.org("c", amount=100 * CREDIT, domain="notexample.com"), await house.org("d")
        place = {"ip": "10.0.0.1", "device": "phone"}
        self.past = [await house.sent(self.a, "d", CREDIT, ip="10.0.0.1") for _ in range(3)]
        await house.pass_time(DAY_S + MINUTE_S)
        await house.settle()
        self.gift = await house.sent(self.a, self.b, CREDIT, **place)
        self.stranger = await house.sent(c, d, CREDIT + 1, ip="10.0.0.2", device="other")
        self.held = await house.sent(self.a, self.b, 2 * CREDIT, **place)
        await house.catch_up()
        await house.pass_time(LATE_S)

    async def list(self, name: ListName, kind: Any, value: str) -> int:
        async with self.house.pool.acquire() as conn:
            return (await list_work.add(conn, name, Listed(kind, value, "a test"), "ann")).id

    async def unlist(self, entry: int) -> None:
        async with self.house.pool.acquire() as conn:
            await list_work.remove(conn, entry, "ann")

    async def label(self, gift: str, fraud: bool = True) -> None:
        async with self.house.pool.acquire() as conn, conn.transaction():
            await labels.note(conn, [(gift, Label(gift, fraud, "test"))], "test")

    async def change(self, org: str, what: str) -> None:
        await self.house.pool.execute(f"update ledger.orgs set {what} where id = $1", org)


@pytest.fixture
async def scene(database: str, small: Content, parcel: bytes) -> AsyncIterator[Scene]:
    strict = replace(small, name="strict", calibration=structs.replace(small.calibration, thresholds={"hold": 1e-9}))
    async with open_house(database, HELD, lock_s=DAY_S, hold_s=3 * DAY_S) as house:
        yield Scene(house, artifact=parcel, other=files.parcel(artifact.build(strict)))


News_ = Callable[[Scene], Awaitable[Any]]


def listed(kind: str, value: str) -> News_:
    return lambda scene: scene.list("block", kind, value)


def changed(org: str, what: str) -> News_:
    return lambda scene: scene.change(org, what)


def activated(policy: str) -> News_:
    return lambda scene: scene.house.activate(policy)


ROWS: dict[str, tuple[News_, str, str]] = {
    # news → what becomes of the gift, and the reason on it
    "sender listed": (listed("org", "a"), "returned", "news:list"),
    "recipient listed": (listed("org", "b"), "returned", "news:list"),
    "address listed": (listed("ip", "10.0.0.1"), "returned", "news:list"),
    "device listed": (listed("device", "phone"), "returned", "news:list"),
    "domain listed": (listed("domain", "Example.COM."), "returned", "news:list"),
    "recipient's domain listed": (listed("domain", "b.example.org"), "returned", "news:list"),
    "policy that holds it": (activated(HELD + rule("one", "amount = 1000000")), "held", "news:policy"),
    "policy that blocks it": (activated(HELD + rule("one", "amount = 1000000", "block")), "returned", "news:policy"),
    "identity lost": (changed("a", "identity = 'none'"), "held", "news:identity"),
    "sender frozen": (changed("a", "frozen = true"), "held", "news:frozen"),
    "recipient frozen": (changed("b", "frozen = true"), "held", "news:frozen"),
    "sender's account stolen": (changed("a", "compromised_at = now()"), "held", "news:compromised"),
    "recipient's account stolen": (changed("b", "compromised_at = now()"), "held", "news:compromised"),
}


@pytest.mark.parametrize("name", ROWS)
async def test_news_a_minute_before_the_hour(scene: Scene, name: str) -> None:
    """Approve at 0 h and tell at 23 h 59 min: it never settles; strangers do, and what was held stays held."""
    happens, status, reason = ROWS[name]
    await scene.wait()
    await happens(scene)
    whole = name.startswith("policy")
    await after(scene, status, reason, {scene.gift} | ({scene.stranger} if whole else set()))


async def after(scene: Scene, status: str, reason: str, touched: set[str]) -> None:
    """The news is out: exactly `touched` is looked at; the gift comes to its end, the stranger's to its own."""
    house = scene.house
    before = {one: await house.transfer(one) for one in (scene.stranger, scene.held)}
    assert await looked_at(house) == touched
    row = await house.transfer(scene.gift)
    assert (row["status"], row["reason"]) == (status, reason)
    assert {one: await house.transfer(one) for one in before} == before
    await house.pass_time(2 * MINUTE_S)
    await house.settle()
    ends = [(await house.transfer(one))["status"] for one in (scene.gift, scene.stranger, scene.held)]
    assert ends == [status, "settled", "held"]
    await house.reconcile()


async def looked_at(house: House) -> set[str]:
    """Take up the news and judge; which gifts were listed for it."""
    news = News(house.works.relook)
    while await news.hear():
        pass
    rows = await house.pool.fetch("select unnest(gifts) as gift from ledger.relooks")
    while await again(news.work):
        pass
    async with house.pool.acquire() as conn:
        assert (await standing(conn))[:3:2] == (0, 0)
    return {row["gift"] for row in rows}


async def test_an_allow_entry_taken_off_lets_the_rules_hold_again(scene: Scene) -> None:
    house = scene.house
    await house.activate(HELD + rule("one", "amount = 1000000"))
    await house.org("a", amount=100 * CREDIT)
    await looked_at(house)
    entry = await scene.list("allow", "org", "a")
    gift = await house.sent("a", await house.org(), CREDIT)
    assert await looked_at(house) == set(), "an allow entry is no news"
    await scene.unlist(entry)
    assert await looked_at(house) == {gift}
    assert (await house.transfer(gift))["status"] == "held"


async def test_a_label_of_fraud_touches_what_shares_a_party_or_a_place(scene: Scene) -> None:
    """The shipped model holds a little above the gift's score; what its sender did before turns out to be fraud."""
    house = scene.house
    async with house.pool.acquire() as conn:
        await first_model.promote(conn, SHIPPED / first_model.SHIPPED, None, "a test")
    await house.activate(MODEL + "hold_at = 1.0\nblock_at = 1.0\n" + HELD)
    await scene.wait()
    score = await house.pool.fetchval("select score from detector.decisions where id = $1", f"{scene.gift}.1")
    await house.activate(MODEL + f"hold_at = {score * 2}\nblock_at = 1.0\n" + HELD)
    await looked_at(house)
    assert (await house.transfer(scene.gift))["status"] == "pending"
    for one in scene.past:
        await scene.label(one)
    # a and d are parties of the labelled gifts: d receives the strangers' gift too
    assert await looked_at(house) == {scene.gift, scene.stranger}
    row = await house.transfer(scene.gift)
    assert (row["status"], row["reason"]) == ("held", "news:label")


async def test_a_new_champion_judges_what_waits(scene: Scene) -> None:
    house = scene.house
    await house.promote(scene.artifact)
    await house.activate(MODEL + HELD)
    await scene.wait()
    assert await looked_at(house) == set()
    await house.promote(scene.other, role="challenger")
    assert await looked_at(house) == set(), "a challenger has no effect"
    await house.promote(scene.other)
    assert await looked_at(house) == {scene.gift, scene.stranger}
    rows = [await house.transfer(one) for one in (scene.gift, scene.stranger)]
    assert {(row["status"], row["reason"]) for row in rows} == {("held", "news:model")}


async def test_silence_is_no_news_of_a_gift_and_settles_nothing(scene: Scene) -> None:
    """A policy that names a model which is not there: what waits goes on waiting, and is held at its hour (law 5)."""
    house = scene.house
    await scene.wait()
    await house.activate(MODEL + HELD)
    assert await looked_at(house) == {scene.gift, scene.stranger}
    assert (await house.transfer(scene.gift))["status"] == "pending"
    await scene.list("block", "org", "a")
    assert await looked_at(house) == {scene.gift}
    assert (await house.transfer(scene.gift))["status"] == "returned", "what is known counts all the same"
    await house.pass_time(2 * MINUTE_S)
    await house.settle()
    row = await house.transfer(scene.stranger)
    assert (row["status"], row["reason"]) == ("held", "second_look")


async def test_a_purchase_taken_back_in_part_touches_the_gifts_with_a_slice_of_it(scene: Scene) -> None:
    house = scene.house
    await scene.wait()
    root = (await house.grants("a"))[0]["id"]
    await house.revoke(root, CREDIT)
    assert await looked_at(house) == {scene.gift}


QUIET: dict[str, News_] = {
    "a label of good": lambda scene: scene.label(scene.past[0], False),
    "an allow entry": lambda scene: scene.list("allow", "org", "a"),
    "a means of payment listed": lambda scene: scene.list("block", "fingerprint", "card"),
    "an org thawed": changed("a", "frozen = false"),
    "a posting": lambda scene: scene.house.grant("a", CREDIT),
    "a gift": lambda scene: scene.house.sent("a", "b", CREDIT),
    "an identity renewed": changed("a", "identity = identity, identity_at = now()"),
}


async def test_what_makes_nothing_stricter_is_no_news(scene: Scene) -> None:
    await scene.wait()
    entry = await scene.list("block", "org", "nobody")
    await looked_at(scene.house)
    await scene.unlist(entry)
    for happens in QUIET.values():
        await happens(scene)
    assert await scene.house.pool.fetch("select * from detector.news") == []
