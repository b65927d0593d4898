"""`lockgate models promote|rollback|shadow`. Law: nothing serves that the gates refuse, unless somebody signs for it
with --force and a reason, which are kept.
"""

from __future__ import annotations

import getpass
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.desk import Author, Desk, End, Histories, Name, Reason, Start
from training.errors import TrainingError
from training.terminal import CACHE, AsJson, Cache, Quiet, Step, mended, moment, progress, report

if TYPE_CHECKING:
    import asyncpg

    from training.ruling import Ruling
    from training.shelf import Piece


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
        piece, champion = rivals(desk, name)
        judging = history or labels_from_database
        ruled = ruling(desk, piece, champion, history, (start, end), cache, step) if judging else None
    shape: dict[str, Any] = {"name": piece.name, "sha256": piece.sha256}
    shape |= {"against": champion.sha256 if champion else None}
    shape |= {"forced": force, "ruling": ruled.shape() if ruled else None}
    if not force and ruled and not ruled.passed:
        refuse(piece, ruled, shape | {"promoted": False}, as_json)
    why = reason or "every gate passed"
    give(desk, champions.CHAMPION, piece, author, why, shape)
    text = "".join(f"{'yes' if one.passed else 'NO '} {one}\n" for one in (ruled.findings if ruled else ()))
    report(shape | {"promoted": True}, as_json, f"{text}{piece.name} {piece.sha256[:12]} serves: {why}")


def rivals(desk: Desk, name: str) -> tuple[Piece, Piece | None]:
    """The artifact that is to serve, and the champion, if there is one and it is another."""
    from detector import champions

    kept = desk.session(champions.kept)
    piece = desk.find(name, kept)
    champion = next((one for one in desk.pieces(kept) if champions.CHAMPION in one.roles), None)
    piece.loaded()
    if champion and champion.sha256 == piece.sha256:
        raise TrainingError(f"{piece.name} {piece.sha256[:12]} serves already")
    return piece, champion


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


def ruling(
    desk: Desk,
    piece: Piece,
    champion: Piece | None,
    history: list[str] | None,
    span: tuple[str | None, str | None],
    cache: Path,
    step: Step,
) -> Ruling:
    """What the gates of promotion say, by the gifts of the histories, or by the gate's own."""
    from training import promotion

    model, rival = piece.loaded(), champion.model if champion else None
    begin = moment(span[0], "--from") if span[0] else promotion.first_moment(model, rival)
    end = moment(span[1], "--to") if span[1] else None
    if history:
        judged = promotion.by_history(history, (begin, end), model, cache, step)
    else:
        judged = desk.session(lambda conn: promotion.by_database(conn, begin, end))
    return promotion.ruling(model, rival, judged)


def refuse(piece: Piece, ruled: Ruling, shape: dict[str, Any], as_json: bool) -> None:
    """Every reason, one a line, and exit status 1."""
    if as_json:
        report(shape, True, "")
    else:
        for one in ruled.refusals:
            typer.echo(f"lockgate models promote: {piece.name} is refused: {one}", err=True)
    raise typer.Exit(1)


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
