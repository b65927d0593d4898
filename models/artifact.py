"""An artifact: a trained model as a directory of plain files. Law: nothing is loaded before every hash holds.

`write` makes one, `read` loads one from a directory, `read_packed` from the bytes that the database keeps. What does
not hold is refused with its reason, the first in the order of errors.REASONS that is found, and the gate holds gifts
(law 5). Last comes the score check: stored vectors must give their stored scores, bit for bit.

Which libraries count: Treelite promises its checkpoints within a major version, so another major version is refused.
Any other difference, NumPy's included, is for the score check to find. Hashes prove that the files belong together, and
a signature who made them: Treelite reads checkpoints in C++ and trusts them, so load from strangers only with a key.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models import checks, signatures
from models import files as stored
from models.assembly import assemble
from models.calibration import Calibration
from models.checks import CHECK_MARK, CheckScores
from models.files import Files
from models.forest import Floats
from models.manifest import FORMAT, Libraries, Manifest, Window, decode, encode, sha256, stamp
from models.model import Model
from models.reference import Reference
from models.tails import Tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that training puts into an artifact. `check` are vectors for the score check: real ones, with nulls."""

    name: str
    created_at: datetime
    features: tuple[str, ...]
    feature_table_hash: str
    window: Window
    labels: dict[str, int]
    seeds: dict[str, int]
    libraries: Libraries
    max_age_s: int
    calibration: Calibration
    check: Floats
    card: str
    card_json: dict[str, Any]
    supervised: bytes | None = None
    forest: bytes | None = None
    tails: tuple[Tail, ...] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    reference: Reference | None = None


def write(directory: Path, content: Content, signing_key: Ed25519PrivateKey | None = None) -> Model:
    """Make the artifact and load it again as the service will; a directory that is there already is not touched."""
    files = build(content, signing_key)
    model = opened(files, content.features, content.feature_table_hash)
    stored.lay(files, directory)
    return model


def read(
    directory: Path,
    *,
    features: tuple[str, ...],
    feature_table_hash: str,
    trusted_key: str | None = None,
    now: datetime | None = None,
) -> Model:
    """The model in the directory, or ArtifactRefused. Its age counts only where `now` is given."""
    return _load(stored.collect(directory), features, feature_table_hash, trusted_key, now)


def read_packed(
    parcel: bytes,
    *,
    features: tuple[str, ...],
    feature_table_hash: str,
    trusted_key: str | None = None,
    now: datetime | None = None,
) -> Model:
    """The model in the parcel, or ArtifactRefused; as `read`."""
    return _load(stored.open_parcel(parcel), features, feature_table_hash, trusted_key, now)


def opened(files: Files, features: tuple[str, ...], feature_table_hash: str) -> Model:
    """The model in the files that `build` made, which lie nowhere."""
    return _load(files, features, feature_table_hash, None, None)


def build(content: Content, signing_key: Ed25519PrivateKey | None = None) -> Files:
    """The files of the artifact."""
    files = {
        stored.CALIBRATION: _json(content.calibration),
        stored.CARD: content.card.encode(),
        stored.CARD_JSON: _json(content.card_json),
        stored.CHECK: CHECK_MARK + content.check.astype("<f8").tobytes(),
    }
    files |= {stored.TREES: content.supervised} if content.supervised is not None else {}
    files |= {stored.FOREST: content.forest} if content.forest is not None else {}
    files |= {stored.TAILS: _json(content.tails)} if content.tails is not None else {}
    files |= {stored.REFERENCE: _json(content.reference)} if content.reference is not None else {}
    files |= {f"figures/{name}": picture for name, picture in content.pictures.items()}
    scores = assemble(files, _manifest(content, files), "").score(content.check)
    files[stored.CHECK_SCORES] = _json(CheckScores(tuple(float(score).hex() for score in scores)))
    text = encode(_manifest(content, files))
    files[stored.MANIFEST] = text
    if signing_key:
        files[stored.SIGNATURE] = signing_key.sign(text)
    return files


def _manifest(content: Content, files: Files) -> Manifest:
    said = {name: getattr(content, name) for name in Manifest.__struct_fields__ if name not in ("format", "files")}
    return Manifest(format=FORMAT, files={name: stamp(files[name]) for name in sorted(files)}, **said)


def _json(content: object) -> bytes:
    """Sorted and indented: an artifact in git is to be read, and to differ only where it differs."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=1) + b"\n"


def _load(
    files: Files, features: tuple[str, ...], feature_table_hash: str, trusted_key: str | None, now: datetime | None
) -> Model:
    """The model in the files, once everything holds."""
    text = files[stored.MANIFEST]
    if trusted_key is not None:
        signatures.verify(text, files.get(stored.SIGNATURE), trusted_key)
    manifest = decode(text)
    checks.match_files(manifest, files)
    checks.match_features(manifest, features, feature_table_hash)
    checks.match_age(manifest, now)
    checks.match_treelite(manifest)
    model = assemble(files, manifest, sha256(text))
    checks.match_scores(model, files)
    return model
