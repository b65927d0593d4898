"""Checkpoints and proofs beside one another, without a database: which hold, and why the others do not. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from detector import checkpoints, proofs
from detector.checkpoints import Checkpoint
from detector.errors import ProofRefused
from detector.proofs import Proof


class Checked(Struct):
    """A file, what it is, and what speaks against it: nothing, if it holds."""

    file: str
    kind: Literal["checkpoint", "proof", "unknown"]
    what: str
    faults: list[str]


def checked(files: Sequence[tuple[str, bytes]], trusted: str) -> list[Checked]:
    """Each file in order. A proof holds against a checkpoint among them that itself holds."""
    told = [opened(name, text, trusted) for name, text in files]
    believed = [(one.file, shape) for one, shape in told if isinstance(shape, Checkpoint) and not one.faults]
    for name, fault in checkpoints.contradictions(believed):
        next(one for one, _ in told if one.file == name).faults.append(fault)
    for one, shape in told:
        if isinstance(shape, Proof):
            one.faults += proofs.faults(shape, [head for _, head in believed])
    return [one for one, _ in told]


def opened(name: str, text: bytes, trusted: str) -> tuple[Checked, Checkpoint | Proof | None]:
    """A file by the format that it names; what is wrong with a checkpoint itself."""
    form = format_of(text)
    try:
        if form == checkpoints.FORMAT:
            one = checkpoints.read(text, Checkpoint)
            return Checked(name, "checkpoint", str(one), list(checkpoints.faults(one, trusted))), one
        if form == proofs.FORMAT:
            proof = checkpoints.read(text, Proof)
            return Checked(name, "proof", str(proof), []), proof
    except ProofRefused as error:
        return Checked(name, "checkpoint" if form == checkpoints.FORMAT else "proof", "", [error.detail]), None
    known = f"{checkpoints.FORMAT!r} and {proofs.FORMAT!r}"
    return Checked(name, "unknown", "", [f"it is neither: its format is {form!r}, not one of {known}"]), None


def format_of(text: bytes) -> Any:
    """What a file says it is; None where it is no JSON object."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found.get("format") if isinstance(found, dict) else None
