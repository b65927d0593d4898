"""`lockgate verify`: is the log what was appended, and do the records of both packages agree? Law: 0 only if so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from detector.verify_cli import lines, progress, shape

if TYPE_CHECKING:
    from detector.verify import Report


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
    from ledger import records

    with progress(quiet or as_json) as step:
        found: Report = ctx.obj(lambda conn: walking.verify(conn, step, [records.disagreements]))
    typer.echo(json.dumps(shape(found), indent=2) if as_json else "\n".join(lines(found)))
    raise typer.Exit(1 if found.findings else 0)
