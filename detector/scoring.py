"""The scoring service for ledgers that are not ours: judges gifts, with the same locks and the same exactness.

One gift id is judged once per client: asked again, it gets the recorded decision, and another gift under the same id
is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from detector import store
from detector.contract import Asked, Judged
from detector.gift import Decision, Gift, moment, stamp
from detector.judge import Detector

ENCODE = msgspec.json.Encoder().encode
# Fields that came later: left out, they are no part of what a gift's hash says, so that older gifts keep theirs.
LATER = ("sender_domain", "recipient_domain", "revoked_amount")


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
        shape = {name: value for name, value in told.items() if name != "id"}
        return Gift(id=f"{self.client}:{asked.id}", payload_hash=payload_hash, **shape)


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
                rows = await store.decisions(conn, [f"{gift.id}.1" for gift in gifts])
                known = {row["id"]: row for row in rows}
                answers = []
                for wave in sitting.waves(gifts):
                    sitting.look([(gift, None) for gift in wave if f"{gift.id}.1" not in known])
                    answers += [answer(gift, known, sitting) for gift in wave]
                await sitting.record(conn)
                await sitting.tell_desk(conn, None)
                await transaction.commit()
                committed = True
                return answers
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await transaction.rollback()


def answer(gift: Gift, known: dict[str, Any], sitting: Any) -> Judged | None:
    """The recorded decision where there is one for this very gift, a new one where there is none."""
    row = known.get(f"{gift.id}.1")
    if row is None:
        decision: Decision = sitting.decide(gift)
        known[decision.id] = {**as_row(decision), "payload_hash": gift.payload_hash}
        row = known[decision.id]
    return judged(row) if row["payload_hash"] == gift.payload_hash else None


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
    }


def judged(row: Any) -> Judged:
    """A recorded decision as the client sees it; made from the record alone, so it is the same for ever."""
    return Judged(
        id=row["id"],
        gift=row["id"].rsplit(".", 1)[0].split(":", 1)[1],
        verdict=row["verdict"],
        reasons=[hit.reason for hit in store.HITS.decode(row["hits"]) if hit.waived_by is None],
        at=stamp(row["at"]),
        generation=row["generation"],
        model=row["model"],
        score=row["score"],
        retry_after_s=row["retry_after_s"],
    )
