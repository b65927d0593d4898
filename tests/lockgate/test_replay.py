"""The replay's pure parts: which rows can be played, how they are cut into batches, what is counted of them."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

from detector.gift import Hit
from ledger import store
from ledger.transfers import Answer
from lockgate import replay_report as report
from lockgate.replay import pass_time
from lockgate.replay_progress import Lines
from lockgate.replay_rows import TICK_US, batches, cuts, key_of, playable, request_of
from training.history import BAD_SCHEMA, History

START = datetime(2026, 3, 1, tzinfo=UTC)


def history_of(**columns: list[object]) -> History:
    rows = pl.DataFrame(columns)
    return History(rows.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))), pl.DataFrame(schema=BAD_SCHEMA))


def row(**more: object) -> dict[str, object]:
    return {"id": "r1", "at": START, "sender": "a", "recipient": "b", "amount": 5, **more}


@pytest.mark.parametrize(
    ("times", "most", "span", "expected"),
    [
        ([], 3, 10, []),
        ([7], 3, 10, [1]),
        ([1, 1, 1, 1], 3, 10, [3, 1]),
        ([0, 9, 10], 5, 10, [2, 1]),
        ([0, 10, 20], 5, 10, [1, 1, 1]),
        ([0, 1, 2, 3, 4, 50], 2, 10, [2, 2, 1, 1]),
    ],
)
def test_batches_are_short_in_rows_and_in_time(times: list[int], most: int, span: int, expected: list[int]) -> None:
    runs = list(cuts(times, most, span))

    assert [end - start for start, end in runs] == expected
    assert [time for start, end in runs for time in times[start:end]] == times
    assert all(times[end - 1] - times[start] < span for start, end in runs)


def test_batches_lose_no_row_and_keep_the_order() -> None:
    at = [START + timedelta(minutes=7 * number) for number in range(25_000)]
    rows = pl.DataFrame({"id": [str(number) for number in range(25_000)], "at": at})

    cut = list(batches(rows, 5))

    assert pl.concat(cut).equals(rows)
    assert max(part.height for part in cut) == 5
    assert all((part["at"][-1] - part["at"][0]) < timedelta(microseconds=TICK_US) for part in cut)


def test_rows_that_the_application_would_refuse_are_bad_rows() -> None:
    old, late = datetime(1969, 12, 31, tzinfo=UTC), datetime(9100, 1, 1, tzinfo=UTC)
    found = playable(
        history_of(
            id=["fine", "old", "late", "large", "ip", "device", "blank"],
            at=[START, old, late, START, START, START, START],
            sender=["a"] * 7,
            recipient=["b"] * 7,
            amount=[10**15, 1, 1, 10**15 + 1, 1, 1, 1],
            ip=["10.0.0.1", None, None, None, "x" * 129, None, ""],
            device=[None, None, None, None, None, "bell\a", ""],
        )
    )

    assert found.rows["id"].to_list() == ["fine", "blank"]
    assert found.rows.select("ip", "device").rows() == [("10.0.0.1", None), (None, None)]
    assert found.bad.select("id", "reason").rows() == [
        ("old", "unplayable_at"),
        ("late", "unplayable_at"),
        ("large", "amount_too_large"),
        ("ip", "bad_ip"),
        ("device", "bad_device"),
    ]


def test_a_history_without_context_is_played_as_it_is() -> None:
    found = playable(history_of(id=["x"], at=[START], sender=["a"], recipient=["b"], amount=[1]))

    assert found.rows.height == 1
    assert found.bad.is_empty()


def test_a_request_carries_the_rows_own_moment_and_context() -> None:
    request = request_of(row(ip="10.0.0.1", device="d"))

    assert request.at == store.micros(START)
    assert (request.sender, request.recipient, request.amount) == ("a", "b", 5)
    assert (request.ip, request.device, request.key) == ("10.0.0.1", "d", "row:r1")
    assert int(request.id[3:15], 16) == request.at // 1000


def test_every_id_makes_a_key_of_its_own() -> None:
    ids = ["a", "row:a", "a b", "a\0b", "é", "x" * 300, "x" * 301, "#"]

    keys = {key_of(name) for name in ids}

    assert len(keys) == len(ids)
    assert all(key.isascii() and key.isprintable() and len(key) <= 255 for key in keys)


# Counting


def look(verdict: str, *hits: Hit, refused: bool = False) -> dict[str, object]:
    return {"verdict": verdict, "refused": refused, "hits": msgspec.json.encode(list(hits)).decode()}


def test_a_tally_counts_verdicts_reasons_and_the_fraud_among_them() -> None:
    tally, request = report.Tally(), request_of(row())
    burst, drained = Hit("limit", "burst", "block"), Hit("rule", "drained", "hold")

    tally.add(request, Answer(201, b""), look("approve"), False)
    tally.add(request, Answer(201, b""), look("hold", drained), True)
    tally.add(request, Answer(429, b""), look("block", burst, drained, refused=True), True)

    assert tally.verdicts == {"approve": 1, "hold": 1, "block": 1}
    assert tally.reasons == {"rule:drained": 2, "limit:burst": 1}
    assert tally.refused == {"rule:drained": 1, "limit:burst": 1}
    assert tally.frauds == {"": 2, "hold": 1, "block": 1, "rule:drained": 2, "limit:burst": 1}
    assert tally.fraud_transfers == [request.id, request.id]
    assert tally.faults == []


@pytest.mark.parametrize(
    ("answer", "recorded"),
    [
        (ValueError("no"), look("approve")),
        (Answer(201, b""), None),
        (Answer(201, b"", replayed=True), look("approve")),
        (Answer(201, b""), look("block", refused=True)),
        (Answer(429, b""), look("approve")),
    ],
    ids=["failed", "unjudged", "replayed", "refused but opened", "admitted but refused"],
)
def test_a_gift_without_exactly_one_fitting_answer_is_a_fault(
    answer: Answer | BaseException, recorded: dict[str, object] | None
) -> None:
    tally = report.Tally()

    tally.add(request_of(row()), answer, recorded, None)

    assert len(tally.faults) == 1
    assert "row:r1" in tally.faults[0]


SUMS = {
    "unbalanced_postings": 0, "orgs_off": 0, "grants_off": 0, "transfers_off": 0, "roots_off": 0, "reserved": 0,
    "in_lock": 0, "balances": 5, "issued": 5, "consumed": 0, "expired": 0, "revoked": 0, "balanced": True,
}  # fmt: skip


def ending(status: str, transfers: int) -> dict[str, object]:
    return {
        "status": status, "reason": None, "second_look": None, "transfers": transfers, "marked": 0, "amount": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("balanced", "status", "opened", "answered", "rows", "fault"),
    [
        (True, "settled", 1, 1, 1, None),
        (False, "settled", 1, 1, 1, "do not balance"),
        (True, "pending", 1, 1, 1, "have not ended"),
        (True, "settled", 2, 1, 1, "2 transfers are recorded"),
        (True, "settled", 1, 1, 2, "2 good rows, but 1 were sent"),
        (True, "settled", 0, 0, 0, "no good row"),
    ],
)
def test_a_replay_fails_on_whatever_is_not_accounted_for(
    balanced: bool, status: str, opened: int, answered: int, rows: int, fault: str | None
) -> None:
    tally = report.Tally(gifts=answered, answers=Counter({"201": answered}))
    history = History(pl.DataFrame({"id": ["x"] * rows}), pl.DataFrame(schema=BAD_SCHEMA))

    found = report.summary(history, tally, [ending(status, opened)], {**SUMS, "balanced": balanced}, {})

    assert (fault is None) == (found["faults"] == [])
    assert fault is None or any(fault in said for said in found["faults"])


# Time and progress


class OneOpen:
    """A settlement and a connection whose only transfer is due at `due`."""

    def __init__(self, due: datetime, takes: int = 1) -> None:
        self.due: datetime | None = due
        self.takes = takes
        self.seen: list[datetime] = []
        self.settlement = self

    async def fetchval(self, _: str) -> datetime | None:
        return self.due

    async def settle_due(self, at: datetime, *, most: int) -> int:
        self.seen.append(at)
        self.due, taken = None, self.takes if self.due else 0
        return taken


@pytest.mark.parametrize(
    ("until", "seen"),
    [
        (timedelta(minutes=-1), []),
        (timedelta(0), [0]),
        (timedelta(minutes=9), [9]),
        (timedelta(days=9), [60]),
        (None, [60]),
    ],
)
def test_a_transfer_is_settled_at_its_hour_or_at_most_a_tick_later(until: timedelta | None, seen: list[int]) -> None:
    house = OneOpen(START)
    stop = None if until is None else store.micros(START + until)

    asyncio.run(pass_time(house, house, stop))  # type: ignore[arg-type]

    assert house.seen[:1] == [START + timedelta(minutes=minutes) for minutes in seen]


def test_a_due_transfer_that_settlement_never_takes_is_a_fault_not_an_endless_loop() -> None:
    house = OneOpen(START, takes=0)

    with pytest.raises(RuntimeError, match="settlement takes none"):
        asyncio.run(pass_time(house, house, None))  # type: ignore[arg-type]


def test_progress_is_a_line_now_and_then_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    often, never = Lines(4, 0.0), Lines(4, None)
    for lines in (often, never):
        lines.advance(0, 0)
        lines.advance(3, store.micros(START))

    assert stream.getvalue().count("\n") == 2
    assert "3 of 4 gifts, at 2026-03-01 00:00" in stream.getvalue()
