"""Deliveries to real receivers from a real log: at least once, in order for each subject; what failures lead to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from detector.contract import Told, append
from ledger import endpoint_work as work
from ledger import store
from ledger.delivery import BATCH, LANE, MOST_FAILING, Deliverer
from ledger.endpoints import DAY_S, Terms
from tests.receiver import OK, receiver, reply
from tests.support import House, gather

# The first retry is an hour away on average: what is retried in a test is retried because time was said to pass.
TERMS = Terms(private=True, timeout_s=20, retry_s=7200)


@dataclass(slots=True)
class Post:
    """A house with a deliverer, and what the tests do to both."""

    house: House
    deliverer: Deliverer

    async def append(self, *subjects: str, kind: str = "transfer.settled") -> list[int]:
        """One event for each subject, in one link; their seqs."""
        async with self.house.pool.acquire() as conn, conn.transaction():
            first = await append(conn, [Told(kind, one, "test", {"amount": 5}) for one in subjects])
        assert first is not None
        return list(range(first, first + len(subjects)))

    async def add(self, url: str, *kinds: str) -> tuple[str, str]:
        """A new endpoint that wants these kinds; its id and its secret."""
        async with self.house.pool.acquire() as conn, conn.transaction():
            return await work.add(conn, url, kinds or ("transfer.*",), "a test", "test")

    async def act(self, act: Any, *words: Any, **more: Any) -> Any:
        async with self.house.pool.acquire() as conn, conn.transaction():
            return await act(conn, *words, **more)

    async def bring(self, after_s: float = 0.0) -> None:
        """Deliver all that is due so long after now, until nothing is."""
        at = await self.now() + timedelta(seconds=after_s)
        while await self.deliverer.deliver_due(at):
            pass

    async def now(self) -> datetime:
        found: datetime = await self.house.pool.fetchval("select clock_timestamp()")
        return found

    async def show(self, key: str) -> dict[str, Any]:
        return work.view(await work.find(self.house.pool, key))

    async def deliveries(self, key: str) -> list[tuple[int, int, str, int | None]]:
        """Seq, attempt, outcome and status of each delivery, oldest first."""
        rows = await self.house.pool.fetch(store.SQL["deliveries"], key, None, None, False, 10_000)
        return [(row["seq"], row["attempt"], row["outcome"], row["status"]) for row in reversed(rows)]

    async def told(self, key: str) -> list[tuple[str, str]]:
        rows = await self.house.pool.fetch("select kind, body from log.events where subject = $1 order by seq", key)
        return [tuple(row) for row in rows]


@pytest.fixture
async def post(house: House) -> AsyncIterator[Post]:
    yield Post(house, Deliverer(house.pool, TERMS))


def refusing(*subjects: str, status: int = 500) -> Any:
    """A receiver's answers: an error for these subjects, while they are in the list that is returned with it."""
    refused = list(subjects)
    return refused, lambda got: reply(status, body="no\x00 such\nthing") if got.subject in refused else OK


# --- what arrives ---


async def test_an_event_arrives_as_the_log_has_it_signed_and_only_if_it_is_wanted(post: Post) -> None:
    await post.append("before")
    async with receiver() as there:
        key, secret = await post.add(there.url, "transfer.settled", "grant.*")
        (seq,) = await post.append("tr_1")
        await post.append("tr_2", kind="transfer.held")
        (grant,) = await post.append("gr_1", kind="grant.issued")
        await post.bring()
        first, second = there.got
        row = await post.house.pool.fetchrow("select * from log.events where seq = $1", seq)
        assert first.event == {
            "type": "transfer.settled",
            "timestamp": work.stamp(row["at"]),
            "data": {"seq": seq, "subject": "tr_1", "actor": "test", "amount": 5},
        }
        assert (first.name, second.name) == (f"evt_{seq}", f"evt_{grant}")
        assert first.signed_by(secret) and len(first.signatures) == 1
        assert abs(first.at - (await post.now()).timestamp()) < 60
        assert first.connection == second.connection or there.connections == 2
        shown = await post.show(key)
        assert (shown["behind"], shown["waiting"], shown["failing_since"]) == (0, 0, None)
        assert await post.deliveries(key) == [(seq, 1, "delivered", 200), (grant, 1, "delivered", 200)]


async def test_a_long_log_passes_in_turns_each_event_once_over_few_connections(post: Post) -> None:
    async with receiver() as there:
        key, _ = await post.add(there.url)
        seqs = await post.append(*(f"tr_{number % 300}" for number in range(2 * BATCH + 50)))
        await post.append(*("other" for _ in range(10)), kind="case.note")
        await post.bring()
        assert sorted(there.seqs()) == seqs
        assert there.connections <= 8 * 3
        assert (await post.show(key))["behind"] == 0


# --- order ---


async def test_a_failing_event_holds_up_its_own_subject_and_no_other(post: Post) -> None:
    refused, says = refusing("bad")
    async with receiver(says) as there:
        key, _ = await post.add(there.url)
        one, two, three, four = await post.append("bad", "good", "bad", "good")
        await post.bring()
        (five,) = await post.append("bad")
        (six,) = await post.append("good")
        await post.bring()
        assert there.seqs("good") == [two, four, six] and there.seqs("bad") == [one]
        shown = await post.show(key)
        assert (shown["waiting"], shown["failing"], shown["behind"]) == (3, 1, 0)
        refused.clear()
        await post.bring(3601)
        assert there.seqs("bad") == [one, one, three, five]
        assert (await post.show(key))["waiting"] == 0
        rows = await post.house.pool.fetch(store.SQL["deliveries"], key, None, one, True, 10)
        assert [(row["attempt"], row["status"], row["excerpt"]) for row in rows] == [(1, 500, "no  such thing")]


async def test_a_subject_of_which_much_waits_does_not_crowd_out_the_others(post: Post) -> None:
    refused, says = refusing("much", "little")
    async with receiver(says) as there:
        await post.add(there.url)
        await post.append(*["much"] * 60, "little")
        await post.bring()
        refused.clear()
        there.got.clear()
        await post.append("new")
        await post.deliverer.deliver_due(await post.now() + timedelta(hours=1.1))
        counts = [len(there.seqs(subject)) for subject in ("much", "little", "new")]
        assert counts == [LANE, 1, 1]
        await post.bring(2 * 3600)
        assert there.seqs("much") == sorted(there.seqs("much")) and len(there.seqs("much")) == 60


async def test_what_waits_goes_to_a_new_url_at_once(post: Post) -> None:
    async with receiver(lambda got: reply(503, headers="Retry-After: 9999\r\n")) as old, receiver() as new:
        key, _ = await post.add(old.url)
        (seq,) = await post.append("tr_1")
        await post.bring()
        await post.act(work.change, key, "test", description="the same place")
        await post.bring(1)
        assert len(old.got) == 1
        await post.act(work.change, key, "test", url=new.url)
        await post.bring(1)
        assert (len(old.got), new.seqs()) == (1, [seq])


async def test_whatever_fails_at_random_ends_delivered_in_order_for_each_subject(post: Post) -> None:
    turn = iter(range(10**6))
    async with receiver(lambda got: reply(500) if next(turn) % 3 == 0 else OK) as there:
        key, _ = await post.add(there.url)
        seqs = await post.append(*(f"tr_{number % 7}" for number in range(60)))
        for hours in range(1, 200):
            await post.bring(hours * 3600)
            if (await post.show(key))["waiting"] == 0:
                break
        done = [seq for seq, _, outcome, _ in await post.deliveries(key) if outcome == "delivered"]
        assert sorted(done) == seqs
        for number in range(7):
            first_seen = list(dict.fromkeys(there.seqs(f"tr_{number}")))
            assert first_seen == sorted(first_seen)


async def test_the_database_refuses_a_second_event_of_a_subject_beside_the_first(post: Post) -> None:
    async with receiver(lambda got: None) as there:
        await post.add(there.url)
        one, two = await post.append("tr_1", "tr_1")
        await post.bring()
        with pytest.raises(Exception, match="one_of_a_subject_at_a_time"):
            await post.house.pool.execute("update ledger.undelivered set next_at = now() where seq = $1", two)
        waits = "select seq, attempts, next_at is null as behind from ledger.undelivered order by seq"
        assert [tuple(row) for row in await post.house.pool.fetch(waits)] == [(one, 1, False), (two, 0, True)]
        with pytest.raises(Exception, match="update refused"):
            await post.house.pool.execute("update ledger.deliveries set status = 200")
        errors = await post.house.pool.fetch("select error from ledger.deliveries")
        assert [row["error"] for row in errors] == ["the connection was closed without an answer"]


# --- an endpoint that takes nothing ---


async def test_an_endpoint_that_takes_nothing_is_offered_no_more_until_it_is_back_and_then_gets_all(post: Post) -> None:
    refused = [True]
    async with receiver(lambda got: reply(502) if refused else OK) as there:
        key, _ = await post.add(there.url)
        many = MOST_FAILING + 2 * BATCH
        seqs = await post.append(*(f"tr_{number}" for number in range(many)))
        await post.bring()
        shown = await post.show(key)
        assert MOST_FAILING <= shown["failing"] <= MOST_FAILING + BATCH and shown["behind"] >= BATCH
        assert len(there.got) == shown["failing"]
        refused.clear()
        there.got.clear()
        # one that is due after an hour shows that it is back, and nothing waits any longer
        due = await post.house.pool.fetchval("select min(next_at) from ledger.undelivered")
        await post.bring(max(61.0, (due - await post.now()).total_seconds() + 1))
        assert sorted(there.seqs()) == seqs
        assert (await post.show(key))["failing_since"] is None


async def test_after_days_of_nothing_but_failure_it_is_disabled_and_enabled_again_goes_on(post: Post) -> None:
    refused = [True]
    async with receiver(lambda got: reply(500) if refused else OK) as there:
        key, _ = await post.add(there.url, "transfer.*", "endpoint.*")
        (one,) = await post.append("tr_1")
        await post.bring()
        await post.bring(5 * DAY_S - 60)
        assert (await post.show(key))["enabled"]
        await post.bring(6 * DAY_S)
        shown = await post.show(key)
        assert (shown["enabled"], shown["disabled_why"], shown["waiting"]) == (False, "failing", 2)
        kind, body = (await post.told(key))[-1]
        assert kind == "endpoint.disabled" and '"why":"failing"' in body
        (two,) = await post.append("tr_1")
        there.got.clear()
        await post.bring(7 * DAY_S)
        assert there.got == []
        refused.clear()
        await post.act(work.change, key, "test", enabled=True)
        await post.bring()
        kinds = [(got.event["type"], got.seq) for got in there.got if got.subject == "tr_1"]
        assert kinds == [("transfer.settled", one), ("transfer.settled", two)]
        kinds = [got.event["type"] for got in there.got if got.subject == key]
        assert kinds == ["endpoint.added", "endpoint.disabled", "endpoint.changed"]


async def test_what_alone_fails_for_days_is_given_up_and_its_subject_goes_on(post: Post) -> None:
    refused, says = refusing("bad")
    async with receiver(says) as there:
        key, _ = await post.add(there.url)
        one, two, _ = await post.append("bad", "bad", "good")
        await post.bring()
        for days in (2, 4, 6):
            await post.append("good")
            await post.bring(days * DAY_S)
        assert (one, 3, "failed", 500) in await post.deliveries(key)
        assert (one, 4, "given_up", 500) in await post.deliveries(key)
        refused.clear()
        await post.bring(6 * DAY_S + 3601)
        assert there.seqs("bad")[-1] == two and (await post.show(key))["waiting"] == 0
        assert (await post.show(key))["enabled"]


async def test_gone_disables_at_once_and_nothing_more_is_posted(post: Post) -> None:
    async with receiver(lambda got: reply(410)) as there:
        key, _ = await post.add(there.url)
        await post.append(*(f"tr_{number}" for number in range(60)))
        await post.bring()
        shown = await post.show(key)
        assert (shown["enabled"], shown["disabled_why"]) == (False, "gone")
        assert len(there.got) <= 8  # those that were under way
        assert shown["waiting"] == 60
        assert (await post.told(key))[-1][0] == "endpoint.disabled"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured_for_the_whole_endpoint(post: Post, status: int) -> None:
    busy = [True]
    async with receiver(lambda got: reply(status, headers="Retry-After: 900\r\n") if busy else OK) as there:
        post.deliverer = Deliverer(post.house.pool, replace(TERMS, retry_s=0.001))
        key, _ = await post.add(there.url)
        seqs = await post.append(*(f"tr_{number}" for number in range(40)))
        await post.bring()
        assert len(there.got) <= 8
        busy.clear()
        there.got.clear()
        await post.append("another")
        await post.bring(880)
        assert there.got == []
        await post.bring(905)
        assert set(seqs) < set(there.seqs()) and (await post.show(key))["waiting"] == 0


# --- secrets, replay, changes ---


async def test_after_a_rotation_both_secrets_sign_for_the_overlap(post: Post) -> None:
    async with receiver() as there:
        key, old = await post.add(there.url)
        new = await post.act(work.rotate, key, 3600, "test")
        await post.append("tr_1")
        await post.bring()
        await post.append("tr_2")
        await post.bring(3601)
        newest = await post.act(work.rotate, key, 0, "test")
        await post.append("tr_3")
        await post.bring()
        during, after, at_once = there.got
        assert during.signed_by(old) and during.signed_by(new) and len(during.signatures) == 2
        assert after.signed_by(new) and not after.signed_by(old)
        assert at_once.signed_by(newest) and len(at_once.signatures) == 1


async def test_a_replay_brings_everything_from_a_point_on_once_more_in_order(post: Post) -> None:
    refused, says = refusing("bad")
    async with receiver(says) as there:
        key, _ = await post.add(there.url)
        early = await post.append("bad", "tr_1")
        since = await post.now()
        late = await post.append("tr_1", "bad", "tr_2")
        await post.bring()
        there.got.clear()
        assert await post.act(work.replay, key, "test", since=since) == early[-1]
        await post.bring()
        assert sorted(there.seqs()) == [late[0], late[2]]  # bad waits behind what failed before
        assert (await post.show(key))["waiting"] == 2
        refused.clear()
        there.got.clear()
        await post.act(work.replay, key, "test", after=0)
        await post.bring()
        assert sorted(there.seqs()) == sorted(early + late)
        assert there.seqs("bad") == [early[0], late[1]] and there.seqs("tr_1") == [early[1], late[0]]
        assert (await post.show(key))["waiting"] == 0


async def test_the_place_of_a_moment_in_the_log_is_the_last_event_before_it(post: Post) -> None:
    pool = post.house.pool
    for number in range(1, 12):
        await post.append(*["tr_1"] * (number % 4 + 1))
    rows = await pool.fetch("select seq, at from log.events")
    for moment in {row["at"] + timedelta(microseconds=by) for row in rows for by in (-1, 0, 1)}:
        before = max((row["seq"] for row in rows if row["at"] < moment), default=0)
        assert await pool.fetchval("select ledger.seq_before($1)", moment) == before


async def test_a_replay_during_a_turn_is_not_undone_by_that_turns_end(post: Post) -> None:
    async with receiver() as there:
        there.hold = asyncio.Event()
        key, _ = await post.add(there.url)
        seqs = await post.append("tr_1", "tr_2")
        turn = asyncio.create_task(post.deliverer.deliver_due())
        while len(there.got) < 2:
            await asyncio.sleep(0.01)
        await post.act(work.replay, key, "test", after=0)
        there.hold.set()
        await turn
        assert (await post.show(key))["upto"] == 0
        await post.bring()
        assert sorted(there.seqs()) == sorted(2 * seqs)
        assert len(await post.deliveries(key)) == 4


async def test_an_endpoint_removed_or_disabled_during_a_turn_stays_so(post: Post) -> None:
    async with receiver() as there, receiver(lambda got: reply(410)) as gone:
        there.hold = gone.hold = asyncio.Event()
        removed, _ = await post.add(there.url)
        stopped, _ = await post.add(gone.url)
        await post.append("tr_1")
        turns = [asyncio.create_task(post.deliverer.deliver_due()) for _ in range(1)]
        turns.append(asyncio.create_task(post.deliverer.deliver_due()))
        while not there.got:
            await asyncio.sleep(0.01)
        await post.act(work.remove, removed, "test")
        await post.act(work.change, stopped, "test", enabled=False)
        there.hold.set()
        await gather(turns)
        assert (await post.show(stopped))["disabled_why"] == "platform"
        assert [kind for kind, _ in await post.told(stopped)] == ["endpoint.added", "endpoint.disabled"]
        assert await post.house.pool.fetch("select from ledger.deliveries where endpoint_id = $1", removed) == []


# --- who works ---


async def test_many_deliverers_bring_each_event_once_where_nothing_fails(post: Post) -> None:
    async with receiver() as one, receiver() as other:
        for there in (one, other):
            await post.add(there.url)
        seqs = await post.append(*(f"tr_{number % 20}" for number in range(300)))

        async def work_on() -> None:
            mine = Deliverer(post.house.pool, TERMS)
            while len(one.got) + len(other.got) < 2 * len(seqs):
                await mine.deliver_due()

        await gather(work_on() for _ in range(4))
        for there in (one, other):
            assert sorted(there.seqs()) == seqs
            assert all(there.seqs(f"tr_{number}") == sorted(there.seqs(f"tr_{number}")) for number in range(20))


async def test_a_lease_that_its_holder_left_is_taken_over_when_it_ends(post: Post) -> None:
    async with receiver() as there:
        await post.add(there.url)
        (seq,) = await post.append("tr_1")
        assert len(await post.deliverer.claim(1)) == 1  # and its holder dies
        await post.bring()
        assert there.got == []
        await post.bring(61)
        assert there.seqs() == [seq]


async def test_the_loop_delivers_releases_what_it_holds_and_tidies_by_age(post: Post) -> None:
    async with receiver() as there:
        key, _ = await post.add(there.url)
        loop = asyncio.create_task(post.deliverer.deliver_for_ever(0.01))
        await post.append("tr_1")
        while not there.got:
            await asyncio.sleep(0.01)
        there.hold = asyncio.Event()
        await post.append("tr_2")
        while len(there.got) < 2:
            await asyncio.sleep(0.01)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        there.hold = None
        await post.bring()
        assert [got.subject for got in there.got] == ["tr_1", "tr_2", "tr_2"]
        assert await post.deliverer.tidy() == 0
        assert await Deliverer(post.house.pool, replace(TERMS, keep_s=0)).tidy() == 2
        assert await post.deliveries(key) == []


async def test_a_house_without_endpoints_has_nothing_to_claim(post: Post) -> None:
    await post.append("tr_1")
    assert await post.deliverer.claim(4) == []
