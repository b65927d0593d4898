"""Every artifact there is: in a directory, in the database, or in both. Law: one that does not load says why.

An artifact is the same wherever it lies if its hash is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from detector.feature_table import HASH, NAMES
from models import artifact, files, registry
from models.errors import ArtifactRefused, ArtifactUnknown, ModelError
from models.manifest import sha256
from models.model import Model

SHORTEST_HASH = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """One artifact. `model` is None where it is not to be loaded, and `refused` says why."""

    name: str
    sha256: str
    parcel: bytes
    model: Model | None = None
    refused: str | None = None
    path: Path | None = None
    kept: bool = False
    roles: tuple[str, ...] = ()

    def loaded(self) -> Model:
        if self.model is None:
            raise ModelError(f"{self.name} is not to be loaded: {self.refused}")
        return self.model

    def card(self) -> str:
        return files.open_parcel(self.parcel)[files.CARD].decode()

    def told(self) -> dict[str, Any]:
        """The card as data."""
        found: dict[str, Any] = msgspec.json.decode(files.open_parcel(self.parcel)[files.CARD_JSON])
        return found


def on_disk(root: Path, key: str | None) -> list[Piece]:
    """The artifacts of a directory, by name."""
    return [at(root / name, key) for name in registry.list_artifacts(root)]


def at(path: Path, key: str | None) -> Piece:
    """The artifact of one directory."""
    try:
        parcel = files.pack(path)
    except ArtifactRefused as error:
        return Piece(path.name, "", b"", refused=error.detail, path=path)
    return replace(opened(path.name, parcel, key), path=path)


def opened(name: str, parcel: bytes, key: str | None) -> Piece:
    """The artifact of a parcel."""
    found = ""
    try:
        found = sha256(files.open_parcel(parcel)[files.MANIFEST])
        model = artifact.read_packed(parcel, features=NAMES, feature_table_hash=HASH, trusted_key=key)
    except ArtifactRefused as error:
        return Piece(name, found, parcel, refused=error.detail)
    return Piece(name, model.sha256, parcel, model)


def in_database(rows: Iterable[asyncpg.Record], key: str | None) -> list[Piece]:
    """The artifacts that detector.champions.kept gave, newest first."""
    return [
        replace(
            opened(row["name"], row["parcel"], key), sha256=row["sha256"], kept=True, roles=tuple(row["roles"] or ())
        )
        for row in rows
    ]


def together(disk: list[Piece], kept: list[Piece]) -> list[Piece]:
    """Both, the same artifact once."""
    by_hash = {piece.sha256: piece for piece in kept}
    twice = {piece.sha256 for piece in disk} & set(by_hash)
    both = [replace(by_hash[one.sha256], path=one.path) if one.sha256 in twice else one for one in disk]
    return both + [piece for piece in kept if piece.sha256 not in twice]


def find(wanted: str, pieces: list[Piece], root: Path, key: str | None) -> Piece:
    """By name, the one on disk first, by the beginning of a hash, by role, or by a path with a slash."""
    if "/" in wanted:
        return at(Path(wanted), key)
    for piece in pieces:
        if piece.name == wanted or wanted in piece.roles:
            return piece
    for piece in pieces:
        if len(wanted) >= SHORTEST_HASH and piece.sha256.startswith(wanted):
            return piece
    known = ", ".join(dict.fromkeys(piece.name for piece in pieces)) or "none"
    raise ArtifactUnknown(f"there is no artifact {wanted[:80]!r} in {root} or the database; there are: {known}")
