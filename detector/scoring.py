"""The scoring service for ledgers that are not ours: judges gifts, with the same locks and the same exactness.

One look at a gift id is taken once per client: asked again, it gets the recorded decision, and another gift under the
same id is refused. A client that knows of looks asks for the next where it wants a fresh decision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from detector import store
from detector.contract import Asked, Judged, Left
from detector.decide import FIRST, degraded
from detector.gift import Decision, Gift, moment, stamp
from detector.judge import Detector
from detector.silence import silent
from detector.sitting import Sitting

ENCODE = msgspec.json.Encoder().encode
# Fields that came later: left out, they are no part of what a gift's hash says, so that older gifts keep theirs.
LATER = ("sender_domain", "recipient_domain", "revoked_amount", "payload_hash", "look")


class Question(msgspec.Struct, frozen=True):
    """A gift as one client asked about it; clients do not share gift ids."""

    client: str
    asked: Asked

    @property
    def gift(self) -> Gift:
        asked = self.asked
        told = {name: getattr(asked, name) for name in asked.__struct_fields__}
        meant = {name: value for name, value in told.items() if value is not None or name not in LATER}
        payload_hash = hashlib.sha256(ENCODE(meant)).digest()
        shape = {name: value for name, value in told.items() if name not in ("id", "look", "payload_hash")}
        name, look = f"{self.client}:{asked.id}", asked.look or FIRST
        return Gift(id=name, payload_hash=payload_hash, look=look, **shape)


@dataclass(frozen=True, slots=True)
class Scoring:
    """Judges a batch of questions in one transaction."""

    pool: asyncpg.Pool
    detector: Detector

    async def commit(self, questions: Sequence[Question]) -> list[Judged | None]:
        """One answer each, in order; None where the id was used for another gift."""
        gifts = [question.gift for question in questions]
        async with self.pool.acquire() as conn:
            transaction, sitting, committed = conn.transaction(), None, False
            await transaction.start()
            try:
                sitting = await self.detector.gather(conn, gifts)
                rows = await store.decisions(conn, [name_of(gift) for gift in gifts])
                known = {row["id"]: row for row in rows}
                again = [gift for gift in gifts if gift.look > FIRST and name_of(gift) not in known]
                firsts = await store.first_looks(conn, [gift.id for gift in again]) if again else {}
                await sitting.recall(conn, [gift for gift in again if gift.id in firsts], late=True)
                strange = {name_of(gift) for gift in again if gift.id not in firsts}
                found = judge(gifts, known, sitting, strange)
                answers = [bound(one, question.asked) for one, question in zip(found, questions, strict=True)]
                await sitting.record(conn)
                # What an earlier look held leaves its case, and comes to one anew where this look holds it.
                left = [Left(gift.id, "released", moment(sitting.now)) for gift in again]
                await sitting.tell_desk(conn, None, left)
                await transaction.commit()
                committed = True
                return answers
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await transaction.rollback()


def judge(gifts: Sequence[Gift], known: dict[str, Any], sitting: Sitting, strange: set[str]) -> list[Judged | None]:
    """The answer to each gift, in order; the model looks once a wave, at those that have none yet."""
    found: list[Judged | None] = []
    for wave in sitting.waves(gifts):
        sitting.look([(one, None) for one in wave if name_of(one) not in known and name_of(one) not in strange])
        found += [answer(gift, known, sitting, strange) for gift in wave]
    return found


def answer(gift: Gift, known: dict[str, Any], sitting: Sitting, strange: set[str]) -> Judged | None:
    """The recorded decision where there is one for this very gift, a new one where there is none.

    A `strange` gift is looked at again and never was before: what no limit was asked of is held.
    """
    name = name_of(gift)
    row = known.get(name)
    if row is None:
        unseen = degraded(gift, sitting.now, "no_first_look", sitting.generation) if name in strange else None
        decision: Decision = sitting.note(unseen) if unseen else sitting.decide(gift)
        known[decision.id] = {**as_row(decision), "payload_hash": gift.payload_hash}
        row = known[decision.id]
    return judged(row) if row["payload_hash"] == gift.payload_hash else None


def name_of(gift: Gift) -> str:
    return f"{gift.id}.{gift.look}"


def bound(answer: Judged | None, asked: Asked) -> Judged | None:
    """The answer with the hash that the question bound it to: the same was recorded, or there would be no answer."""
    return answer and msgspec.structs.replace(answer, payload_hash=asked.payload_hash)


def as_row(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "at": moment(decision.at),
        "verdict": decision.verdict.word,
        "hits": store.listed(decision.hits),
        "generation": decision.generation,
        "model": decision.model,
        "score": decision.score,
        "retry_after_s": decision.retry_after_s,
        "refused": decision.refused,
    }


def judged(row: Any) -> Judged:
    """A recorded decision as the client sees it; made from the record alone, so it is the same for ever."""
    hits = store.HITS.decode(row["hits"])
    return Judged(
        id=row["id"],
        gift=row["id"].rsplit(".", 1)[0].split(":", 1)[1],
        verdict=row["verdict"],
        reasons=[hit.reason for hit in hits if hit.waived_by is None],
        at=stamp(row["at"]),
        generation=row["generation"],
        model=row["model"],
        score=row["score"],
        retry_after_s=row["retry_after_s"],
        refused=row["refused"],
        silent=silent(hits),
    )
