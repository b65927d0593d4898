"""What the ledger tells the log: each change its own event, in the transaction that made it (law 12)."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest

from detector.verify import verify
from tests.support import House, rule

MIXED = rule("large", "amount >= 1000", "block") + rule("medium", "amount >= 100")


async def told(house: House, *kinds: str) -> list[asyncpg.Record]:
    """The events of these kinds, in order; all where none is named."""
    rows: list[asyncpg.Record] = await house.pool.fetch(
        "select * from log.events where cardinality($1::text[]) = 0 or kind = any($1) order by seq", kinds
    )
    return rows


def body(event: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(event["body"])
    return found


async def test_a_batch_that_passes_the_gate_is_told_in_one_link_with_what_the_desk_hears(house: House) -> None:
    await house.activate(MIXED)
    sender, recipient = await house.org(amount=10**6), await house.org()
    await house.sent(sender, recipient, 1)
    amounts = [1, 2, 100, 1_000, 3]
    # The first one starts a batch at once; the rest form the next.
    await asyncio.gather(*[house.send(sender, recipient, amount) for amount in (7, *amounts, 10**9)])
    events = [one for one in await told(house) if not one["kind"].startswith(("org.", "grant.", "policy."))]
    assert [one["kind"] for one in events] == ["transfer.created"] * 7 + ["case.opened"], "10**9 opened nothing"
    assert len({one["link"] for one in events[2:]}) == 1
    assert [(body(one)["amount"], body(one)["status"]) for one in events[2:7]] == [
        (1, "pending"), (2, "pending"), (100, "held"), (1_000, "blocked"), (3, "pending"),
    ]  # fmt: skip
    for one in events[:7]:
        transfer = await house.transfer(one["subject"])
        parties = {"sender": sender, "recipient": recipient}
        assert body(one) == {"amount": transfer["amount"], "status": transfer["status"], **parties}
        assert one["actor"] == sender
    async with house.pool.acquire() as conn:
        assert (await verify(conn)).findings == []


async def test_a_batch_that_fails_at_its_commit_tells_nothing(house: House) -> None:
    sender, recipient = await house.org(amount=10**6), await house.org()
    await house.sent(sender, recipient, 1)
    await house.pool.execute("alter table log.links add constraint nothing_more check (false) not valid")
    with pytest.raises(asyncpg.CheckViolationError):
        await house.send(sender, recipient, 2)
    assert await house.pool.fetchval("select count(*) from ledger.transfers") == 1
    assert len(await told(house, "transfer.created")) == 1
    await house.pool.execute("alter table log.links drop constraint nothing_more")
    await house.sent(sender, recipient, 2)
    assert [body(one)["amount"] for one in await told(house, "transfer.created")] == [1, 2]
    async with house.pool.acquire() as conn:
        assert (await verify(conn)).findings == []
