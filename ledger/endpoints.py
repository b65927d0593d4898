"""Endpoints, and what becomes of deliveries. Law: an event is delivered, given up or waiting, and of one subject the
earlier comes first.

All here is pure: now and the jitter's random number are arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

import msgspec

from ledger.views import stamp

# What an endpoint may want: one kind of event, or all that begin alike.
KIND: Final = re.compile(r"[a-z]+\.([a-z_]+|\*)")
Outcome = Literal["delivered", "failed", "given_up"]
DAY_S: Final = 86_400
LONGEST_WAIT_S: Final = 3_600.0
# After so long without a success, one success shows that the endpoint is back, and not that it refuses one event.
SILENCE_S: Final = 60
GONE: Final = 410
# Statuses whose Retry-After speaks for the endpoint and not for one event.
SLOW_DOWN: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator chose for all endpoints."""

    private: bool = False  # addresses that are not public, and http to them
    timeout_s: float = 15.0
    retry_s: float = 2.0  # the most that the first retry waits; doubled for each further one
    give_up_s: int = 5 * DAY_S
    keep_s: int = 30 * DAY_S


class Due(NamedTuple):
    """An event to bring to an endpoint. `queued`: it waits already; `behind`: an earlier one of its subject does."""

    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    body: str
    attempts: int = 0
    first_at: datetime | None = None
    queued: bool = False
    behind: bool = False

    @property
    def name(self) -> str:
        """The webhook-id: the event's, whoever it is brought to and however often."""
        return f"evt_{self.seq}"

    def message(self) -> bytes:
        """The body that is posted: the event as the log has it, in the shape of Standard Webhooks."""
        rest = self.body.strip()[1:-1].strip()
        about = f'"seq":{self.seq},"subject":{quoted(self.subject)},"actor":{quoted(self.actor)}'
        data = f"{{{about},{rest}}}" if rest else f"{{{about}}}"
        return f'{{"type":"{self.kind}","timestamp":"{stamp(self.at)}","data":{data}}}'.encode()


class Reply(NamedTuple):
    """How one request ended: a status, or the error that there is none."""

    status: int | None
    error: str | None
    latency_ms: int
    retry_after_s: float | None = None
    excerpt: str | None = None

    @property
    def delivered(self) -> bool:
        return self.error is None and self.status is not None and 200 <= self.status < 300


class Tried(NamedTuple):
    """One attempt, when it began, how it ended, and the random number of 0..1 that its next one is spread with."""

    due: Due
    at: datetime
    reply: Reply
    draw: float


class Delivery(NamedTuple):
    """One row of ledger.deliveries."""

    seq: int | None
    attempt: int
    at: datetime
    outcome: Outcome
    status: int | None
    error: str | None
    latency_ms: int
    next_at: datetime | None
    excerpt: str | None


class Waiting(NamedTuple):
    """One row of ledger.undelivered."""

    seq: int
    subject: str
    attempts: int
    first_at: datetime | None
    next_at: datetime | None


@dataclass(slots=True)
class Turn:
    """What one turn of an endpoint leaves behind."""

    deliveries: list[Delivery] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    failing_since: datetime | None = None
    not_before: datetime | None = None
    disabled: Literal["failing", "gone"] | None = None
    hurry: bool = False


def backoff_s(attempts: int, draw: float, terms: Terms) -> float:
    """How long to wait after so many failed attempts: anything up to a bound that doubles (full jitter).

    >>> [backoff_s(attempts, 1.0, Terms()) for attempts in (1, 2, 3, 20)]
    [2.0, 4.0, 8.0, 3600.0]
    """
    bound = min(LONGEST_WAIT_S, terms.retry_s * 2.0 ** min(attempts - 1, 30))
    return float(bound * draw)


def lanes(dues: Iterable[Due]) -> list[list[Due]]:
    """Events by subject, each subject's in order: lanes run side by side, what is in one runs one after the other."""
    found: dict[str, list[Due]] = {}
    for due in sorted(dues, key=lambda one: one.seq):
        found.setdefault(due.subject, []).append(due)
    return list(found.values())


def stops(reply: Reply) -> bool:
    """Whether an answer asks for nothing more for now, of any subject."""
    return reply.status == GONE or (reply.status in SLOW_DOWN and reply.retry_after_s is not None)


def turn(
    failing_since: datetime | None, tried: Sequence[Tried], left: Sequence[Due], now: datetime, terms: Terms
) -> Turn:
    """What becomes of the events of one turn, tried or left untried, and of the endpoint."""
    took = Turn()
    delivered = any(one.reply.delivered for one in tried)
    failed = any(not one.reply.delivered for one in tried)
    took.failing_since = None if delivered else (failing_since or now) if failed else failing_since
    took.not_before = max((until for one in tried if (until := pause(one)) is not None), default=None)
    took.hurry = delivered and failing_since is not None and now - failing_since >= timedelta(seconds=SILENCE_S)
    # An event is given up only where others get through: an endpoint that takes nothing is disabled, and keeps all.
    lone = failing_since is None or delivered
    for one in sorted(tried, key=lambda one: one.due.seq):
        note(took, one, lone, terms)
    took.waiting += [Waiting(one.seq, one.subject, one.attempts, one.first_at, None) for one in left if not one.queued]
    if any(one.reply.status == GONE for one in tried):
        took.disabled = "gone"
    elif took.failing_since and now - took.failing_since >= timedelta(seconds=terms.give_up_s):
        took.disabled = "failing"
    return took


def note(took: Turn, one: Tried, lone: bool, terms: Terms) -> None:
    """Note one attempt, and what follows for its event."""
    due, reply = one.due, one.reply
    attempt, first_at = due.attempts + 1, due.first_at or one.at
    outcome: Outcome = "delivered" if reply.delivered else "failed"
    next_at = None
    if outcome == "failed" and lone and one.at - first_at >= timedelta(seconds=terms.give_up_s):
        outcome = "given_up"
    if outcome == "failed":
        wait_s = max(backoff_s(attempt, one.draw, terms), reply.retry_after_s or 0.0)
        next_at = one.at + timedelta(seconds=wait_s)
        took.waiting.append(Waiting(due.seq, due.subject, attempt, first_at, next_at))
    elif due.queued:
        took.done.append(due.seq)
    took.deliveries.append(delivery(due.seq, attempt, one.at, outcome, reply, next_at))


def delivery(
    seq: int | None, attempt: int, at: datetime, outcome: Outcome, reply: Reply, next_at: datetime | None
) -> Delivery:
    return Delivery(
        seq, attempt, at, outcome, reply.status, reply.error, reply.latency_ms, next_at, reply.excerpt
    )  # fmt: skip


def pause(one: Tried) -> datetime | None:
    """Until when the endpoint itself asked to be left alone."""
    asked_s = one.reply.retry_after_s
    if asked_s is None or one.reply.status not in SLOW_DOWN:
        return None
    return one.at + timedelta(seconds=asked_s)


def secrets(secret: str, old: str | None, until: datetime | None, now: datetime) -> list[str]:
    """The secrets that sign now: a rotated one does until its overlap ends."""
    return [secret, old] if old is not None and until is not None and now < until else [secret]


def quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
