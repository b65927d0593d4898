"""`lockgate models …`: what was learned, which of it serves, and what may. Law: nothing serves that the gates refuse,
unless somebody signs for it with --force and a reason, which are kept.

Whoever starts it hands in, as the context's object, the way to the database.
"""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from training.cli import CACHE, AsJson, Cache, Quiet, mended, moment, progress, report
from training.errors import TrainingError

if TYPE_CHECKING:
    import asyncpg

    from models.model import Model
    from training.judged import Judged
    from training.ruling import Ruling
    from training.shelf import Piece

T = TypeVar("T")
SHIPPED = Path(__file__).resolve().parent.parent / "models"
Name = Annotated[str, typer.Argument(help="An artifact's name, role or hash, or the path of its directory.")]
Author = Annotated[str | None, typer.Option(help="Who does it, for the record; your user name by default.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Histories = Annotated[list[str] | None, typer.Option(help="A history that judges: a file or a glob; may be repeated.")]
Start = Annotated[str | None, typer.Option("--from", help="Judge from here; by default from when neither model knew.")]
End = Annotated[str | None, typer.Option("--to", help="The moment before which judging ends.")]

app = typer.Typer(help="Artifacts: list, compare, promote, shadow and roll back.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Desk:
    """What every command needs: a way to the database, the directory of artifacts, and the key that is trusted."""

    session: Callable[[Callable[[Any], Awaitable[Any]]], Any]
    root: Path
    key: str | None

    def pieces(self, kept: list[asyncpg.Record]) -> list[Piece]:
        from training import shelf

        return shelf.together(shelf.on_disk(self.root, self.key), shelf.in_database(kept, self.key))

    def find(self, wanted: str, kept: list[asyncpg.Record]) -> Piece:
        from training import shelf

        return shelf.find(wanted, self.pieces(kept), self.root, self.key)

    def kept(self) -> list[asyncpg.Record]:
        """What the database keeps; where there is none yet, the directory is all there is, and that is said."""
        from detector import champions

        try:
            found: list[asyncpg.Record] = self.session(champions.kept)
        except (RuntimeError, OSError) as error:
            typer.echo(f"only the artifacts on disk: {error}", err=True)
            return []
        return found


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


@app.command()
def promote(
    ctx: typer.Context,
    name: Name,
    history: Histories = None,
    labels_from_database: Annotated[bool, typer.Option(help="Judge by the gate's own gifts and labels.")] = False,
    start: Start = None,
    end: End = None,
    force: Annotated[bool, typer.Option(help="Promote even if refused; needs --reason.")] = False,
    reason: Reason = None,
    author: Author = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Let an artifact serve, if every gate says yes; gates judge with it from their next batch on."""
    from detector import champions

    desk: Desk = ctx.obj
    with mended("models promote"), progress(quiet or as_json) as step:
        if bool(history) + labels_from_database != 1 and not (force and not history):
            raise TrainingError("say by what to judge: --history FILE, or --labels-from-database")
        if force and not reason:
            raise TrainingError("--force needs a --reason: it is kept with the promotion")
        kept = desk.session(champions.kept)
        piece = desk.find(name, kept)
        champion = next((one for one in desk.pieces(kept) if champions.CHAMPION in one.roles), None)
        model, rival = piece.loaded(), champion.model if champion else None
        if champion and champion.sha256 == piece.sha256:
            raise TrainingError(f"{piece.name} {piece.sha256[:12]} serves already")
        ruled: Ruling | None = None
        if history or labels_from_database:
            from training.promotion import ruling

            ruled = ruling(model, rival, gathered(desk, model, rival, history, (start, end), cache, step))
    shape: dict[str, Any] = {"name": piece.name, "sha256": piece.sha256}
    shape |= {"against": champion.sha256 if champion else None}
    shape |= {"forced": force, "ruling": ruled.shape() if ruled else None}
    if not force and ruled and not ruled.passed:
        refuse(piece, ruled, shape | {"promoted": False}, as_json)
    why = reason or "every gate passed"
    give(desk, champions.CHAMPION, piece, author, why, shape)
    text = "".join(f"{'yes' if one.passed else 'NO '} {one}\n" for one in (ruled.findings if ruled else ()))
    report(shape | {"promoted": True}, as_json, f"{text}{piece.name} {piece.sha256[:12]} serves: {why}")


def give(
    desk: Desk, role: str, piece: Piece | None, author: str | None, why: str, figures: dict[str, Any] | None = None
) -> None:
    """Keep the artifact, and record its role with who gave it, why, and by which figures."""
    from detector import champions

    async def record(conn: asyncpg.Connection) -> None:
        who = author or getpass.getuser()
        async with conn.transaction():
            if piece:
                await champions.add(conn, piece.name, piece.sha256, piece.parcel, who)
            await champions.promote(conn, role, piece.sha256 if piece else None, who, why, figures)

    desk.session(record)


def gathered(
    desk: Desk,
    model: Model,
    rival: Model | None,
    history: list[str] | None,
    span: tuple[str | None, str | None],
    cache: Path,
    step: Callable[[str, float], None],
) -> Judged:
    """The gifts that judge."""
    from training import promotion

    begin = moment(span[0], "--from") if span[0] else promotion.first_moment(model, rival)
    end = moment(span[1], "--to") if span[1] else None
    if history:
        return promotion.by_history(history, (begin, end), model, cache, step)
    judged: Judged = desk.session(lambda conn: promotion.by_database(conn, begin, end))
    return judged


def refuse(piece: Piece, ruled: Ruling, shape: dict[str, Any], as_json: bool) -> None:
    """Every reason, one a line, and exit status 1."""
    if as_json:
        report(shape, True, "")
    else:
        for one in ruled.refusals:
            typer.echo(f"lockgate models promote: {piece.name} is refused: {one}", err=True)
    raise typer.Exit(1)


@app.command()
def rollback(ctx: typer.Context, reason: Reason = None, author: Author = None, as_json: AsJson = False) -> None:
    """Let the champion before serve again."""
    from detector import champions

    desk: Desk = ctx.obj
    with mended("models rollback"):
        who, why = author or getpass.getuser(), reason or "no reason given"
        moved = desk.session(lambda conn: champions.roll_back(conn, who, why))
        if moved is None:
            raise TrainingError("there is no champion before the one that serves; 'lockgate models list' shows all")
        names = {row["sha256"]: row["name"] for row in desk.session(champions.kept)}
        left, back = moved
        shape = {"left": left, "champion": back, "name": names[back]}
        report(shape, as_json, f"{names[back]} {back[:12]} serves again; {names[left]} {left[:12]} was left")


@app.command()
def shadow(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The artifact that is to shadow.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Let none shadow.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Score decisions here, until Ctrl-C.")] = False,
    reason: Reason = None,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Name the challenger: it scores decisions after the fact, beside the gate, and without effect."""
    from detector import champions

    desk: Desk = ctx.obj
    with mended("models shadow"):
        if (name is not None) + none + run != 1:
            raise TrainingError("name one artifact, or give --none or --run")
        if run:
            return follow(desk)
        piece = desk.find(name, desk.kept()) if name else None
        if piece:
            piece.loaded()
        give(desk, champions.CHALLENGER, piece, author, reason or "")
    text = f"{piece.name} {piece.sha256[:12]} shadows" if piece else "none shadows"
    report({"challenger": piece.sha256 if piece else None}, as_json, text)


def follow(desk: Desk) -> None:
    """Shadow in this process. One that `lockgate serve` keeps goes first."""
    from detector.shadow import shadow as shadowing

    typer.echo("scoring decisions as the challenger would; Ctrl-C ends it", err=True)
    with suppress(KeyboardInterrupt):
        desk.session(lambda conn: shadowing(conn, desk.key))


def said_by(desk: Desk, pieces: list[Piece]) -> dict[str, dict[str, Any]]:
    """What artifacts said as challengers, by hash; nothing of those that never did."""
    from detector import champions

    kept = [piece.sha256 for piece in pieces if piece.kept]

    async def ask(conn: asyncpg.Connection) -> dict[str, dict[str, Any]]:
        return {sha256: found for sha256 in kept if (found := await champions.shadowed(conn, sha256))["decisions"]}

    found: dict[str, dict[str, Any]] = desk.session(ask) if kept else {}
    return found
