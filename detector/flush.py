"""Rows for several tables and the commit, in one flush: written at once or while they are made, and answered together.

One simple query may hold several COPYs and a commit; PostgreSQL takes the rows of each in turn. The driver sends such a
query and waits for its end, and passes over the server's invitations to copy; so the rows are written beside it, on its
transport. Law: the commit is the query's last statement, and where one statement fails, none after it runs. The driver
keeps its own books of the connection all the while: errors, cancelling, time-outs and lost connections are as ever.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from detector.gift import EPOCH, MICROSECOND

if TYPE_CHECKING:
    import asyncpg

# PostgreSQL's binary COPY: a signature, rows of length-prefixed fields in network order, a trailer.
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
COPY_DONE = b"c\x00\x00\x00\x04"
GIVE_UP = b"f\x00\x00\x00\x0dgiven up\x00"
# Parse, Bind and Execute of a begin without a name.
BEGIN = b"P\x00\x00\x00\x0d\x00begin\x00\x00\x00B\x00\x00\x00\x0c" + bytes(8) + b"E\x00\x00\x00\x09" + bytes(5)
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01
SHORT, LONG = struct.Struct("!h").pack, struct.Struct("!i").pack
INT2, INT4, INT8, FLOAT8 = (struct.Struct(shape).pack for shape in ("!ih", "!ii", "!iq", "!id"))
BOOL = {True: b"\x00\x00\x00\x01\x01", False: b"\x00\x00\x00\x01\x00", None: NULL}


class Lengths(dict[int, bytes]):
    """A length as it stands before a field, made when first needed."""

    def __missing__(self, length: int) -> bytes:
        if length > 4096:  # few are, and seldom alike
            return LONG(length)
        self[length] = LONG(length)
        return self[length]


LENGTHS = Lengths()
Column = Sequence[Any]
Fields = list[bytes]


def binary(column: Column) -> Fields:
    return [NULL if value is None else LENGTHS[len(value)] + value for value in column]


def text(column: Column) -> Fields:
    return [NULL if value is None else LENGTHS[len(raw := value.encode())] + raw for value in column]


def int2(column: Column) -> Fields:
    return [NULL if value is None else INT2(2, value) for value in column]


def int4(column: Column) -> Fields:
    return [NULL if value is None else INT4(4, value) for value in column]


def int8(column: Column) -> Fields:
    return [NULL if value is None else INT8(8, value) for value in column]


def float8(column: Column) -> Fields:
    return [NULL if value is None else FLOAT8(8, value) for value in column]


def boolean(column: Column) -> Fields:
    return [BOOL[value] for value in column]


def timestamp(column: Column) -> Fields:
    return [NULL if value is None else since_2000(value) for value in column]


@lru_cache(maxsize=64)  # a batch shares its moment
def since_2000(value: datetime) -> bytes:
    return INT8(8, (value - EPOCH) // MICROSECOND - POSTGRES_EPOCH_US)


ENCODERS: dict[str, Callable[[Column], Fields]] = {
    "bool": boolean,
    "bytea": binary,
    "float8": float8,
    "int2": int2,
    "int4": int4,
    "int8": int8,
    "json": binary,
    "text": text,
    "timestamptz": timestamp,
}


class Table:
    """Where rows are appended, and the type of each of their columns; JSON comes as bytes, None is null everywhere."""

    def __init__(self, name: str, **columns: str) -> None:
        self.copy = f"copy {name} ({', '.join(columns)}) from stdin (format binary)"
        self.encoders = tuple(ENCODERS[kind] for kind in columns.values())
        self.head = SHORT(len(columns))

    def encode(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """The messages that answer its COPY; column by column, since many columns of a batch hold one value: what
        stands between two others in every row is made once."""
        parts = [SIGNATURE]
        if rows:
            fields: list[Fields] = []
            same = self.head
            for encode, column in zip(self.encoders, zip(*rows, strict=True), strict=True):
                if alike(column):
                    same += NULL if column[0] is None else encode(column[:1])[0]
                    continue
                if same:
                    fields.append([same] * len(rows))
                fields.append(encode(column))
                same = b""
            parts.extend(chain.from_iterable(zip(*fields, [same] * len(rows), strict=True)))
        parts.append(TRAILER)
        return message(b"d", b"".join(parts)) + COPY_DONE


def alike(column: Column) -> bool:
    """Whether a column's values are written alike; zeros are equal, and yet may differ in their sign."""
    first = column[0]
    return column.count(first) == len(column) and (type(first) is not float or first != 0)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + LONG(len(body) + 4) + body


def begin(conn: asyncpg.Connection) -> None:
    """Begin a transaction with whatever statement with parameters the driver sends next: no round trip of its own.

    Without a Sync of its own the begin belongs to that statement, whose answer the driver awaits.
    """
    conn._transport.write(BEGIN)


class Flush:
    """One query in flight: `pieces` times a COPY to each of `tables`, in order, then what `end` says.

    A context: left in peace it waits for the answer, and raises what a statement, or the way there, met; left by an
    exception it gives up, so that nothing after the pieces that were written runs.
    """

    def __init__(
        self, conn: asyncpg.Connection, tables: Sequence[Table], *, pieces: int = 1, end: Sequence[str] = ()
    ) -> None:
        self.tables = tables
        self.owed = pieces
        self.transport: asyncio.WriteTransport = conn._transport
        self.loop = asyncio.get_running_loop()
        query = ";".join([*[table.copy for table in tables] * pieces, *end])
        self.told = self.loop.create_task(conn.execute(query)) if query else None

    async def __aenter__(self) -> Flush:
        return self

    def write(self, *rows: Sequence[Sequence[Any]]) -> None:
        """The next piece: rows for each of the tables. It leaves when the caller next waits for anything."""
        self.owed -= 1
        encoded = [table.encode(some) for table, some in zip(self.tables, rows, strict=True)]
        # The loop keeps order, so the query has been written by then.
        self.loop.call_soon(self.send, b"".join(encoded))

    def send(self, messages: bytes) -> None:
        if not self.transport.is_closing():  # else the driver tells what happened
            self.transport.write(messages)

    async def __aexit__(self, kind: type[BaseException] | None, *fault: object) -> None:
        if self.told is None:
            return
        if kind is None and self.owed == 0:
            await self.told
            return
        if not self.told.done():
            self.loop.call_soon(self.send, GIVE_UP)
            await asyncio.wait([self.told])
        if not self.told.cancelled():
            self.told.exception()  # heard, so that the loop does not complain; the caller's own fault matters more
        assert kind is not None, f"PostgreSQL waited for {self.owed} pieces that were never written"
