"""The gate in two commits: what is reserved, what each thing heard makes of it, and what the database lets go on."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec
import pytest

from detector.contract import Judged
from detector.verify import verify
from ledger.api import SEND, request_of
from ledger.records import disagreements
from ledger.transfers import Answer, Request
from tests.laws.test_law04_never_unjudged import by_hand
from tests.support import NEVER_FIRES, House, _Actor, again


async def hash_of(house: House, name: str) -> str:
    return str((await house.transfer(name))["payload_hash"].hex())


async def heard(house: House, name: str, verdict: Any = "approve", **more: Any) -> Judged:
    told = {"id": f"c:{name}.1", "gift": name, "reasons": [], "at": "", "generation": 3, "model": "m@1", "score": 0.1}
    return Judged(verdict=verdict, **{"payload_hash": await hash_of(house, name), **told, **more})


def request(sender: str, recipient: str, amount: int, key: str) -> Request:
    body = SEND.decode(msgspec.json.encode({"recipient": recipient, "amount": amount}))
    return request_of(_Actor(sender), body, key)  # type: ignore[arg-type]


# What was heard; the answer's status, the transfer's, and what remains reserved of 10.
HEARD: dict[str, tuple[dict[str, Any] | str, int, str, int]] = {
    "an approval": ({}, 201, "pending", 10),
    "a hold": ({"verdict": "hold", "reasons": ["rule:odd"]}, 201, "held", 10),
    "a block": ({"verdict": "block", "reasons": ["rule:bad"]}, 201, "blocked", 0),
    "a limit": ({"verdict": "block", "reasons": ["limit:few"], "refused": True, "retry_after_s": 7}, 429, "blocked", 0),
    "silence": ("scorer_timeout", 201, "held", 10),
    "an approval of something else": ({"payload_hash": "00" * 32}, 201, "held", 10),
    "an approval of nothing": ({"payload_hash": None}, 201, "held", 10),
}


@pytest.mark.parametrize(("what", "told", "status", "reserved"), HEARD.values(), ids=HEARD)
async def test_what_was_heard_makes_the_answer_and_it_stays(
    house: House, what: dict[str, Any] | str, told: int, status: str, reserved: int
) -> None:
    sender, recipient = await house.org(amount=100), await house.org()
    name = await house.reserved(sender, recipient, 10, "k")
    before = await house.transfer(name)
    assert (before["status"], before["settle_at"]) == ("screening", None)
    await house.reconcile()
    screening = house.works.apart.screening
    said = what if isinstance(what, str) else await heard(house, name, **what)
    answer = (await screening.finish({name: said}))[name]
    assert answer.status == told, answer.body
    row = await house.transfer(name)
    assert row["status"] == status
    body = msgspec.json.decode(answer.body)
    if told == 201:
        assert (body["id"], body["status"]) == (name, status)
        assert (body["settle_at"] is None) == (status != "pending")
    else:
        assert (body["retry_after_s"], answer.headers["Retry-After"]) == (7, "7")
    decision = await house.pool.fetchrow("select * from detector.decisions where id = $1", f"{name}.1")
    assert decision["payload_hash"] == row["payload_hash"]
    if isinstance(what, dict) and "payload_hash" not in what:
        assert (decision["generation"], decision["model"], decision["score"]) == (3, "m@1", 0.1)
    assert await house.pool.fetchval("select reserved from ledger.orgs where id = $1", sender) == reserved
    waiting = await house.pool.fetchval("select count(*) from detector.case_gifts where standing = 'waiting'")
    assert waiting == (status == "held")
    # Whoever comes second finds the answer, whatever it heard; and so does the sender, whatever gate it meets.
    late = (await screening.finish({name: "scorer_unreachable"}))[name]
    assert (late.status, late.body) == (answer.status, answer.body)
    retried = await house.send(sender, recipient, 10, "k")
    assert (retried.status, retried.body) == (answer.status, answer.body)
    assert await house.pool.fetchval("select count(*) from ledger.transfers") == 1
    await house.reconcile()
    async with house.pool.acquire() as conn:
        assert (await verify(conn, others=[disagreements])).findings == []


async def test_what_needs_no_scorer_is_answered_in_the_first_commit(house: House) -> None:
    sender, recipient, frozen = await house.org(amount=100), await house.org(), await house.org(amount=100)
    await house.freeze(frozen)
    asked = [
        request(sender, recipient, 60, "k1"),
        request(sender, recipient, 60, "k2"),  # more than what the first one left
        request(sender, "nobody", 1, "k3"),
        request(frozen, recipient, 1, "k4"),
        request(sender, recipient, 60, "k1"),  # the same again
        request(sender, recipient, 61, "k1"),  # and with another body
        request(sender, recipient, 40, "k5"),
    ]
    screening = house.works.apart.screening
    told, questions = await screening.reserve(asked)
    codes = [msgspec.json.decode(one.body)["code"] if isinstance(one, Answer) else "asked" for one in told]
    assert codes == [
        "asked", "insufficient_credits", "unknown_recipient", "org_frozen", "still_running", "idempotency_key_reused",
        "asked",
    ]  # fmt: skip
    assert [one.id for one in questions] == [told[0], told[6]]
    again_, more = await screening.reserve(asked[:2])
    assert (again_[0], [one.id for one in more]) == (told[0], [told[0]]), (
        "our own first commit, of which we never heard"
    )
    assert isinstance(again_[1], Answer) and again_[1].replayed
    await house.reconcile()


async def test_what_a_ledger_alone_left_is_held_by_one_that_judges_itself_and_judged_late(house: House) -> None:
    sender, recipient = await house.org(amount=100), await house.org()
    name = await house.reserved(sender, recipient, 10, "k")
    screening = house.works.apart.screening
    assert await screening.pick_up() == 0, "somebody still works on it"
    await house.works.apart.start(house.works.detector)
    row = await house.pool.fetchrow("select hits from detector.decisions where id = $1", f"{name}.1")
    assert '"scorer_interrupted"' in row["hits"]
    assert msgspec.json.decode((await house.send(sender, recipient, 10, "k")).body)["status"] == "held"
    assert await again(house.works.apart.late.take) == 1
    assert (await house.transfer(name))["status"] == "pending"
    await house.pass_time(3_601)
    await house.settle()
    assert (await house.transfer(name))["status"] == "settled"
    await house.reconcile()


APPROVED = (
    "insert into detector.decisions (id, at, seq, look, sender, recipient, amount, verdict, refused, hits, vector, "
    "generation, payload_hash) select decision_id, {at}, 0, 1, sender, recipient, amount, {verdict}, false, '[]', "
    "'[]', 1, {hash} from ledger.transfers where id = $1"
)
HONEST = {"at": "clock_timestamp()", "verdict": "'approve'", "hash": "payload_hash"}
GO_ON = (
    "update ledger.transfers set status = 'pending', version = version + 1, settle_at = now() + interval '1 day' "
    "where id = $1"
)


@pytest.mark.parametrize(
    "lie",
    [{}, {"verdict": "'hold'"}, {"verdict": "'block'"}, {"hash": "sha256('x')"}, {"at": "created_at - interval '1 s'"}],
    ids=lambda lie: ":".join(next(iter(lie.items()), ("the honest", "way"))),
)  # fmt: skip
async def test_the_database_lets_nothing_out_of_screening_unapproved(house: House, lie: dict[str, str]) -> None:
    name = await house.reserved(await house.org(amount=100), await house.org(), 10)
    async with by_hand(house) as conn:
        assert await refused(conn, name) == "silence_is_a_hold"
    async with by_hand(house) as conn:
        await conn.execute(APPROVED.format(**{**HONEST, **lie}), name)
        assert await refused(conn, name) == ("silence_is_a_hold" if lie else None)
    if not lie:
        await house.pool.execute(APPROVED.format(**HONEST), name)  # in another transaction
        async with by_hand(house) as conn:
            assert await refused(conn, name) == "silence_is_a_hold"


async def refused(conn: asyncpg.Connection, name: str) -> str | None:
    try:
        await conn.execute(GO_ON, name)
    except asyncpg.CheckViolationError as error:
        return error.constraint_name
    return None


async def test_a_purchase_taken_back_takes_what_is_screened_with_it(house: House) -> None:
    await house.activate(NEVER_FIRES)
    sender, recipient = await house.org(), await house.org()
    grant = await house.grant(sender, 100)
    name = await house.reserved(sender, recipient, 10, "k")
    await house.revoke(grant)
    assert (await house.transfer(name))["status"] == "returned"
    answer = (await house.works.apart.screening.finish({name: await heard(house, name)}))[name]
    assert (answer.status, msgspec.json.decode(answer.body)["status"]) == (201, "returned")
    assert await house.pool.fetchval("select count(*) from detector.decisions") == 0
    await house.reconcile()
