"""`lockgate verify`: is the log what was appended, and do the records agree with it? Law: exit 0 only if so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from detector.chain import Finding
    from detector.verify import Report, Step

SHOWN = 100
LONG = 20_000  # events from which a walk shows how far it is


def verify(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Check the event log's chain and the records beside it; name each row that was edited, dropped, moved or added.

    Exit status 0: everything is as it was appended; 1: something is not, or it could not be told. A tail cut off with a
    head made to match shows only against a head kept elsewhere: keep the line that this prints.
    """
    from detector import verify as walking

    with progress(quiet or as_json) as step:
        found: Report = ctx.obj(lambda conn: walking.verify(conn, step))
    if as_json:
        typer.echo(json.dumps(shape(found), indent=2))
    else:
        typer.echo("\n".join(lines(found)))
    raise typer.Exit(1 if found.findings else 0)


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

    >>> from detector.chain import Finding
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
