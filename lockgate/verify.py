"""`lockgate verify`: is the log what was appended, and do the records of both packages agree? Law: 0 only if so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detector.verify_cli import lines, progress, shape

if TYPE_CHECKING:
    from detector.verify import Beside, Report


def verify(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="Compare with what this checkpoint signed; more than one if you like.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The public key that must have signed it.")] = None,
) -> None:
    """Check the event log's chain and the records beside it; name each row that was edited, dropped, moved or added.

    Exit status 0: everything is as it was appended; 1: something is not, or it could not be told. A tail cut off with a
    head made to match, or a past rewritten whole, shows only against a head kept elsewhere: a --checkpoint.
    """
    from detector import verify as walking
    from ledger import records

    others = [records.disagreements, *[beside(file, key) for file in checkpoint or ()]]
    with progress(quiet or as_json) as step:
        found: Report = ctx.obj(lambda conn: walking.verify(conn, step, others))
    typer.echo(json.dumps(shape(found), indent=2) if as_json else "\n".join(lines(found)))
    raise typer.Exit(1 if found.findings else 0)


def beside(file: Path, key: str | None) -> Beside:
    """What is to be compared with a checkpoint, which itself must hold; by its own key where none is given."""
    from detector import checkpoints
    from detector.errors import ProofRefused

    one = checkpoints.read(file.read_bytes(), checkpoints.Checkpoint)
    for fault in checkpoints.faults(one, None if key is None else checkpoints.trusted_key(key)):
        raise ProofRefused(f"{file}: {fault}")
    return lambda conn: checkpoints.against(conn, one)
