"""`lockgate trace`: where the credits of a grant, an org or a gift came from and went, as text, JSON or SVG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ledger.trace import MOST, view
from ledger.trace_svg import draw
from ledger.trace_text import lines
from ledger.tracing import trace as read

MOST_EVER = 20_000


def trace(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="GRANT|ORG|TRANSFER", help="An id of any of the three.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the tree there as well.")] = None,
    most: Annotated[int, typer.Option(min=1, max=MOST_EVER, help="How many grants to show.")] = MOST,
) -> None:
    """Show the tree of where credits came from and went: purchases, gifts, and what became of every unit."""
    tree = ctx.obj(lambda conn: read(conn, name, most))
    if svg is not None:
        svg.write_text(draw(tree), encoding="utf-8")
    typer.echo(json.dumps(view(tree), indent=2) if as_json else "\n".join(lines(tree)))
