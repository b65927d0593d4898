"""Transfers: one table of steps, in code and in SQL alike; one hash of the payload."""

from __future__ import annotations

import re

import asyncpg
import pytest

from ledger.transfers import FIRST_STATUS, OPEN, STEPS, Request, Status
from tests.support import House


async def source(house: House, function: str) -> str:
    text: str = await house.pool.fetchval("select pg_get_functiondef($1::regproc)", function)
    return text


async def test_the_steps_in_code_are_the_steps_in_sql(house: House) -> None:
    written = re.findall(r"'(\w+)>(\w+)'", await source(house, "ledger.judge_step"))
    assert len(written) == len(set(written))
    assert set(written) == {(was.value, then.value) for was, steps in STEPS.items() for then in steps}


async def test_the_statuses_in_code_are_those_of_the_table(house: House) -> None:
    check = await house.pool.fetchval(
        "select string_agg(pg_get_constraintdef(oid), '') from pg_constraint "
        "where conrelid = 'ledger.transfers'::regclass and conname = 'transfers_status_check'"
    )
    assert set(re.findall(r"'(\w+)'::text", check)) == {status.value for status in Status}


async def test_a_transfer_starts_only_as_a_verdict_starts_it_or_without_one_yet(house: House) -> None:
    trigger = await house.pool.fetchval(
        "select pg_get_triggerdef(oid) from pg_trigger where tgname = 'transfers_start'"
    )
    verdicts = {status.value for status in FIRST_STATUS.values()}
    assert set(re.findall(r"'(\w+)'::text", trigger)) == {"screening", *verdicts}


def test_what_ended_takes_no_step() -> None:
    assert {Status.SCREENING, Status.PENDING, Status.HELD} == OPEN
    assert all(not STEPS[status] for status in Status if status not in OPEN)


@pytest.mark.parametrize("note", [None, "", "hi", "Grüße 😀", "a|b", "  "])
async def test_code_and_sql_hash_the_same_payload(database: str, note: str | None) -> None:
    request = Request("tr_1", "k", "a", "b", 10**15, note, None, None, b"")
    conn = await asyncpg.connect(database)
    try:
        written = await conn.fetchval(
            "select sha256(convert_to(concat_ws(E'\\n', $1::text, $2::text, $3::text, $4::bigint::text, "
            "coalesce($5::text, '')), 'UTF8'))",
            *("tr_1", "a", "b", 10**15, note),
        )
    finally:
        await conn.close()
    assert request.payload_hash == written


def test_every_field_of_the_payload_moves_its_hash() -> None:
    plain = ("tr_1", "k", "a", "b", 1, "n", None, None, b"")
    hashes = {Request(*plain).payload_hash}
    for position, other in [(0, "tr_2"), (2, "c"), (3, "c"), (4, 2), (5, "m")]:
        changed = list(plain)
        changed[position] = other
        hashes.add(Request(*changed).payload_hash)  # type: ignore[arg-type]
    assert len(hashes) == 6
