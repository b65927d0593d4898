"""Which cases to show: the same filters as options of a command and as the words of the terminal's find line."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct, structs

from detector.review.errors import Usage

CREDIT = 1_000_000
SPAN = re.compile(r"(\d{1,9})(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
CHOICES = {
    "status": ("open", "claimed", "ended"),
    "kind": ("hold", "sample"),
    "sort": ("priority", "deadline", "age"),
}
WORDS = {
    "sender": "sender",
    "from": "sender",
    "recipient": "recipient",
    "to": "recipient",
    "rule": "rule",
    "min": "min_amount",
    "older": "older_than",
    "status": "status",
    "kind": "kind",
    "by": "claimed_by",
    "sort": "sort",
}


class Filters(Struct, frozen=True, kw_only=True):
    """What a case must be to be shown; amounts in micro-credits, `older_than` in seconds. None asks for nothing."""

    status: str | None = None
    kind: str | None = None
    sender: str | None = None
    recipient: str | None = None
    rule: str | None = None
    min_amount: int | None = None
    older_than: int | None = None
    claimed_by: str | None = None
    q: str | None = None
    sort: str | None = None

    def query(self) -> dict[str, str]:
        return {name: str(value) for name, value in structs.asdict(self).items() if value is not None}

    def words(self) -> str:
        """As the find line takes it: `read` of this gives the same filters."""
        word = {field: word for word, field in reversed(WORDS.items())}
        told = []
        for field, value in structs.asdict(self).items():
            if value is None or field == "q":
                continue
            shown = f"{Decimal(value) / CREDIT:f}" if field == "min_amount" else value
            told.append(f"{word[field]}:{shown}{'s' if field == 'older_than' else ''}")
        return " ".join([*told, *([self.q] if self.q else [])])


def read(line: str, me: str | None = None) -> Filters:
    """The filters that a line of words means; what is no filter is searched for.

    >>> read("sender:acme min:2.5 older:2h lunch money")
    Filters(status=None, kind=None, sender='acme', recipient=None, rule=None, min_amount=2500000, older_than=7200, \
claimed_by=None, q='lunch money', sort=None)
    """
    found: dict[str, Any] = {}
    rest: list[str] = []
    for word in line.split():
        name, colon, value = word.partition(":")
        if word == "mine" and me:
            found["claimed_by"] = me
        elif colon and name in WORDS:
            found[WORDS[name]] = field_of(WORDS[name], value)
        else:
            rest.append(word)
    return Filters(**found, q=" ".join(rest) or None)


def field_of(field: str, value: str) -> Any:
    if not value:
        raise Usage(f"{field}: say which, such as sender:acme, min:500 or older:2h")
    if field == "min_amount":
        return micro(value)
    if field == "older_than":
        return seconds(value)
    if field in CHOICES and value not in CHOICES[field]:
        raise Usage(f"{field} is {value!r}: choose one of {', '.join(CHOICES[field])}")
    return value


def micro(text: str) -> int:
    """Credits as people write them, in micro-credits, exactly.

    >>> micro("500"), micro("0.25"), micro("1_000")
    (500000000, 250000, 1000000000)
    """
    try:
        amount = Decimal(text) * CREDIT
        if not 0 <= amount <= 10**15 or amount != int(amount):
            raise InvalidOperation
    except (InvalidOperation, ValueError, OverflowError):
        raise Usage(f"amount {text!r}: write credits, such as 500 or 0.25, with at most six decimals") from None
    return int(amount)


def seconds(text: str) -> int:
    """
    >>> seconds("90s"), seconds("2h"), seconds("1d")
    (90, 7200, 86400)
    """
    found = SPAN.fullmatch(text)
    if found is None:
        raise Usage(f"span {text!r}: write a number and s, m, h or d, such as 30m or 2h")
    return int(found[1]) * SECONDS[found[2]]
