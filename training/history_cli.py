"""`lockgate history …`: the recorded gifts as a history file. Law: what cannot be written is said before any work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from training.terminal import AsJson, Quiet, mended, moment, progress, report, wanted

app = typer.Typer(help="The recorded gifts as a history file.", no_args_is_help=True, add_completion=False)


@app.callback()
def recorded_gifts() -> None:
    """The recorded gifts as a history file."""


@app.command()
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="The history to write, .parquet or .csv; it replaces what is there.")],
    start: Annotated[str | None, typer.Option("--from", help="The first moment, RFC 3339; by default, all.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The moment before which it ends; by default, none.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Say of each gift what was known at this moment; by default, now.")
    ] = None,
    by_review: Annotated[
        bool, typer.Option("--by-review", help="Give every gift its weight, where reviewing decided what is known.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write every gift that was judged, by time, with what became known of it since: one row a gift.

    train, score-history, drift and replay read the file as any other history. With --as-of, a label that became known
    later is left out, and so is an outcome. `sample_rate` marks the gifts that were drawn for review at random.
    """
    began = time.monotonic()
    with mended("history export"), progress(quiet or as_json) as step:
        wanted(out)
        first = moment(start, "--from") if start else None
        last = moment(end, "--to") if end else None
        from training import recorded

        known = recorded.Known(moment(as_of, "--as-of") if as_of else None, by_review)
        shape = ctx.obj(lambda conn: recorded.export(conn, out, first, last, step, known=known))
    seconds = round(time.monotonic() - began, 2)
    span = f", {shape['from']} to {shape['to']}" if shape["rows"] else ""
    report({**shape, "seconds": seconds}, as_json, f"{out}: {shape['rows']:,} gifts in {seconds} s{span}")
