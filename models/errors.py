"""What can go wrong with artifacts, as one tree.

ModelError
├── ArtifactRefused    an artifact that is not to be trusted: `reason` for programs, `detail` for people
├── ArtifactUnknown    there is no artifact of that name
└── VectorRefused      vectors in a shape that the model was not made for
"""

# Every reason, in the order in which they are looked for.
REASONS = {
    "missing": "a file, or the whole artifact, is not there",
    "too_large": "beyond the stated limit",
    "pickle": "a pickle: it could run code when loaded, so it never is",
    "malformed": "not in the shape that it should have",
    "format": "written by another generation of Lockgate",
    "unsigned": "a key is configured and the artifact has no signature",
    "signature": "the signature is not the configured key's over this manifest",
    "unexpected": "a file that the manifest does not name",
    "truncated": "shorter than the manifest says",
    "altered": "not the bytes that the manifest names",
    "features": "other features, or the same in another order",
    "feature_table": "the features mean something else by now",
    "stale": "older than it may be",
    "library": "written by a library whose checkpoints cannot be relied on here",
    "not_finite": "a score that is no number",
    "score_check": "stored vectors do not give the stored scores, bit for bit",
}


class ModelError(Exception):
    """Any fault of this package; `detail` names the value and, when possible, the cure."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ArtifactRefused(ModelError):
    """The artifact is not loaded, for the `reason` given (one of REASONS)."""

    def __init__(self, reason: str, detail: str) -> None:
        assert reason in REASONS, reason
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class ArtifactUnknown(ModelError):
    """There is no such artifact."""


class VectorRefused(ModelError):
    """The vectors are not what the model scores."""
