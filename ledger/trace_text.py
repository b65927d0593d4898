"""A trace as text: a tree that fits a hundred columns, however long the names and however deep the chain. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime

from ledger.credits import CREDIT
from ledger.trace import Node, Tree, Waiting
from ledger.views import stamp

WIDTH = 100
# A deeper level is told by its number, so that names still fit beside the lines.
MOST_DEPTH = 12
WORDS = {
    "unspent": "unspent", "in_lock": "in the lock", "consumed": "consumed", "expired": "expired", "revoked": "revoked",
    "gifted": "gifted on", "went_back": "reversed",
}  # fmt: skip


def lines(tree: Tree) -> list[str]:
    """The whole text: what was asked, the trees, and the sums below them."""
    told = [f"{tree.kind} {tree.name} as of {stamp(tree.now)}, in credits"]
    if not tree.nodes:
        told.append("no credits ever came here")
    last = last_ones(tree)
    bars: list[bool] = []
    for one in tree.nodes:
        told += [""] if one.depth == 0 else []
        del bars[max(0, one.depth - 1) :]
        told += node_lines(tree, one, bars, last[one.id])
        bars += [not last[one.id]] if one.depth else []
    return [*told, "", *sums(tree)]


def last_ones(tree: Tree) -> dict[str, bool]:
    """Of each grant, whether nothing more is told of what it was cut from."""
    ends: dict[str | None, str] = {}
    for one in tree.nodes:
        ends[one.parent] = one.id
    return {one.id: ends[one.parent] == one.id for one in tree.nodes}


def node_lines(tree: Tree, one: Node, bars: list[bool], last: bool) -> Iterator[str]:
    """A grant: how it came, what became of it, what of it waits, and what is not shown."""
    head, body = fork(one.depth, bars, last)
    yield from wrap(came(one), head, body)
    has_more = one.fates["gifted"] > one.cut_amount
    under = f"{body}{'│  ' if has_more else '   '}" if one.depth < MOST_DEPTH else body
    yield from wrap(f"{one.id}: {became(one)}", under, under)
    for waits in one.waiting:
        yield from wrap(waiting(waits), f"{under}· ", f"{under}  ")
    for each in (each for each in tree.revocations if each["grant_id"] == one.id):
        yield from wrap(revocation(each), f"{under}! ", f"{under}  ")
    if one.cut:
        text = f"… {one.cut} more slices, worth {credits(one.cut_amount)} when they were cut, are not shown"
        yield from wrap(text, under, under)


def fork(depth: int, bars: list[bool], last: bool) -> tuple[str, str]:
    """What stands before a grant's first line, and before the lines that follow."""
    if depth == 0:
        return "", ""
    if depth > MOST_DEPTH:
        return f"({depth}) ", "     "
    before = "".join("│  " if goes_on else "   " for goes_on in bars[: depth - 1])
    return before + ("└─ " if last else "├─ "), before + ("   " if last else "│  ")


def wrap(text: str, head: str, body: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=body) or [head]


def came(one: Node) -> str:
    """How many credits came to whom, when, and by what."""
    mark = " ←" if one.in_focus else ""
    if one.gift is None:
        ends = f", expires {day(one.expires_at)}" if stamp(one.expires_at) else ""
        return f"{credits(one.amount)} issued to {clip(one.org)} on {day(one.at)} as {one.origin}{ends}{mark}"
    verb = "repaid" if one.gift.repaid else "gifted"
    return f"{credits(one.amount)} {verb} to {clip(one.org)} on {day(one.at)} by {one.gift.transfer}{mark}"


def became(one: Node) -> str:
    """Where the credits of a grant are, or what they became."""
    parts = [f"{credits(amount)} {WORDS[name]}" for name, amount in one.fates.items() if amount]
    back = f" ({credits(one.came_back)} of it came back)" if one.came_back else ""
    return ", ".join(parts) + back


def waiting(one: Waiting) -> str:
    until = {"pending": "settles", "screening": "asked"}.get(one.status, "returns")
    return f"{credits(one.amount)} {one.status} for {clip(one.recipient)} by {one.transfer}, {until} {day(one.until)}"


def revocation(row: object) -> str:
    each: dict[str, object] = dict(row)  # type: ignore[call-overload]
    text = f"revoked on {day(each['at'])}: {credits(each['taken'])} taken back"  # type: ignore[arg-type]
    text += f", {credits(each['receivable'])} owed by {clip(str(each['org_id']))}"  # type: ignore[arg-type]
    text += f", {credits(each['forgone'])} forgone" if each["forgone"] else ""  # type: ignore[arg-type]
    return text + (f"; {each['reason']}" if each["reason"] else "")


def sums(tree: Tree) -> list[str]:
    found = [f"{credits(amount)} {WORDS[name]}" for name, amount in tree.totals.items() if amount and name in WORDS]
    told = wrap(f"{len(tree.nodes)} grants shown: {', '.join(found) or 'nothing left of them'}", "", "  ")
    cut = tree.totals["not_shown"]
    if cut:
        told.append(f"slices not shown were worth {credits(cut)} when they were cut; see more with --most")
    return told


def credits(amount: int) -> str:
    """Micro-credits as credits, exactly.

    >>> credits(1_234_500_000)
    '1,234.5'
    """
    whole, rest = divmod(amount, CREDIT)
    return f"{whole:,}" + (f".{rest:06}".rstrip("0") if rest else "")


def day(at: datetime) -> str:
    return at.date().isoformat()


def clip(name: str, most: int = 30) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
