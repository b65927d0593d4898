"""Checkpoints: the log's head, signed, to be kept elsewhere. A tail that is cut off, and a past that is rewritten, show
against one that is older (law 12).

A checkpoint is a JSON file, and verifies without a database:

    format    "lockgate checkpoint 1"
    database  the name of the database
    first     hash of the log's first link: which log this is, wherever it was moved
    seq, link the newest event and link, at (microseconds since 1970) and hash those of that link
    made_at   when the checkpoint was made, by the database's clock, in microseconds since 1970
    key       the public key that signed, 64 hexadecimal digits
    signature Ed25519, in hexadecimal, over: the format and "\\n", then seq, link, at, hash, first and made_at, each
              with "\\n", then database as its length in bytes, ":", itself and "\\n", all in UTF-8

The bytes of a file are exactly what `write` makes of these: one that was edited anywhere, also where no value changes,
is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import asyncpg
import msgspec
from msgspec import Meta, Struct

from detector.errors import ProofRefused
from detector.finding import EVENTS, LINKS, Finding
from detector.gift import moment, stamp
from detector.log import Link, lines, link_hash, sized
from detector.store import SQL

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT: Literal["lockgate checkpoint 1"] = "lockgate checkpoint 1"
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Micros = Annotated[str, Meta(pattern=r"^-?[0-9]{1,20}$")]
Place = Annotated[int, Meta(ge=1, le=2**63 - 1)]
T = TypeVar("T", bound=Struct)


class Checkpoint(Struct, forbid_unknown_fields=True):
    """A head of the log and whose word it is. `at` and `made_at` are microseconds since 1970, as text."""

    format: Literal["lockgate checkpoint 1"]
    database: str
    first: Hash
    seq: Place
    link: Place
    at: Micros
    hash: Hash
    made_at: Micros
    key: Hash
    signature: Annotated[str, Meta(pattern="^[0-9a-f]{128}$")]

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        head = lines(self.seq, self.link, self.at, self.hash, self.first, self.made_at)
        return f"{FORMAT}\n{head}{sized(self.database)}".encode()

    def __str__(self) -> str:
        return f"event {self.seq}, link {self.link} of database {self.database}, made {when(self)}"


def when(one: Checkpoint) -> str:
    """The moment at which a checkpoint says that it was made."""
    try:
        return stamp(moment(int(one.made_at)))
    except OverflowError:  # it can only have been edited
        return one.made_at


async def make(conn: asyncpg.Connection, key: Ed25519PrivateKey) -> Checkpoint:
    """Sign the head as it is now. Raises ProofRefused where the log is empty, or its last link is not whole."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        row = await conn.fetchrow(SQL["log_signable"])
        hashes = [one["hash"] for one in await conn.fetch(SQL["log_hashes"], row["first_seq"] or 1, row["seq"] or 0)]
    if not row["seq"]:
        raise ProofRefused("the log is empty: there is nothing to sign yet")
    last = Link(row["link"], row["first_seq"] or 0, row["last_seq"] or 0, row["at"], row["previous"] or b"", b"")
    if (last.last_seq, row["hash"]) != (row["seq"], link_hash(last, hashes)):
        raise ProofRefused(
            f"link {row['link']} is not whole, so it is not signed: 'lockgate verify' says what was done"
        )
    public = key.public_key().public_bytes_raw().hex()
    first, made_at = row["first"].hex(), str(row["made_at"])
    unsigned = Checkpoint(
        FORMAT, row["database"], first, row["seq"], row["link"], row["at"], row["hash"].hex(), made_at, public, ""
    )
    return msgspec.structs.replace(unsigned, signature=key.sign(unsigned.signed).hex())


def write(shape: Struct) -> bytes:
    """A checkpoint or a proof as the bytes of its file."""
    return (json.dumps(msgspec.to_builtins(shape), indent=1, ensure_ascii=False) + "\n").encode()


def read(text: bytes, shape: type[T]) -> T:
    """What a file holds. Raises ProofRefused where it is none, or its bytes are not those that were written."""
    try:
        found = msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofRefused(f"it is no {shape.__name__.lower()}: {error}") from error
    if write(found) != text:
        raise ProofRefused("its bytes are not those that were written: something was added, or it was reformatted")
    return found


def faults(one: Checkpoint, trusted: str | None) -> Iterator[str]:
    """Why a checkpoint is not believed; nothing where it is. Without a trusted key its own is taken for one."""
    from models.signatures import signed_by

    if trusted is not None and one.key != trusted:
        yield f"it names the key {one.key[:16]}… and not the trusted {trusted[:16]}…"
    elif not signed_by(one.signed, bytes.fromhex(one.signature), one.key):
        yield f"its signature is not by the key {one.key[:16]}… over what it says: it was edited"


def contradictions(some: Sequence[tuple[str, Checkpoint]]) -> Iterator[tuple[str, str]]:
    """Which checkpoints cannot both be of one log that only grew: each by its name, and why."""
    for place, (name, one) in enumerate(some):
        for other_name, other in some[:place]:
            if one.first != other.first:
                yield name, f"it is of another log than {other_name}: their first links differ"
            elif (one.seq == other.seq or one.link == other.link) and (one.seq, one.link, one.hash) != (
                other.seq, other.link, other.hash,
            ):  # fmt: skip
                yield name, f"it says otherwise than {other_name} of event {one.seq}: the log was rewritten in between"
            elif (one.seq < other.seq) != (one.link < other.link):
                yield name, f"its event and link are not both before, or after, those of {other_name}"


async def against(conn: asyncpg.Connection, one: Checkpoint) -> list[Finding]:
    """What of the log is not as it was when a checkpoint was made, in the caller's snapshot, beside a walk along it."""
    head = await conn.fetchrow(SQL["log_head"])
    rows = {row["id"]: row for row in await conn.fetch(SQL["log_links_of"], [1, one.link])}
    made, seq = when(one), head["seq"] if head else 0
    if 1 not in rows or rows[1]["hash"].hex() != one.first:
        detail = f"the checkpoint of {made} is of another log, or this one was rewritten from its first link on"
        return [Finding("replaced", LINKS, None, None, "1", detail)]
    if seq < one.seq:
        detail = f"events {seq + 1} to {one.seq} were there when the checkpoint of {made} was made, and are gone"
        return [Finding("dropped", EVENTS, seq + 1, None, None, detail)]
    found = rows.get(one.link)
    if found is None or (found["last_seq"], found["hash"].hex()) != (one.seq, one.hash):
        detail = f"the checkpoint of {made} is over another one: the log was rewritten there, or before"
        return [Finding("replaced", LINKS, None, None, str(one.link), detail)]
    return []


def trusted_key(text: str) -> str:
    """A public key as an operator gives it: 64 hexadecimal digits, or a file that holds them. Raises ProofRefused."""
    written = (
        Path(text).read_text(encoding="utf-8", errors="replace") if len(text) != 64 and Path(text).is_file() else text
    )
    key = written.strip().lower()
    if len(key) != 64 or any(sign not in "0123456789abcdef" for sign in key):
        raise ProofRefused(f"{text!r} is no public key: give 64 hexadecimal digits, or a file that holds them")
    return key
