"""The manifest: what an artifact says of itself, and the hash of every other file. Its own hash is the model's.

Decoding is strict: an unknown field is a fault, so that nothing in a manifest goes unread.
"""

import hashlib
import re
from datetime import datetime
from typing import Any

import msgspec

from models.errors import ArtifactRefused

FORMAT = 1
NAME = r"[a-z0-9][a-z0-9_.-]{0,63}"
FEATURES = 4_000


class Stamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file: its SHA-256 and how many bytes it has."""

    sha256: str
    size: int


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """The gifts that the model learned from: `start` ≤ at < `end`."""

    start: datetime
    end: datetime


class Libraries(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"scikit_learn": "scikit-learn"}):
    """The versions that trained the model."""

    python: str
    numpy: str
    treelite: str
    scikit_learn: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of manifest.json. `figures` and `parameters` are free; the rest is not."""

    format: int
    name: str
    created_at: datetime
    features: tuple[str, ...]
    feature_table_hash: str
    window: Window
    labels: dict[str, int]
    seeds: dict[str, int]
    parameters: dict[str, Any]
    figures: dict[str, Any]
    libraries: Libraries
    max_age_s: int
    files: dict[str, Stamp]


class _Format(msgspec.Struct):
    """What tells manifests of other generations apart."""

    format: int


def encode(manifest: Manifest) -> bytes:
    """The one way to write a manifest: sorted, indented, with a last newline."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def decode(text: bytes) -> Manifest:
    """The manifest, or why it is none."""
    try:
        if (found := msgspec.json.decode(text, type=_Format).format) != FORMAT:
            raise ArtifactRefused("format", f"the manifest is of format {found}; this Lockgate reads {FORMAT}")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise ArtifactRefused("malformed", f"manifest.json: {fault}") from fault
    faults = {
        f"the name must match {NAME}": not re.fullmatch(NAME, manifest.name),
        "created_at and window need a time zone": None
        in (manifest.created_at.tzinfo, manifest.window.start.tzinfo, manifest.window.end.tzinfo),
        "features must be there, and none twice": len(set(manifest.features)) != len(manifest.features)
        or not manifest.features,
        f"more than {FEATURES} features": len(manifest.features) > FEATURES,
        "max_age_s must be above 0": manifest.max_age_s <= 0,
    }
    if found_faults := [fault for fault, is_so in faults.items() if is_so]:
        raise ArtifactRefused("malformed", f"manifest.json: {'; '.join(found_faults)}")
    return manifest


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stamp(content: bytes) -> Stamp:
    return Stamp(sha256(content), len(content))
