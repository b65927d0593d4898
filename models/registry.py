"""Which artifacts there are on disk. The shipped ones lie beside this file; which one serves, the database says."""

import re
from pathlib import Path

from models.errors import ArtifactUnknown
from models.files import MANIFEST
from models.manifest import NAME

SHIPPED = Path(__file__).parent


def list_artifacts(root: Path = SHIPPED) -> tuple[str, ...]:
    """The names of the artifacts under `root`, sorted. That one is listed says nothing of whether it will load."""
    if not root.is_dir():
        return ()
    return tuple(sorted(path.name for path in root.iterdir() if re.fullmatch(NAME, path.name) and _is_artifact(path)))


def find(root: Path, name: str) -> Path:
    """The directory of the artifact `name`."""
    # The name is matched first: it may come from a request, and must not lead out of `root`.
    if not re.fullmatch(NAME, name) or not _is_artifact(root / name):
        known = ", ".join(list_artifacts(root)) or "none"
        raise ArtifactUnknown(f"there is no artifact {name[:80]!r} in {root}; there are: {known}")
    return root / name


def named(root: Path, name: str) -> Path:
    """The directory of the artifact `name` under `root`, or of a path, which has a slash."""
    return Path(name) if "/" in name else find(root, name)


def _is_artifact(path: Path) -> bool:
    return (path / MANIFEST).is_file()
