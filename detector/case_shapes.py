"""The shapes of casework over HTTP: what `/v1/cases` answers and takes.

Times are RFC 3339 texts in UTC, amounts integer micro-credits, scores 0..1 with high = more suspicious.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from detector.shapes import Act, Context, Party

Kind = Literal["hold", "sample"]
CaseStatus = Literal["open", "claimed", "ended"]
# waiting: a ruling still counts. The rest say how the gift left the case.
Standing = Literal["waiting", "released", "blocked", "returned", "cancelled", "settled", "lapsed"]
RulingStatus = Literal["done", "proposed", "refused", "lapsed"]
ListName = Literal["allow", "block"]
Listable = Literal["org", "ip", "device", "fingerprint", "domain"]
Text = Annotated[str, Meta(min_length=1, max_length=4_000, pattern=r"^[^\x00]+$")]
Version = Annotated[int, Meta(ge=0, lt=2**31)]


class CaseGift(Struct):
    """One gift in a case, by the decision that brought it there."""

    id: str
    decision: str
    at: str
    sender: str
    recipient: str
    amount: int
    ip: str | None
    device: str | None
    verdict: str
    reasons: list[str]
    score: float | None
    standing: Standing
    deadline: str | None
    ruling: str | None = None


class Ruling(Struct):
    """What was ruled on gifts of a case. A proposed one waits for another person (law 13)."""

    id: str
    act: Act
    gifts: list[str]
    amount: int
    why: str
    status: RulingStatus
    by: str
    at: str
    second: str | None = None
    second_at: str | None = None


class Note(Struct):
    at: str
    author: str
    text: str


class Happening(Struct):
    """One line of a case's audit: an event of the log."""

    seq: int
    at: str
    kind: str
    actor: str
    text: str


class Case(Struct):
    """A case as the queue shows it.

    `at_risk` is what its waiting gifts amount to and `expected_loss` that times their scores; `priority` is expected
    loss (credits) for each hour that is left until `deadline`. `claimed_by` counts until `claimed_until`.
    `merged_into` names the case that this one was gathered into, where its gifts are now.
    """

    id: str
    kind: Kind
    status: CaseStatus
    version: int
    opened_at: str
    deadline: str | None
    gifts: int
    waiting: int
    amount: int
    at_risk: int
    expected_loss: int
    priority: float
    score: float | None
    senders: list[str]
    recipients: list[str]
    reasons: list[str]
    claimed_by: str | None = None
    claimed_until: str | None = None
    assigned_to: str | None = None
    escalated: bool = False
    proposed: bool = False
    ended_at: str | None = None
    merged_into: str | None = None


class CaseFile(Struct):
    """Everything about one case but the explanations of its gifts."""

    case: Case
    gifts: list[CaseGift]
    rulings: list[Ruling]
    notes: list[Note]
    audit: list[Happening]


class CasePage(Struct):
    """One page of the queue, most pressing first; `now` is the database's clock."""

    cases: list[Case]
    next: str | None
    now: str
    open: int
    claimed: int


class Claim(Struct, forbid_unknown_fields=True):
    """Claim a case as it was read; with the version of an older reading it is a conflict."""

    version: Version


class Assign(Struct, forbid_unknown_fields=True):
    to: Party


class Why(Struct, forbid_unknown_fields=True):
    """The words that go into the audit."""

    text: Text


class Rule(Struct, forbid_unknown_fields=True):
    """A ruling on some gifts of a case, or on all that wait. `freeze` names the orgs in `orgs`; by default the senders.

    With the `version` of a reading, it is a conflict if the case has changed since.
    """

    act: Act
    why: Text
    gifts: list[str] | None = None
    orgs: list[Party] | None = None
    version: Version | None = None


class Listed(Struct, forbid_unknown_fields=True):
    """An entry to put on a list."""

    kind: Listable
    value: Context
    reason: Text
    expires_at: str | None = None


class ListEntry(Struct):
    """An entry of a list as it stands or stood; `removed_at` once it was taken off."""

    id: int
    list: ListName
    kind: Listable
    value: str
    reason: str
    author: str
    added_at: str
    expires_at: str | None
    removed_at: str | None = None
    removed_by: str | None = None


class ListPage(Struct):
    """One page of list entries, oldest first; `next` is the cursor of the page after it."""

    entries: list[ListEntry]
    next: int | None
