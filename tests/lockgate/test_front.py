"""The sending routes on the framework's way: bodies out of bounds, bodies of unsaid length, faults."""

from __future__ import annotations

import httpx
import pytest

from lockgate.front import MOST_BODY
from tests.support import House, new_key, open_door

PATHS = ["/v1/billing/credits/transfer", "/v1/billing/credits/transfer/batch"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_beyond_bounds_is_a_413_problem(house: House, path: str) -> None:
    key = await new_key(house.pool, "owner", await house.org())
    async with open_door(house.dsn) as door:
        told = await door.post(path, headers={**key, "Idempotency-Key": "k"}, content=b" " * (MOST_BODY + 1))
    assert told.status_code == 413
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json()["code"] == "http_error"


async def test_a_body_of_unsaid_length_is_read_all_the_same(house: House) -> None:
    sender, recipient = await house.org(), await house.org()
    await house.grant(sender, 1_000)
    key = await new_key(house.pool, "owner", sender)

    async def pieces():  # type: ignore[no-untyped-def]
        yield b'{"recipient":"%s",' % recipient.encode()
        yield b'"amount":5}'

    async with open_door(house.dsn) as door:
        told = await door.post(PATHS[0], headers={**key, "Idempotency-Key": "k"}, content=pieces())
    assert (told.status_code, told.json()["status"]) == (201, "pending")


@pytest.mark.parametrize("path", PATHS)
async def test_a_fault_is_a_500_problem(house: House, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    key = await new_key(house.pool, "owner", await house.org())
    monkeypatch.setattr("ledger.api.parse", broken)
    async with open_door(house.dsn) as door:
        told: httpx.Response = await door.post(path, headers={**key, "Idempotency-Key": "k"}, content=b"{}")
    assert (told.status_code, told.json()["code"]) == (500, "fault")
