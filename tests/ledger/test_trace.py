"""A trace tells of every unit where it came from and what became of it, in text, JSON and SVG, of any size of tree."""

from __future__ import annotations

import xml.etree.ElementTree
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import NotFound
from ledger.store import SQL
from ledger.trace import Rows, Tree, build, view
from ledger.trace_svg import MOST_DRAWN, draw
from ledger.trace_text import WIDTH, credits, lines
from ledger.tracing import trace
from tests.ledger.test_revocation import chain, give
from tests.support import CREDIT, House, examples, new_key, open_door

NOW = datetime(2026, 5, 1, tzinfo=UTC)


async def read(house: House, name: str, most: int = 500, kind: str | None = None) -> Tree:
    async with house.pool.acquire() as conn:
        return await trace(conn, name, most, kind)


def explained(tree: Tree) -> None:
    """Law 1 at every grant of a trace."""
    for one in tree.nodes:
        assert one.amount + one.came_back == sum(one.fates.values()), one
        assert one.fates["in_lock"] == sum(each.amount for each in one.waiting)


# --- on real books ---


async def test_a_chain_of_five_gifts_after_a_revocation(house: House) -> None:
    root, orgs = await chain(house)
    before = await read(house, root)
    assert [(one.org, one.depth) for one in before.nodes] == [(org, depth) for depth, org in enumerate(orgs)]
    assert [one.fates["unspent"] for one in before.nodes] == [6, 6, 6, 6, 6, 50]
    await house.revoke(root)
    after = await read(house, root)
    explained(before), explained(after)
    assert [one.fates["revoked"] for one in after.nodes] == [6, 6, 6, 6, 6, 50]
    assert [one.fates["consumed"] for one in after.nodes] == [4, 4, 4, 4, 4, 0]
    assert after.totals == {**dict.fromkeys(after.totals, 0), "consumed": 20, "revoked": 80}
    told = "\n".join(lines(after))
    assert f"{credits(20)} owed by {orgs[0]}" in told and told.count("gifted to") == 5


async def test_what_waits_expires_goes_back_and_is_repaid(house: House) -> None:
    a, b, c = await house.org("a"), await house.org("b"), await house.org("c")
    now = await house.pool.fetchval("select clock_timestamp()")
    root = await house.grant(a, 40, expires_at=now + timedelta(hours=4), priority=0)
    gift = await give(house, a, b, 30)
    other = await house.grant(b, 5)
    await house.consume(b, 22)
    await house.reverse(gift, 12)
    waits = await house.sent(a, c, 3)
    tree = await read(house, root)
    explained(tree)
    top, below = tree.nodes
    assert (top.came_back, below.fates["went_back"]) == (8, 8)
    assert [(one.transfer, one.recipient, one.status, one.amount) for one in top.waiting] == [(waits, c, "pending", 3)]
    paid = (await read(house, other)).nodes[1]
    assert paid.org == a and paid.gift is not None and paid.gift == (gift, True)
    assert "repaid to a" in "\n".join(lines(await read(house, other)))
    await house.pass_time(4 * 3600)
    late = await read(house, root)
    explained(late)
    assert late.nodes[0].fates["expired"] == 15 and late.nodes[0].fates["unspent"] == 0
    await house.expire()
    assert [one.fates for one in (await read(house, root)).nodes] == [one.fates for one in late.nodes]


async def test_an_org_and_a_gift_lead_up_to_purchases_and_down_to_where_credits_are(house: House) -> None:
    root, orgs = await chain(house, 3)
    other = await house.org(amount=10)
    aside = await give(house, orgs[1], other, 2)
    tree = await read(house, orgs[2])
    assert [(one.org, one.in_focus) for one in tree.nodes] == list(zip(orgs, [False, False, True, False], strict=True))
    assert [one.cut for one in tree.nodes] == [0, 1, 0, 0], "the gift to another org lies beside the way"
    tree = await read(house, aside)
    assert [one.org for one in tree.nodes] == [*orgs[:2], other] and tree.nodes[-1].gift == (aside, False)
    waits = await house.sent(orgs[3], other, 2)
    tree = await read(house, waits)
    assert [one.org for one in tree.nodes] == orgs and tree.nodes[-1].waiting[0].transfer == waits
    assert len((await read(house, await house.org("nothing"))).nodes) == 0
    for name, kind in (("nosuch", None), (orgs[0], "grant"), (waits, "grant")):
        with pytest.raises(NotFound):
            await read(house, name, kind=kind)
    assert root == tree.nodes[0].id


async def test_a_huge_tree_is_cut_and_says_so(house: House) -> None:
    a = await house.org(amount=200)
    (root,) = await house.grants(a)
    recipients = [await house.org() for _ in range(4)]
    for n in range(24):
        await house.sent(a, recipients[n % 4], 5)
    await house.pass_time(3_601)
    await house.settle()
    tree = await read(house, root["id"], 10)
    explained(tree)
    assert (len(tree.nodes), tree.nodes[0].cut, tree.nodes[0].cut_amount) == (10, 15, 75)
    assert tree.totals["not_shown"] == 75
    told = "\n".join(lines(tree))
    assert "15 more slices" in told and "--most" in told
    whole = await read(house, root["id"])
    assert len(whole.nodes) == 25 and whole.totals["not_shown"] == 0 and whole.totals["unspent"] == 200


# --- pure ---

shapes = st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**15), st.integers(0, 3)), min_size=1, max_size=60)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=64)


def rows(shape: list[tuple[int, int, int]], org: str = "o") -> Rows:
    """Grants, each cut from one before it; sums are taken as they come, since nothing is added up here."""
    grants = []
    for n, (parent, amount, waits) in enumerate(shape):
        grants.append(
            {
                "id": f"gr_{n:028x}", "org_id": f"{org}{n}"[:64], "origin": "purchase",
                "parent_id": f"gr_{parent % n:028x}" if n else None, "transfer_id": "t" if n else None,
                "created_at": NOW + timedelta(seconds=n), "expires_at": NOW + timedelta(days=1), "amount": amount,
                "available": amount, "reserved": waits, "consumed": amount, "expired": 0, "revoked": amount,
                "came_back": 1, "went_back": 1, "slices": waits, "gifted": 10**15,
            }
        )  # fmt: skip
    waiting = [
        {"grant_id": one["id"], "id": f"tr_{k:028x}", "recipient": org, "status": "held", "until": NOW, "amount": k + 1}
        for one in grants for k in range(one["reserved"])
    ]  # fmt: skip
    transfer = {"id": f"tr_{0:028x}", "sender": "x"}
    return Rows("org", org, NOW, frozenset([grants[0]["id"]]), grants, {"t": transfer}, waiting, [])


@given(shapes, names)
@examples(80)
def test_any_tree_tells_each_grant_once_and_fits(shape: list[tuple[int, int, int]], org: str) -> None:
    tree = build(rows(shape, org))
    assert sorted(one.id for one in tree.nodes) == [f"gr_{n:028x}" for n in range(len(shape))]
    seen: dict[str | None, int] = {None: -1}
    for one in tree.nodes:
        assert one.depth == seen[one.parent] + 1, "each grant stands after what it was cut from"
        seen[one.id] = one.depth
    told = lines(tree)
    assert max(map(len, told)) <= WIDTH
    assert all(any(one.id in line for line in told) for one in tree.nodes)
    assert [one["id"] for one in view(tree)["grants"]] == [one.id for one in tree.nodes]
    xml.etree.ElementTree.fromstring(draw(tree))


def test_a_chain_deeper_than_the_stack_is_told_and_drawn() -> None:
    deep = build(rows([(n - 1, 5, 0) for n in range(3_000)]))
    assert deep.nodes[-1].depth == 2_999
    assert max(map(len, lines(deep))) <= WIDTH
    picture = draw(deep)
    assert f"{3_000 - MOST_DRAWN} more grants are not drawn" in picture and picture == draw(deep)
    xml.etree.ElementTree.fromstring(picture)


def test_names_cannot_break_out_of_the_drawing() -> None:
    tree = build(rows([(0, 5, 0)], "<b>&"))
    assert "<b>" not in draw(tree) and "&lt;b&gt;&amp;" in draw(tree)


@pytest.mark.parametrize("amount, told", [(0, "0"), (1, "0.000001"), (CREDIT, "1"), (1_234_500_000, "1,234.5")])
def test_credits_are_told_exactly(amount: int, told: str) -> None:
    assert credits(amount) == told


# --- over HTTP ---


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(house.dsn, lock_s=3600) as client:
        client.headers.update(await new_key(house.pool, "platform"))
        yield client


async def test_the_platform_traces_a_grant(http: httpx.AsyncClient, house: House) -> None:
    root, orgs = await chain(house, 2)
    await house.revoke(root)
    told: dict[str, Any] = (await http.get(f"/v1/grants/{root}/trace")).json()
    assert (told["kind"], told["id"]) == ("grant", root)
    assert [(one["org"], one["depth"], one["revoked"]) for one in told["grants"]] == [
        (orgs[0], 0, 6), (orgs[1], 1, 6), (orgs[2], 2, 80),
    ]  # fmt: skip
    assert told["revocations"][0]["receivable"] == 8 and told["totals"]["revoked"] == 92
    cut = (await http.get(f"/v1/grants/{root}/trace", params={"most": 1})).json()
    assert cut["grants"][0]["not_shown"] == {"grants": 1, "amount": 90}
    assert (await http.get("/v1/grants/nosuch/trace")).json()["code"] == "not_found"
    owner = await new_key(house.pool, "owner", orgs[0])
    assert (await http.get(f"/v1/grants/{root}/trace", headers=owner)).status_code == 403
    for most in (0, 5001):
        assert (await http.get(f"/v1/grants/{root}/trace", params={"most": most})).status_code == 422


async def test_a_trace_reads_by_index(house: House) -> None:
    """None of the statements walks a whole table, however young the statistics are."""
    root, _ = await chain(house, 1)
    async with house.pool.acquire() as conn, conn.transaction():
        for statement in ("trace_down", "trace_grants", "root_owners", "root_grants"):
            arguments: tuple[Any, ...] = ([root],) if statement.startswith("trace") else (root,)
            plan = await explain(conn, statement, *arguments, *((9,) if statement == "trace_down" else ()))
            assert "Seq Scan" not in plan, plan


async def explain(conn: asyncpg.Connection, statement: str, *arguments: Any) -> str:
    return "\n".join(row[0] for row in await conn.fetch(f"explain {SQL[statement]}", *arguments))
