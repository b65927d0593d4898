"""`lockgate models …`: what was learned, and what it says; who serves is roles_cli's.

Whoever starts it hands in, as the context's object, the way to the database.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.desk import SHIPPED, Desk, End, Histories, Name, Start
from training.errors import TrainingError
from training.roles_cli import promote, rollback, shadow
from training.terminal import CACHE, AsJson, Cache, Quiet, mended, moment, progress, report

if TYPE_CHECKING:
    import asyncpg

    from training.shelf import Piece

app = typer.Typer(help="Artifacts: list, compare, promote, shadow and roll back.", no_args_is_help=True)


@app.callback()
def models(
    ctx: typer.Context,
    root: Annotated[Path, typer.Option("--models", envvar="LOCKGATE_MODELS", help="Where artifacts lie.")] = SHIPPED,
    key: Annotated[str | None, typer.Option(envvar="LOCKGATE_TRUSTED_KEY", help="Who must have signed them.")] = None,
) -> None:
    """Artifacts: list, compare, promote, shadow and roll back."""
    ctx.obj = Desk(ctx.obj, root, key)


@app.command("list")
def listing(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the artifacts on disk and in the database: role, what they learned until, figures, and whether they load."""
    from training import models_told as told

    desk: Desk = ctx.obj
    with mended("models list"):
        pieces = desk.pieces(desk.kept())
        shadows = said_by(desk, pieces)
        shape = [told.shape(piece) | {"shadow": shadows.get(piece.sha256)} for piece in pieces]
        report({"models": shape}, as_json, told.table(pieces, shadows))


@app.command()
def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show an artifact's card, and what it said as a challenger."""
    from training import models_told as told

    desk: Desk = ctx.obj
    with mended("models show"):
        piece = desk.find(name, desk.kept())
        if not piece.parcel:
            raise TrainingError(f"{name}: {piece.refused}")
        shadow = said_by(desk, [piece]).get(piece.sha256)
        if as_json:
            report(told.shape(piece) | {"card": piece.told(), "shadow": shadow}, True, "")
        else:
            told.card(piece, shadow)


@app.command()
def diff(
    ctx: typer.Context,
    one: Name,
    other: Name,
    history: Histories = None,
    start: Start = None,
    end: End = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare two artifacts, and the verdicts that would change on a history if one is given."""
    from training import models_told as told

    desk: Desk = ctx.obj
    with mended("models diff"), progress(quiet or as_json) as step:
        kept = desk.kept()
        pair = desk.find(one, kept), desk.find(other, kept)
        shape = told.difference(*pair)
        if history:
            from training import promotion

            before, after = pair[0].loaded(), pair[1].loaded()
            begin = moment(start, "--from") if start else promotion.first_moment(after, before)
            span = begin, moment(end, "--to") if end else None
            judged = promotion.by_history(history, span, after, cache, step)
            shape["verdicts"] = promotion.changed(judged, before, after)
    report(shape, as_json, told.compared(shape))


for command in (promote, rollback, shadow):
    app.command()(command)


def said_by(desk: Desk, pieces: list[Piece]) -> dict[str, dict[str, Any]]:
    """What artifacts said as challengers, by hash; nothing of those that never did."""
    from detector import champions

    kept = [piece.sha256 for piece in pieces if piece.kept]

    async def ask(conn: asyncpg.Connection) -> dict[str, dict[str, Any]]:
        return {sha256: found for sha256 in kept if (found := await champions.shadowed(conn, sha256))["decisions"]}

    found: dict[str, dict[str, Any]] = desk.session(ask) if kept else {}
    return found
