"""The event log: what happened, in one gap-free order, hash-chained (law 12).

`log.append` (0009_cheaper_log.sql) makes the hashes in the database; the functions here make them a second time, from
the canonical texts that both share:

    event   "lockgate event 1\\n", then seq, link and at, each with "\\n", then kind, subject, actor, body, each sized
    link    "lockgate link 1\\n", then id, first seq, last seq, at, the previous link's hash and its own events' hashes,
            each with "\\n"

At is in microseconds since 1970, hashes are hexadecimal, and a sized text is its length in bytes, ":", itself and
"\\n", so that no two lists of texts read alike. Texts are UTF-8; a hash is SHA-256 of the canonical text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    import asyncpg

EVENT, LINK = "lockgate event 1\n", "lockgate link 1\n"
NOTHING = bytes(32)  # what the first link takes for the one before it
APPEND = (Path(__file__).parent / "sql" / "log_append.sql").read_text()
SYSTEM = "system"  # the actor of what nobody did
ENCODER = msgspec.json.Encoder(order="deterministic")
# An array of texts that hold no line's end and no dollar, which is nearly always: nothing in it needs escaping.
LINES = "string_to_array($${}$$,E'\\n')"


class Told(NamedTuple):
    """One event to append: what happened (`case.opened`), to whom or what, by whom, and the rest, an object."""

    kind: str
    subject: str
    actor: str
    body: dict[str, Any] | msgspec.Struct


class Event(NamedTuple):
    """One row of log.events as it stands. `at` is microseconds since 1970, as text: a changed row may say anything."""

    seq: int
    link: int
    at: str
    kind: str
    subject: str
    actor: str
    body: str
    hash: bytes


class Link(NamedTuple):
    """One row of log.links as it stands."""

    id: int
    first_seq: int
    last_seq: int
    at: str
    previous: bytes
    hash: bytes


async def append(conn: asyncpg.Connection, told: Sequence[Told]) -> int | None:
    """Append events as one link; the first one's seq. A transaction's last act: it locks the log's head."""
    if not told:
        return None
    first: int = await conn.fetchval(APPEND, *columns(told))
    return first


def appending(told: Sequence[Told]) -> str:
    """The same as a statement without parameters, for a query that says several things at once (`Flush`)."""
    kinds, subjects, actors, bodies = zip(*told, strict=True)
    lists = [*map("\n".join, (kinds, subjects, actors)), ENCODER.encode_lines(bodies).decode()[:-1]]
    lines_each = len(told) - 1
    if all(one and one.count("\n") == lines_each and "$" not in one and "\0" not in one for one in lists):
        return f"select log.append({','.join([LINES.format(one) for one in lists])})"
    return f"select log.append({','.join(map(array, columns(told)))})"


def columns(told: Sequence[Told]) -> tuple[Sequence[str], ...]:
    """Events as the four arrays that log.append takes."""
    kinds, subjects, actors, bodies = zip(*told, strict=True)
    return kinds, subjects, actors, [ENCODER.encode(body).decode() for body in bodies]


def array(texts: Iterable[str]) -> str:
    """Texts as a literal of text[], whatever they hold and however the session reads backslashes.

    >>> print(array(["it's", '"', "\\\\"]))
    E'{"it''s","\\\\"","\\\\\\\\"}'
    """
    whole = '","'.join([text.replace("\\", "\\\\").replace('"', '\\"') for text in texts])
    if "\0" in whole:
        raise ValueError("a text holds a zero byte, which PostgreSQL keeps in no text")
    return "E'{\"" + whole.replace("\\", "\\\\").replace("'", "''") + "\"}'"


def event_hash(event: Event) -> bytes:
    """The hash that an event should carry."""
    texts = (event.kind, event.subject, event.actor, event.body)
    return digest(EVENT + lines(event.seq, event.link, event.at) + "".join(map(sized, texts)))


def link_hash(link: Link, events: Iterable[bytes]) -> bytes:
    """The hash that a link should carry over events of these hashes, in order."""
    head = lines(link.id, link.first_seq, link.last_seq, link.at, link.previous.hex())
    return digest(LINK + head + lines(*[event.hex() for event in events]))


def lines(*values: Any) -> str:
    return "".join([f"{value}\n" for value in values])


def sized(text: str | None) -> str:
    """A text after its length in bytes.

    >>> sized("é:"), sized("")
    ('3:é:\\n', '0:\\n')
    """
    return "null\n" if text is None else f"{len(text.encode())}:{text}\n"


def digest(canonical: str) -> bytes:
    return hashlib.sha256(canonical.encode()).digest()
