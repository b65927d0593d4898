"""What every `lockgate models` command works at: the artifacts on disk and in the database, and the way to both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import asyncpg

    from training.shelf import Piece

SHIPPED = Path(__file__).resolve().parent.parent / "models"
Name = Annotated[str, typer.Argument(help="An artifact's name, role or hash, or the path of its directory.")]
Author = Annotated[str | None, typer.Option(help="Who does it, for the record; your user name by default.")]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Histories = Annotated[list[str] | None, typer.Option(help="A history that judges: a file or a glob; may be repeated.")]
Start = Annotated[str | None, typer.Option("--from", help="Judge from here; by default from when neither model knew.")]
End = Annotated[str | None, typer.Option("--to", help="The moment before which judging ends.")]


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
