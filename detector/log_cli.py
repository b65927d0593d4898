"""`lockgate events …`: the event log, read, followed and proved.

Whoever starts it hands in, as the context's object, the way to the database (detector.cli.Session).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncpg
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from detector.reading import LogEvent, LogPage, Wanted

LOOK_EVERY_S = 0.5

After = Annotated[int, typer.Option(min=0, help="Only what comes after this event.")]
Kind = Annotated[str | None, typer.Option(help="Only this kind, such as transfer.settled, or transfer.* for all.")]
Subject = Annotated[str | None, typer.Option(help="Only what happened to this: a transfer, grant, org, case …")]
Actor = Annotated[str | None, typer.Option(help="Only what this key, person or org did.")]
Out = Annotated[Path, typer.Option("--out", help="The file to write; it must not be there yet.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]

app = typer.Typer(help="Read, follow and prove the event log.", no_args_is_help=True)


@app.command("list")
def listing(
    ctx: typer.Context,
    after: After = 0,
    last: Annotated[int | None, typer.Option(min=1, help="Look at the newest N events alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many to show at most.")] = 100,
    kind: Kind = None,
    subject: Subject = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """List events in order, from any point on; the last line says how to go on."""
    from detector.reading import Wanted, page

    async def look(conn: asyncpg.Connection) -> LogPage:
        start = after if last is None else max(after, await conn.fetchval("select seq from log.head") - last)
        found, told = Wanted(start, limit, subject, kind, actor), []
        while True:
            some = await page(conn, found)
            told += some.events
            if len(told) >= limit or some.next >= some.head.seq:
                some.events = told
                return some
            found = found._replace(after=some.next, limit=limit - len(told))

    found = ctx.obj(look)
    if as_json:
        typer.echo(plain(found))
        return
    for one in found.events:
        typer.echo(line(one))
    more = f"more with --after {found.next}" if found.next < found.head.seq else "no more at present"
    typer.echo(f"{len(found.events):,} of {found.head.seq:,} events; {more}")


@app.command()
def follow(
    ctx: typer.Context,
    after: Annotated[int | None, typer.Option(min=0, help="Begin after this event; else with what comes.")] = None,
    kind: Kind = None,
    subject: Subject = None,
    actor: Actor = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show events as they happen, until Ctrl-C. With --after, none is missed from one run to the next."""
    from detector.reading import Wanted

    async def watch(conn: asyncpg.Connection) -> None:
        start = await conn.fetchval("select seq from log.head") if after is None else after
        async for one in arriving(conn, Wanted(start, subject=subject, kind=kind, actor=actor)):
            typer.echo(plain(one, indent=None) if as_json else line(one))

    try:
        ctx.obj(watch)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def key(
    out: Annotated[Path, typer.Option("--out", help="A new file for the signing key; keep it away from the database.")],
    as_json: AsJson = False,
) -> None:
    """Make a key to sign checkpoints with, and print the public key that is to be trusted."""
    from models.signatures import new_key

    public = new_key(out)
    report({"key": public, "file": str(out)}, as_json, f"{out}\ntrust: {public}")


@app.command()
def checkpoint(
    ctx: typer.Context,
    key: Annotated[Path, typer.Option("--key", help="The signing key, a PEM file (Ed25519).")],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Sign the log's head, to be kept where nobody who can change this database can change it."""
    from detector import checkpoints

    signing = signing_key(key)
    one = ctx.obj(lambda conn: checkpoints.make(conn, signing))
    keep(out, checkpoints.write(one))
    report({"file": str(out), **plainly(one)}, as_json, f"{out}: {one}")


@app.command()
def proof(
    ctx: typer.Context,
    subject: Annotated[str, typer.Argument(help="What to prove the events of, such as a transfer.")],
    out: Out,
    by: Annotated[
        Path | None, typer.Option("--checkpoint", help="Up to this checkpoint's head; by default the present one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a proof that the events of a transfer, or of anything else, stand in the log."""
    from detector import checkpoints, proofs

    upto = checkpoints.read(by.read_bytes(), checkpoints.Checkpoint) if by else None
    one = ctx.obj(lambda conn: proofs.prove(conn, subject, upto))
    keep(out, checkpoints.write(one))
    told = {"file": str(out), "subject": subject, "events": len(one.events), "links": len(one.links)}
    told |= {"seq": one.head.last_seq, "link": one.head.id, "hash": one.head.hash}
    report(told, as_json, f"{out}: {one}")


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Checkpoints and proofs, in any order.", exists=True)],
    key: Annotated[str, typer.Option("--key", help="The public key to trust: 64 hexadecimal digits, or their file.")],
    as_json: AsJson = False,
) -> None:
    """Check checkpoints and proofs by themselves, without a database; exit status 0: all of them hold."""
    from detector.checking import Checked, checked
    from detector.checkpoints import trusted_key

    found: list[Checked] = checked([(str(file), file.read_bytes()) for file in files], trusted_key(key))
    sound = not any(one.faults for one in found)
    lines = [f"{one.file}: {fault}" for one in found for fault in one.faults or [f"{one.kind} of {one.what}: holds"]]
    report({"sound": sound, "files": [plainly(one) for one in found]}, as_json, "\n".join(lines))
    raise typer.Exit(0 if sound else 1)


def signing_key(file: Path) -> Ed25519PrivateKey:
    from detector.errors import ProofRefused
    from models.errors import ModelError
    from models.signatures import read_key

    try:
        return read_key(file)
    except ModelError as error:
        raise ProofRefused(f"{error}; 'lockgate events key --out FILE' makes one") from error


def keep(file: Path, text: bytes) -> None:
    """Write a new file; one that is there stays as it is."""
    with file.open("xb") as out:
        out.write(text)


def report(shape: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(shape, indent=2, ensure_ascii=False) if as_json else text)


def plainly(one: Any) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(one)
    return found


async def arriving(conn: asyncpg.Connection, wanted: Wanted) -> AsyncIterator[LogEvent]:
    """Events for ever, in order."""
    from detector.reading import page

    while True:
        found = await page(conn, wanted)
        for one in found.events:
            yield one
        wanted = wanted._replace(after=found.next)
        if found.next >= found.head.seq:
            await asyncio.sleep(LOOK_EVERY_S)


def plain(shape: Any, indent: int | None = 2) -> str:
    import msgspec

    text = msgspec.json.encode(shape).decode()
    return text if indent is None else json.dumps(json.loads(text), indent=indent, ensure_ascii=False)


def line(one: LogEvent) -> str:
    """An event as one line, whatever it holds.

    >>> from detector.reading import LogEvent
    >>> line(LogEvent(7, 3, "2027-01-01T00:00:00Z", "org.frozen", "acme", "ops", "{}", ""))
    '7 2027-01-01T00:00:00Z org.frozen acme by ops {}'
    """
    body = one.body if isinstance(one.body, str) else bytes(one.body).decode()
    text = " ".join(f"{one.seq} {one.at} {one.kind} {one.subject} by {one.actor} {body}".split())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
