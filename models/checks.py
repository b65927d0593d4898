"""What must hold before an artifact serves, each check refusing with its own reason."""

from datetime import datetime, timedelta

import msgspec
import numpy as np

from models import files as stored
from models.assembly import parse
from models.errors import ArtifactRefused
from models.files import Files
from models.forest import Floats
from models.manifest import Manifest, sha256
from models.model import Model

# Opens check.bin, so that no vector's first bytes pass for a pickle.
CHECK_MARK = b"lockgf8\n"
# The two ways through the trees, for few rows and for many, are both to be tried.
CHECK_ROWS = 32


class CheckScores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The scores of the stored vectors, as hexadecimal floats."""

    scores: tuple[str, ...]


def match_files(manifest: Manifest, files: Files) -> None:
    """Every file is named and has its hash, and every file named is there."""
    for name in sorted(files.keys() - manifest.files.keys() - {stored.MANIFEST, stored.SIGNATURE}):
        raise ArtifactRefused("unexpected", f"{name} is not in the manifest; remove it")
    for name, stamp in sorted(manifest.files.items()):
        if name not in files:
            raise ArtifactRefused("missing", f"there is no {name}, which the manifest names")
        if len(files[name]) < stamp.size:
            raise ArtifactRefused("truncated", f"{name} has {len(files[name])} of its {stamp.size} bytes")
        if len(files[name]) > stamp.size or sha256(files[name]) != stamp.sha256:
            raise ArtifactRefused("altered", f"{name} has another SHA-256 than the manifest says")


def match_features(manifest: Manifest, features: tuple[str, ...], feature_table_hash: str) -> None:
    """The caller's vectors mean what the model's did."""
    if manifest.features != features:
        raise ArtifactRefused("features", _difference(manifest.features, features))
    if manifest.feature_table_hash != feature_table_hash:
        raise ArtifactRefused(
            "feature_table",
            f"the model was trained on feature table {manifest.feature_table_hash[:16]}…, and this is "
            f"{feature_table_hash[:16]}…; train it again",
        )


def _difference(trained: tuple[str, ...], given: tuple[str, ...]) -> str:
    """How two lists of features differ, in the most telling way."""
    if missing := [name for name in trained if name not in given]:
        return f"the model needs features that are not computed: {', '.join(missing[:5])}"
    if more := [name for name in given if name not in trained]:
        return f"features are computed that the model was not trained on: {', '.join(more[:5])}"
    place = next((n for n, pair in enumerate(zip(trained, given, strict=False)) if pair[0] != pair[1]), len(trained))
    return (
        f"the features are in another order from number {place} on ({', '.join(trained[place : place + 3])} expected)"
    )


def match_age(manifest: Manifest, now: datetime | None) -> None:
    """The model is not older than it may be, if anybody asks."""
    if now is not None and now - manifest.created_at > timedelta(seconds=manifest.max_age_s):
        raise ArtifactRefused(
            "stale",
            f"{manifest.name} is of {manifest.created_at}, and may be {manifest.max_age_s} s old; train it again",
        )


def match_treelite(manifest: Manifest) -> None:
    """Checkpoints are promised to be read within one major version only."""
    import treelite  # here, as in models.forest

    trained, here = manifest.libraries.treelite, treelite.__version__
    if trained.split(".")[0] != here.split(".")[0]:
        raise ArtifactRefused("library", f"trained with Treelite {trained}, and this is {here}; export the model again")


def match_scores(model: Model, files: Files) -> None:
    """Stored vectors give their stored scores, bit for bit, in one batch as one by one."""
    vectors = _vectors(files[stored.CHECK], len(model.features))
    try:
        expected = [float.fromhex(score) for score in parse(files, stored.CHECK_SCORES, CheckScores).scores]
    except (ValueError, OverflowError) as fault:
        raise ArtifactRefused("malformed", f"{stored.CHECK_SCORES}: {fault}") from fault
    if len(expected) != len(vectors):
        raise ArtifactRefused("malformed", f"{len(vectors)} vectors and {len(expected)} scores are stored")
    batch = model.score(vectors)
    alone = np.concatenate([model.score(vectors[n : n + 1]) for n in range(len(vectors))])
    for number, scores in enumerate(zip(expected, batch.tolist(), alone.tolist(), strict=True)):
        if not all(0 <= score <= 1 for score in scores):
            raise ArtifactRefused("not_finite", f"vector {number} scores {scores[1]}, and {scores[0]} is stored")
        if len({score.hex() for score in scores}) > 1:
            raise ArtifactRefused("score_check", f"vector {number} scores {scores[1]!r}, and {scores[0]!r} is stored")


def _vectors(content: bytes, width: int) -> Floats:
    """The stored vectors (n, width)."""
    numbers = len(content) - len(CHECK_MARK)
    if not content.startswith(CHECK_MARK) or numbers % (8 * width) or numbers < CHECK_ROWS * 8 * width:
        raise ArtifactRefused("malformed", f"{stored.CHECK} holds no {CHECK_ROWS} or more vectors of {width} features")
    return np.frombuffer(content, dtype="<f8", offset=len(CHECK_MARK)).reshape(-1, width).astype(np.float64)
