"""What a walk along the log found, as text and for programs; and how far it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.finding import Finding
    from detector.verify import Report, Step

SHOWN = 100
LONG = 20_000  # events from which a walk shows how far it is


def shape(found: Report) -> dict[str, Any]:
    import msgspec

    head = found.head and {"seq": found.head.seq, "link": found.head.link, "hash": found.head.hash.hex()}
    told = [msgspec.to_builtins(one) for one in found.findings]
    return {"sound": not told, "events": found.events, "links": found.links, "head": head, "findings": told}


def lines(found: Report) -> list[str]:
    told = [line(one) for one in found.findings[:SHOWN]]
    if len(found.findings) > SHOWN:
        told.append(f"… and {len(found.findings) - SHOWN:,} more; --json names them all")
    head = f"head {found.head.seq} {found.head.hash.hex()}" if found.head else "no head"
    walked = f"{found.events:,} events in {found.links:,} links"
    verdict = f"{len(found.findings):,} findings" if told else "all as it was appended"
    return [*told, f"{walked}: {verdict}", head]


def line(one: Finding) -> str:
    """A finding as one line.

    >>> from detector.finding import Finding
    >>> line(Finding("edited", "log.events", 7, "case.note", "c1", "what it says does not make its hash"))
    'edited event 7 case.note of c1: what it says does not make its hash'
    """
    if one.table == "log.events":
        named = " ".join(["event", str(one.seq), *([f"{one.kind} of {one.id}"] if one.kind else [])])
    else:
        named = one.table + (f" {one.id}" if one.id else "") + (f" (event {one.seq} {one.kind})" if one.seq else "")
    text = " ".join(f"{one.what} {named}: {one.detail}".split())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


@contextmanager
def progress(quiet: bool) -> Iterator[Step]:
    """A bar on standard error while a long walk runs; nothing for a short one, or where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich import progress as bars
    from rich.console import Console

    with bars.Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("walking the log", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=total > LONG)
