"""What is found wrong with the log, or with what stands beside it: one finding a row, which it names."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from detector.log import Event, Link

What = Literal["edited", "dropped", "reordered", "inserted", "replaced", "disagrees"]
EVENTS, LINKS, HEAD = "log.events", "log.links", "log.head"


class Finding(Struct):
    """What is wrong with one row: of log.events by its `seq`, `kind` and subject, of another table by its `id`."""

    what: What
    table: str
    seq: int | None
    kind: str | None
    id: str | None
    detail: str


def of_event(what: What, event: Event, detail: str) -> Finding:
    return Finding(what, EVENTS, event.seq, event.kind, event.subject, detail)


def of_link(what: What, link: Link, detail: str) -> Finding:
    return Finding(what, LINKS, None, None, str(link.id), detail)


def lost(table: str, name: int | None) -> Finding:
    return Finding("dropped", table, None, None, None if name is None else str(name), "it was written and is not there")
