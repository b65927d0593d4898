"""Proofs: that the events of one subject, such as a transfer, stand in the log that a checkpoint signed (law 12).

A proof is a JSON file, and verifies against its checkpoint without a database:

    format    "lockgate proof 1"
    subject   what the events are of
    events    each as in the log: seq, link, at (microseconds since 1970), kind, subject, actor, and body, the text
    previous  the hash of the link before the first one here
    links     the links from the first event's on to the checkpoint's, without a gap: id, first_seq, last_seq, at, hash,
              and `events`, the hashes of all its events in order

Each event makes its hash (`detector.log` has the canonical texts), which stands at its place in its link; each link
makes its hash from the one before it and from its own events' hashes; the last one's is the hash of the checkpoint.
What other events say is not in the proof: their hashes alone are. A proof shows that these events were told, and when;
that there were no others of this subject only the whole log can show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import asyncpg
from msgspec import Meta, Struct

from detector.checkpoints import Checkpoint, Hash, Micros, Place
from detector.errors import ProofRefused, SubjectUnknown
from detector.log import Event, Link, event_hash, link_hash
from detector.store import SQL

FORMAT: Literal["lockgate proof 1"] = "lockgate proof 1"
MOST_EVENTS = 1_000_000  # between the subject's first and the checkpoint: 72 bytes each in the file


class ProvedEvent(Struct, forbid_unknown_fields=True):
    """An event of the subject. `body` is the JSON text that was hashed."""

    seq: Place
    link: Place
    at: Micros
    kind: str
    subject: str
    actor: str
    body: str

    @property
    def hash(self) -> str:
        texts = self.kind, self.subject, self.actor, self.body
        return event_hash(Event(self.seq, self.link, self.at, *texts, b"")).hex()


class ProvedLink(Struct, forbid_unknown_fields=True):
    """A link, with the hashes of its events."""

    id: Place
    first_seq: Place
    last_seq: Place
    at: Micros
    hash: Hash
    events: list[Hash]


class Proof(Struct, forbid_unknown_fields=True):
    """A subject's events, and the links that lead from them to a head."""

    format: Literal["lockgate proof 1"]
    subject: str
    events: Annotated[list[ProvedEvent], Meta(min_length=1)]
    previous: Hash
    links: Annotated[list[ProvedLink], Meta(min_length=1)]

    @property
    def head(self) -> ProvedLink:
        return self.links[-1]

    def __str__(self) -> str:
        events = "1 event" if len(self.events) == 1 else f"{len(self.events)} events"
        return f"{events} of {self.subject}, up to event {self.head.last_seq}, link {self.head.id}"


async def prove(conn: asyncpg.Connection, subject: str, upto: Checkpoint | None = None) -> Proof:
    """The proof of a subject up to a checkpoint, or to the present head.

    Raises SubjectUnknown where no event tells of it, ProofRefused where the log does not hold, or the
    checkpoint is not of it as it is.
    """
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        head = await conn.fetchrow(SQL["log_head"])
        seq, link = (upto.seq, upto.link) if upto else (head["seq"], head["link"])
        events = [ProvedEvent(*row[:7]) for row in await conn.fetch(SQL["log_of"], subject, seq)]
        if not events:
            raise SubjectUnknown(f"no event up to {seq} is of {subject!r}: a checkpoint proves what is older than it")
        if seq - events[0].seq >= MOST_EVENTS:
            raise ProofRefused(
                f"{seq - events[0].seq + 1:,} events lie from {subject} to event {seq}, more than {MOST_EVENTS:,}: "
                "prove it by an earlier --checkpoint"
            )
        links = [Link(*row) for row in await conn.fetch(SQL["log_links_between"], events[0].link, link)]
        if not links or (upto is not None and links[-1].hash.hex() != upto.hash):
            raise ProofRefused(f"link {link} is not the one that the checkpoint is over: 'lockgate verify' says why")
        hashes: dict[int, list[str]] = {}
        for row in await conn.fetch(SQL["log_hashes"], links[0].first_seq, seq):
            hashes.setdefault(row["link"], []).append(row["hash"].hex())
    proved = [
        ProvedLink(one.id, one.first_seq, one.last_seq, one.at, one.hash.hex(), hashes.get(one.id, [])) for one in links
    ]
    proof = Proof(FORMAT, subject, events, links[0].previous.hex(), proved)
    for fault in (*loose_links(proof), *loose_events(proof)):
        raise ProofRefused(f"the log does not hold: {fault}; 'lockgate verify' names all that was done")
    return proof


def faults(proof: Proof, checkpoints: Sequence[Checkpoint]) -> Iterator[str]:
    """Why a proof proves nothing; nothing where it holds against one of the checkpoints, which are believed."""
    broken = list(loose_links(proof))
    yield from broken or loose_events(proof)
    head = proof.head
    signed = {(one.link, one.seq, one.hash) for one in checkpoints}
    if not broken and (head.id, head.last_seq, head.hash) not in signed:
        yield f"it leads to link {head.id}, {head.hash[:16]}…, which no checkpoint that was given is over"


def loose_links(proof: Proof) -> Iterator[str]:
    """The links that do not follow one another, or do not make their hash."""
    before, id, seq = proof.previous, proof.links[0].id, proof.links[0].first_seq
    for one in proof.links:
        if (one.id, one.first_seq, one.last_seq) != (id, seq, seq + len(one.events) - 1):
            yield f"link {one.id} does not follow the one before it without a gap"
            return
        link = Link(one.id, one.first_seq, one.last_seq, one.at, bytes.fromhex(before), b"")
        if link_hash(link, map(bytes.fromhex, one.events)).hex() != one.hash:
            yield f"link {one.id} does not make its hash: it was edited, or the one before it"
            return
        before, id, seq = one.hash, id + 1, one.last_seq + 1


def loose_events(proof: Proof) -> Iterator[str]:
    """The events that are not what stands at their place in their link, each once and in order."""
    links = {one.id: one for one in proof.links}
    last = 0
    for event in proof.events:
        link = links.get(event.link)
        place = event.seq - link.first_seq if link else -1
        if link is None or not 0 <= place < len(link.events) or link.events[place] != event.hash:
            yield f"event {event.seq} is not what link {event.link} holds there: it was edited"
        if event.subject != proof.subject or event.seq <= last:
            yield f"event {event.seq} is not the next one of {proof.subject}"
        last = event.seq
