"""News: taken up when nobody judges without it, found by index, shared by workers, small before large."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from detector import list_work
from detector.case_shapes import Listed
from detector.judge import Detector
from ledger import news as news_module
from ledger import relook_cli
from ledger.gate import Gate
from ledger.news import News, standing
from tests.support import CREDIT, NEVER_FIRES, House, again, gather, open_house, rule

HOLDS = rule("all", "amount > 0")
RANK = {"pending": 0, "held": 1, "returned": 2}


@dataclass(slots=True)
class Slow:
    """A scorer that has read everything, and takes its time before it lets the gate record."""

    judge: Detector
    read: asyncio.Event
    go: asyncio.Event

    def locking_with(self, gifts: Any) -> Any:
        return self.judge.locking_with(gifts)

    async def gather(self, conn: Any, gifts: Any, **more: Any) -> Any:
        sitting = await self.judge.gather(conn, gifts, **more)
        self.read.set()
        await self.go.wait()
        return sitting


async def block(house: House, kind: str, value: str) -> None:
    async with house.pool.acquire() as conn:
        await list_work.add(conn, "block", Listed(kind, value, "a test"), "ann")  # type: ignore[arg-type]


async def frozen(house: House) -> None:
    await house.freeze("b")


async def policy(house: House) -> None:
    await house.activate(HOLDS)


async def listed(house: House) -> None:
    await block(house, "org", "b")


# What commits beside a gate that does not know of it; and what the exclusive lock of the lists lets wait for the gate.
RACES: dict[str, tuple[Callable[[House], Awaitable[None]], str]] = {
    "recipient frozen": (frozen, "held"),
    "policy activated": (policy, "held"),
    "recipient listed": (listed, "returned"),
}


@pytest.mark.parametrize("name", RACES)
async def test_a_gift_that_is_approved_beside_the_news_does_not_slip_through(house: House, name: str) -> None:
    """The gate has read what it judges by and has yet to record; then the news commits, and is not taken up before."""
    happens, status = RACES[name]
    await house.org("a", amount=CREDIT)
    await house.org("b")
    async with open_house(house.dsn, None) as other:
        await other.know_policy()
        slow = Slow(other.works.detector, asyncio.Event(), asyncio.Event())
        works = other.works
        gate = Gate(other.pool, slow, 3_600, 10_800)
        works.gate.commit = gate.commit  # type: ignore[method-assign]
        sending = asyncio.create_task(other.sent("a", "b", CREDIT))
        await slow.read.wait()
        telling = asyncio.create_task(happens(house))
        news = News(house.works.relook)
        if name == "recipient listed":
            assert not (await asyncio.wait({telling}, timeout=0.3))[0], "the lists changed under a decision"
        else:
            await telling
            for _ in range(5):
                assert await news.hear(), "news was taken up although a gate knows nothing of it"
        assert await news.work() == 0
        slow.go.set()
        gift = await sending
        await telling
    await house.catch_up()
    assert (await house.transfer(gift))["status"] == status


KINDS = {
    "org": ("first", 2), "ip": ("10.0.0.1", 1), "device": ("dev1", 1), "domain": ("one.example", 2),
    "gift": (None, 1), "root": (None, 1), "everything": (None, 203),
}  # fmt: skip


async def test_what_news_touches_is_found_by_indexes(house: House) -> None:
    """Among 200 waiting gifts of strangers, each kind of news fetches no more of the transfers than a few."""
    hub, place = await house.org(amount=1_000), {"ip": "10.9.9.9", "device": "d9"}
    await gather([house.sent(hub, await house.org(), 1, **place) for _ in range(200)])
    await house.org("first", amount=10, domain="sub.One.Example")
    await house.org("second", amount=10, domain="phone.example")
    mine = await house.sent("first", hub, 1, ip="10.0.0.1")
    other = await house.sent("second", "first", 1, device="dev1")
    far = await house.sent("second", hub, 1)
    (root,) = await house.grants("first")
    values = {name: value for name, (value, _) in KINDS.items()} | {"gift": far, "root": root["id"]}
    for table in ("ledger.transfers", "ledger.orgs", "detector.decisions"):
        await house.pool.execute(f"analyze {table}")
    for kind, (_, count) in KINDS.items():
        async with house.pool.acquire() as conn, conn.transaction():
            before = await counted(conn)
            rows = await conn.fetch("select * from ledger.touched($1, $2)", kind, values[kind])
            scans, fetched = [now - then for now, then in zip(await counted(conn), before, strict=True)]
        assert (len({row["gift"] for row in rows}), scans) == (count, 0), kind
        assert kind == "everything" or fetched <= 12, f"{kind} fetched {fetched} of 203 transfers"
        if kind == "org":
            assert {row["gift"] for row in rows} == {mine, other}


async def counted(conn: asyncpg.Connection) -> tuple[int, int]:
    """Tables that this connection read whole so far, and transfers that it found by an index."""
    row = await conn.fetchrow(
        "select sum(seq_scan)::bigint, sum(idx_tup_fetch) filter (where relname = 'transfers')::bigint "
        "from pg_stat_xact_user_tables where relname in ('transfers', 'decisions', 'orgs', 'grants', 'entries')"
    )
    return row[0], row[1]


async def test_any_number_of_workers_judge_each_gift_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news_module, "PIECE", 7)
    hub = await house.org(amount=1_000)
    gifts = await gather([house.sent(hub, await house.org(), 1) for _ in range(60)])
    await house.catch_up()
    await house.activate(HOLDS)
    async with open_house(house.dsn, None) as second, open_house(house.dsn, None) as third:
        looked = await gather(one.catch_up() for one in (house, second, third))
    assert sum(looked) == 60
    rows = [await house.transfer(one) for one in gifts]
    assert {(row["status"], row["version"]) for row in rows} == {("held", 2)}
    assert await house.pool.fetchval("select count(*) from detector.decisions where look = 2") == 60


async def test_small_news_goes_before_a_sweep_and_a_sweep_takes_the_place_of_the_one_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news_module, "PIECE", 5)
    hub, one = await house.org(amount=1_000), await house.org(amount=5)
    await gather([house.sent(hub, await house.org(), 1) for _ in range(20)])
    mine = await house.sent(one, await house.org(), 1)
    news = News(house.works.relook)
    for again_and in range(2):
        await house.activate(NEVER_FIRES + rule(f"r{again_and}", "amount = 77"))
        while await news.hear():
            pass
        async with house.pool.acquire() as conn:
            assert (await standing(conn)).gifts == 21, "a sweep is done once, not once for each news of everything"
    await again(news.work)
    await block(house, "org", one)
    while await news.hear():
        pass
    await again(news.work)
    assert news.doing is not None and (news.doing.news, news.doing.gifts) == ("list", [mine])
    assert (await house.transfer(mine))["status"] == "returned"


async def test_a_gift_that_cannot_be_judged_makes_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of four gifts has lost its payload's hash: the others are judged, and it waits for its settling look."""
    a = await house.org(amount=10)
    gifts = [await house.sent(a, await house.org(), 1) for _ in range(4)]
    await house.catch_up()
    judge, broken = house.works.detector.gather, gifts[2]
    where = {"sender": a}

    async def failing(conn: Any, parties: Any, **more: Any) -> Any:
        found = list(parties)
        if any(one.recipient == where["recipient"] for one in found):
            raise ValueError("a test")
        return await judge(conn, found, **more)

    where["recipient"] = (await house.transfer(broken))["recipient"]
    await house.activate(HOLDS)
    await house.know_policy()
    monkeypatch.setattr(house.works.detector, "gather", failing)
    news = News(house.works.relook)
    while await news.hear():
        pass
    done = 0
    for _ in range(6):
        try:
            done += await news.work()
        except ValueError:
            await news.set_aside()
    assert done == 3
    assert [(await house.transfer(one))["status"] for one in gifts] == ["held", "held", "pending", "held"]
    async with house.pool.acquire() as conn:
        assert (await standing(conn))[:4] == (0, None, 0, None)


@pytest.mark.parametrize("seed", range(3))
async def test_no_news_makes_milder(house: House, seed: int) -> None:
    """Policies that hold and block at random, lists, freezing and thawing: no gift ever comes back."""
    draw = random.Random(seed)
    a, b = await house.org(amount=100), await house.org()
    gifts = [await house.sent(a, b, 1 + n % 4, ip=f"10.0.0.{n % 3}") for n in range(12)]
    ranks = dict.fromkeys(gifts, 0)
    for _ in range(12):
        kind = draw.choice(("policy", "policy", "list", "thaw", "freeze"))
        if kind == "policy":
            rules = [rule(f"r{n}", f"amount = {n}", draw.choice(("hold", "block"))) for n in range(1, 5)]
            await house.activate("".join(draw.sample(rules, draw.randint(0, 2))) or NEVER_FIRES)
        elif kind == "list":
            entry = await house.pool.fetchval("select min(id) from detector.list_entries where removed_at is null")
            async with house.pool.acquire() as conn:
                await (
                    list_work.remove(conn, entry, "ann")
                    if entry
                    else list_work.add(conn, "block", Listed("ip", f"10.0.0.{draw.randint(0, 2)}", "test"), "ann")
                )
        else:
            await house.freeze(b, kind == "freeze" and draw.random() < 0.3)
        await house.catch_up()
        for gift, before in ranks.items():
            now = RANK[(await house.transfer(gift))["status"]]
            assert now >= before, (gift, kind)
            ranks[gift] = now
    assert len(set(ranks.values())) > 1, ranks
    await house.reconcile()


async def test_it_is_told_what_is_left_to_do_and_who_keeps_it_waiting(house: House) -> None:
    a = await house.org(amount=10)
    for _ in range(2):
        await house.sent(a, await house.org(), 1)
    await house.catch_up()
    async with house.pool.acquire() as writer, house.pool.acquire() as conn:
        assert relook_cli.lines(await relook_cli.read(conn)) == ["nothing is to be judged again"]
        open_one = writer.transaction()
        await open_one.start()
        await writer.execute("select pg_current_xact_id()")
        await house.activate(HOLDS)
        news = News(house.works.relook)
        assert await news.hear() and await news.hear()
        shape = await relook_cli.read(conn)
        assert (shape["news"], shape["gifts"], shape["of"]) == (1, 0, {})
        assert shape["waits_for"]["process"] == writer.get_server_pid()
        assert "not taken up yet" in relook_cli.lines(shape)[0] and len(relook_cli.lines(shape)) == 2
        await open_one.commit()
        assert not await news.hear()
        assert relook_cli.lines(await relook_cli.read(conn)) == ["2 gifts to be judged again: policy"]
