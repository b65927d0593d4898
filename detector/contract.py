"""What others see of the detector: the nouns of a judgement, the shapes of its HTTP API, and what a ledger hands it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from detector.errors import PolicyMoved
from detector.finding import Finding
from detector.flush import Flush, Table, begin
from detector.gift import Budget, Decision, Gift, Hit, Parties, Verdict, micros, moment
from detector.identity_terms import LEVELS, Asks, IdentityTerms
from detector.log import SYSTEM, Told, append, appending
from detector.shapes import (
    CONTRACT,
    Act,
    Amount,
    Answers,
    Asked,
    Context,
    Domain,
    Judged,
    Label,
    Labelled,
    Outcome,
    Party,
    body_schema,
)
from detector.silence import Mark, silent

__all__ = [
    "CONTRACT",
    "LEVELS",
    "SYSTEM",
    "Act",
    "Amount",
    "Answers",
    "Asked",
    "Asks",
    "Books",
    "Budget",
    "Context",
    "Decision",
    "Domain",
    "Finding",
    "Flush",
    "Gift",
    "Hit",
    "IdentityTerms",
    "Judged",
    "Label",
    "Labelled",
    "Left",
    "Locking",
    "Mark",
    "Outcome",
    "Parties",
    "Party",
    "PolicyMoved",
    "Sitting",
    "Stood",
    "Table",
    "Told",
    "Verdict",
    "append",
    "appending",
    "begin",
    "body_schema",
    "micros",
    "moment",
    "silent",
]

G = TypeVar("G")


class Sitting(Protocol):
    """A batch being judged inside the caller's transaction; `now` is its moment in microseconds.

    The gifts of one of its `waves` may be looked at together before each is decided, which asks a model once for all;
    a gift that was not looked at is looked at when it is decided. Second looks need a `recall` first, which says where
    they are `late`: the first that count, of gifts that nobody could judge before. What was decided since the last time
    is `rows` for each of `tables`, for the caller's flush; `record` writes it on its own. `let_go` comes before: of
    later looks that changed nothing, none is recorded. `stop` says that the ledger holds a gift whatever the verdict;
    `tell_desk` comes last, where there is `news`: what was held waits in a case, for `hold_s` from `at` (or from its
    decision), what `left` leaves its own, and the cases of gifts held earlier, `beside`, become one with that; the log
    hears of it in one link with what the caller has to tell `also`. `identity` is what the policy asks of a sender's
    identity: the ledger, which alone knows that, keeps to it.
    """

    now: int
    identity: IdentityTerms

    @property
    def tables(self) -> Sequence[Table]: ...

    def waves(self, gifts: Sequence[G]) -> Iterator[Sequence[G]]: ...
    async def recall(self, conn: Any, gifts: Sequence[Gift], *, late: bool = False) -> None: ...
    def look(self, gifts: Sequence[tuple[Gift, int | None]]) -> None: ...

    def decide(self, gift: Gift, *, at: int | None = None) -> Decision: ...
    def turn_away(self, gift: Gift, reason: str, *, at: int | None = None) -> Decision: ...
    @property
    def news(self) -> bool: ...
    def rows(self) -> Sequence[list[tuple[Any, ...]]]: ...
    async def record(self, conn: Any) -> None: ...
    def let_go(self, unchanged: Sequence[Decision]) -> None: ...
    def stop(self, decision: Decision, reason: str) -> None: ...
    async def tell_desk(
        self, conn: Any, hold_s: int | None, left: Sequence[Left] = (), at: datetime | None = None,
        also: Sequence[Told] = (), beside: Sequence[str] = (),
    ) -> None: ...  # fmt: skip
    def close(self, *, committed: bool) -> None: ...


class Locking(NamedTuple):
    """What a caller's own statement locks for its scorer by `detector.lock`: keys, and with them is asked for the model
    of the name that the policy gives. The scorer remembers by `activity`; it gets this back with what was told."""

    keys: list[str]
    model: str | None
    activity: Any


class Left(NamedTuple):
    """A held gift that went on or ended without a ruling: its case is told how and when."""

    gift: str
    standing: Literal["cancelled", "settled", "returned", "lapsed", "released"]
    at: datetime


class Stood(NamedTuple):
    """How a gift's transfer stands, under its lock, and what would hold it again at once if it were released."""

    status: str
    stops: list[str]


class Books(Protocol):
    """What the desk asks of the ledger whose gifts it rules on; `lock` comes before any lock of the detector's.

    What `carry_out` gives back is told to the log by who asked, last, in the same transaction."""

    async def lock(
        self, conn: Any, gifts: Sequence[str], orgs: Sequence[str], identity: IdentityTerms
    ) -> dict[str, Stood]: ...
    async def carry_out(self, conn: Any, act: Act, gifts: Sequence[str], at: datetime, who: str) -> list[Told]: ...
    async def freeze(self, conn: Any, orgs: Sequence[str]) -> list[str]: ...
