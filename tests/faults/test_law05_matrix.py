"""Law 5 for a scorer on machines of its own: whatever it does or fails to do, nothing is approved, the sender is
answered, the decision says why, and the gift is judged once the scorer is back.

Real processes, and one between them that misbehaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.apart import Apart, Sender, apart, reasons, until
from tests.support import NEVER_FIRES, House, open_house, rule, seat

MODEL = '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n' + NEVER_FIRES

# How the way misbehaves, and the reason that the decision carries.
WAYS = {
    "hang 60": "scorer_timeout",
    "slow 6": "scorer_timeout",
    "cut": "scorer_garbled",
    "upgrade": "scorer_garbled",
    "garbage": "scorer_garbled",
    "half": "scorer_garbled",
    "nan": "scorer_garbled",
    "beyond": "scorer_garbled",
    "word": "scorer_garbled",
    "twice": "scorer_garbled",
    "wrong_id": "scorer_mismatched",
    "wrong_hash": "scorer_mismatched",
    "wrong_look": "scorer_mismatched",
    "unbound": "scorer_mismatched",
    "missing": "scorer_missing",
    "version": "scorer_version",
    "500": "scorer_failed",
    "503": "scorer_failed",
    "301": "scorer_failed",
    "401": "scorer_denied",
    "refuse": "scorer_unreachable",
}


@pytest.fixture(scope="module")
def scorer(fresh_databases: Any) -> Iterator[Apart]:
    """One scorer for all of them."""
    make, drop = fresh_databases
    dsn = make()
    with apart("", dsn, LOCKGATE_SCORER_FAILURES="1000") as pair:  # the circuit stays out of it, but where it is asked
        yield pair
    drop(dsn)


@pytest.fixture
def pair(scorer: Apart, fresh_databases: Any) -> Iterator[Apart]:
    """Its ledger on a fresh database."""
    make, drop = fresh_databases
    pair = scorer.beside(make())
    yield pair
    pair.end()
    drop(pair.ledger_dsn)


async def test_whatever_the_scorer_does_nothing_passes_and_everything_is_judged_after_it(pair: Apart) -> None:
    async with pair.house() as house, pair.ledger().client() as door:
        sender = await Sender.new(house)
        held = {}
        for way, reason in WAYS.items():
            pair.refuse() if way == "refuse" else pair.way(way)
            told = await asyncio.wait_for(sender.send(door), 30)
            assert (told.status_code, told.json()["status"]) == (201, "held"), (way, told.text)
            held[told.json()["id"]] = way
            assert await reasons(house, f"{told.json()['id']}.1") == ["hold", f"degraded:{reason}"], way
        assert await count(house, "detector.decisions where verdict = 'approve'") == 0
        pair.begin()
        pending = "ledger.transfers where status = 'pending'"
        await until(lambda: all_of(house, pending, len(held)))
        assert await count(house, "detector.case_gifts where standing = 'waiting'") == 0
        # At their hour the scorer is silent again, for a little while: they wait, and are not held for an analyst.
        pair.way("500")
        await house.pass_time(25 * 3600)
        asked = "ledger.questions where look > 1"
        await until(lambda: all_of(house, asked, len(held)))
        assert await count(house, pending) == len(held)
        pair.way("pass")
        await until(lambda: all_of(house, "ledger.transfers where status = 'settled'", len(held)))
        await house.reconcile()


async def all_of(house: House, what: str, number: int) -> bool:
    return await count(house, what) == number


async def count(house: House, what: str) -> int:
    number: int = await house.pool.fetchval(f"select count(*) from {what}")
    return number


async def test_the_circuit_opens_gifts_are_held_at_once_and_it_closes_by_itself(pair: Apart) -> None:
    pair.environ |= {
        "LOCKGATE_SCORER_FAILURES": "2",
        "LOCKGATE_SCORER_REST_S": "600",
        "LOCKGATE_SETTLE_EVERY_S": "3600",
    }
    async with pair.house() as house, pair.ledger().client() as door:
        sender = await Sender.new(house)
        assert (await sender.send(door)).json()["status"] == "pending"
        assert (await door.get("/healthz")).json()["status"] == "ok"
        pair.way("500")
        told = [(await sender.send(door)).json() for _ in range(3)]
        assert [one["status"] for one in told] == ["held"] * 3
        found = [(await reasons(house, f"{one['id']}.1"))[1] for one in told]
        assert found == ["degraded:scorer_failed", "degraded:scorer_failed", "degraded:scorer_circuit_open"]
        health = (await door.get("/healthz")).json()
        assert (health["status"], health["scorer"]["circuit"]) == ("degraded", "open"), health
    # It rests for a moment only, and the gifts that wait are the question that finds the scorer well again.
    pair.environ |= {"LOCKGATE_SCORER_REST_S": "0.5", "LOCKGATE_SETTLE_EVERY_S": "0.2"}
    async with pair.house() as house, pair.ledger().client() as door:
        await until(lambda: opened(door))
        pair.way("pass")
        await until(lambda: all_of(house, "ledger.transfers where status = 'pending'", 4))
        assert (await door.get("/healthz")).json()["status"] == "ok"


async def opened(door: Any) -> bool:
    return bool((await door.get("/healthz")).json()["scorer"]["circuit"] == "open")


async def test_killed_between_the_two_commits_another_process_answers_under_the_same_key(pair: Apart) -> None:
    async with pair.house() as house:
        sender = await Sender.new(house)
        victim = pair.ledger()
        pair.way("hang 60")
        async with victim.client() as doomed:
            sending = asyncio.create_task(sender.send(doomed, "k1"))
            name = await until(lambda: house.pool.fetchval("select transfer_id from ledger.questions where open"))
            row = await house.transfer(name)
            assert (row["status"], row["settle_at"], row["ended_at"]) == ("screening", None, None)
            # Its key is taken, though the answer is not there yet.
            assert (await sender.send(doomed, "k1")).status_code == 409
            victim.kill()
            with pytest.raises(httpx.TransportError):
                await sending
        pair.way("pass")
        await house.pool.execute("update ledger.questions set lease_until = now() + interval '1 hour'")
        async with pair.ledger().client() as door:
            again = await sender.send(door, "k1")
            assert (again.status_code, again.json()["code"]) == (409, "still_running")
            other = await sender.send(door, "k1", amount=11)
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
            await house.pool.execute("update ledger.questions set lease_until = now()")  # the lease ends
            told = await until(lambda: answered(sender, door, "k1"))
            assert (told.json()["id"], told.json()["status"]) == (name, "pending")
            assert (await sender.send(door, "k1")).content == told.content
            assert await count(house, "ledger.transfers") == await count(house, "detector.decisions") == 1
            await house.reconcile()
            await cancelled_while_screening(pair, house, sender, door)
            await cut_off_from_the_database(pair, house, sender, door)


async def answered(sender: Sender, door: httpx.AsyncClient, key: str) -> httpx.Response | None:
    told = await sender.send(door, key)
    return told if told.status_code == 201 else None


async def cancelled_while_screening(pair: Apart, house: House, sender: Sender, door: httpx.AsyncClient) -> None:
    pair.way("slow 1")
    sending = asyncio.create_task(sender.send(door, "k2"))
    name = await until(lambda: house.pool.fetchval("select transfer_id from ledger.questions where open"))
    gone = await door.post(f"/v1/billing/credits/transfers/{name}/cancel", headers=sender.key)
    assert (gone.status_code, gone.json()["status"]) == (200, "cancelled")
    told = await sending
    assert (told.status_code, told.json()["id"], told.json()["status"]) == (201, name, "cancelled")
    assert (await sender.send(door, "k2")).content == told.content
    await house.reconcile()


async def cut_off_from_the_database(pair: Apart, house: House, sender: Sender, door: httpx.AsyncClient) -> None:
    """While the scorer is asked, every session of the ledger's is cut."""
    pair.way("slow 1")
    sending = asyncio.create_task(sender.send(door, "k3"))
    name = await until(lambda: house.pool.fetchval("select transfer_id from ledger.questions where open"))
    await house.pool.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    pair.way("pass")
    told = await sending
    assert (told.status_code, told.json()["id"], told.json()["status"]) == (201, name, "pending")
    assert await count(house, f"detector.decisions where id like '{name}.%'") == 1
    await house.reconcile()


async def test_the_scorers_own_silence_is_silence_too_and_what_it_could_not_tell_is_an_analysts(pair: Apart) -> None:
    """Empty policy, missing model, null feature; at the first look, and at the hour after the patience with it."""
    pair.environ |= {"LOCKGATE_SCORER_PATIENCE_HOURS": "1"}
    async with open_house(pair.scorer_dsn, None) as scorer, pair.house() as house, pair.ledger().client() as door:
        sender = await Sender.new(house)
        gifts = {}
        for policy, reason in {rule("null", "ip = 'x'"): "null", None: "no_policy", MODEL: "model_missing"}.items():
            await (scorer.activate(policy) if policy else no_policy(scorer))
            told = (await sender.send(door)).json()
            assert await reasons(house, f"{told['id']}.1") == ["hold", f"degraded:{reason}"]
            gifts[reason] = told["id"]
        await scorer.activate(NEVER_FIRES)
        await until(lambda: all_of(house, "ledger.transfers where status = 'pending'", 2))
        assert (await house.transfer(gifts["null"]))["status"] == "held"
        approved = (await sender.send(door)).json()["id"]
        # Within the patience a gift waits; beyond it, it is held, and goes on once somebody judges.
        await scorer.activate(MODEL)
        await house.pass_time(24 * 3600 + 1800)
        await until(lambda: all_of(house, f"ledger.questions where transfer_id = '{approved}' and look > 1", 1))
        assert (await house.transfer(approved))["status"] == "pending"
        await house.pass_time(3600)
        await until(lambda: all_of(house, f"ledger.transfers where id = '{approved}' and status = 'held'", 1))
        assert await reasons(house, f"{approved}.3") == ["hold", "degraded:model_missing"]
        await scorer.activate(NEVER_FIRES)
        await until(lambda: all_of(house, f"ledger.transfers where id = '{approved}' and status = 'settled'", 1))
        await house.reconcile()
        await what_became_of_them_is_told(house, scorer, door, gifts["null"], approved)


async def what_became_of_them_is_told(
    house: House, scorer: House, door: httpx.AsyncClient, held: str, settled: str
) -> None:
    """An analyst at the ledger's desk rules; the scorer's own desk lets go, and its model may learn."""
    waiting = f"detector.case_gifts where gift_id = 'ledger:{held}' and standing = 'waiting'"
    assert await count(scorer, waiting) == 1
    alice = await seat(door, house.pool, "alice")
    case = await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", held)
    await alice.ruled(case, "block")
    told = "detector.outcomes where gift_id = 'ledger:{}' and outcome = '{}'"
    await until(lambda: all_of(scorer, told.format(held, "returned"), 1))
    await until(lambda: all_of(scorer, told.format(settled, "settled"), 1))
    assert await count(scorer, f"detector.labels where gift_id = 'ledger:{held}' and fraud") == 1
    assert await count(scorer, waiting) == 0


async def no_policy(scorer: House) -> None:
    async with scorer.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("delete from detector.activations")
