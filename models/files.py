"""The files of an artifact as a mapping of names to bytes: from a directory, or from one parcel of bytes.

Law: only names on the list, only within the limits, and never a pickle. A parcel is what the database keeps, so that
every worker loads the same bytes; the same files always make the same parcel.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from models.errors import ArtifactRefused

Files = Mapping[str, bytes]

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
TREES, FOREST, TAILS = "supervised.tl", "forest.tl", "tails.json"
CALIBRATION, CHECK, CHECK_SCORES = "calibration.json", "check.bin", "check.json"
CARD, CARD_JSON = "card.md", "card.json"
REFERENCE = "reference.json"
REQUIRED = (MANIFEST, CALIBRATION, CHECK, CHECK_SCORES, CARD, CARD_JSON)
ALLOWED = frozenset({*REQUIRED, SIGNATURE, TREES, FOREST, TAILS, REFERENCE})
FIGURE = re.compile(r"figures/[a-z0-9][a-z0-9_-]{0,63}\.(svg|png)")

# A model of 1,000 trees with its card is under 8 MB; what is beyond eight times that is no model.
BYTES = 64 * 2**20
FILES = 64

PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")
# Protocols 2 to 5 begin with PROTO and their number; the older two have no mark, and no file we load is read as one.
PICKLE_MARKS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
PARCEL = b"lockgate-artifact-1\n"


def collect(directory: Path) -> Files:
    """Every file under the directory. Links and other directories than figures/ are refused."""
    if not directory.is_dir():
        raise ArtifactRefused("missing", f"there is no directory {directory}")
    files: dict[str, bytes] = {}
    room = BYTES
    for path in sorted([*directory.iterdir(), *_figures(directory)]):
        name = path.relative_to(directory).as_posix()
        if name == "figures" and path.is_dir() and not path.is_symlink():
            continue
        files[name] = _read(path, name, room)
        room -= len(files[name])
        if len(files) > FILES:
            raise ArtifactRefused("too_large", f"more than {FILES} files in {directory}")
    return vet(files)


def _figures(directory: Path) -> list[Path]:
    figures = directory / "figures"
    return list(figures.iterdir()) if figures.is_dir() and not figures.is_symlink() else []


def _read(path: Path, name: str, room: int) -> bytes:
    """The bytes of a plain file, if there is room for them."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as fault:
        raise ArtifactRefused("unexpected", f"{name} cannot be read as a plain file: {fault.strerror}") from fault
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise ArtifactRefused("unexpected", f"{name} is no plain file")
    with os.fdopen(opened, "rb") as file:
        content = file.read(room + 1)
    if len(content) > room:
        raise ArtifactRefused("too_large", f"with {name}, the files are beyond {BYTES} bytes")
    return content


def vet(files: Files) -> Files:
    """The files, if they are within the limits, none is a pickle and every name is on the list."""
    if len(files) > FILES or sum(map(len, files.values())) > BYTES:
        raise ArtifactRefused("too_large", f"{len(files)} files; the limits are {FILES} files and {BYTES} bytes in all")
    for name, content in files.items():
        if name.lower().endswith(PICKLE_SUFFIXES) or content.startswith(PICKLE_MARKS):
            raise ArtifactRefused("pickle", f"{name!r} is a pickle; export the model with training.export instead")
    for name in files:
        if name not in ALLOWED and not FIGURE.fullmatch(name):
            raise ArtifactRefused("unexpected", f"{name!r} is no file of an artifact; remove it")
    for name in REQUIRED:
        if name not in files:
            raise ArtifactRefused("missing", f"there is no {name}")
    return files


def lay(files: Files, directory: Path) -> None:
    """Write the files as a new directory: all of them, or none."""
    vet(files)
    if directory.exists():
        raise ArtifactRefused("unexpected", f"{directory} is there already; choose another name or remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    for name, content in files.items():
        (beside / name).parent.mkdir(exist_ok=True)
        (beside / name).write_bytes(content)
    beside.chmod(0o755)
    beside.rename(directory)


def pack(directory: Path) -> bytes:
    """The directory as one parcel."""
    return parcel(collect(directory))


def parcel(files: Files) -> bytes:
    """The files as one parcel: sorted by name, nothing but names and bytes."""
    return PARCEL + msgspec.msgpack.encode(sorted(files.items()))


def open_parcel(content: bytes) -> Files:
    """The files of a parcel."""
    # Names and frames beyond the files themselves: some 100 bytes each.
    if len(content) > BYTES + 2**16:
        raise ArtifactRefused("too_large", f"a parcel of {len(content)} bytes; the limit is {BYTES}")
    if not content.startswith(PARCEL):
        raise ArtifactRefused("format", "the bytes are no parcel of an artifact")
    try:
        pairs = msgspec.msgpack.decode(memoryview(content)[len(PARCEL) :], type=list[tuple[str, bytes]])
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise ArtifactRefused("malformed", f"the parcel cannot be read: {fault}") from fault
    if len(files := dict(pairs)) != len(pairs):
        raise ArtifactRefused("unexpected", "the parcel holds a name twice")
    return vet(files)
