"""What the challenger would have said. Law: after the fact and without effect; each decision is scored once.

It reads what the gate left with each decision, a slice of time at a time, and keeps a slice's scores and how far it has
come in one commit. It shares nothing with the gate but the database: a slow challenger is late, and that is all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from detector import breaker, champions, serving
from detector.decide import SEVERITY
from detector.feature_table import HASH
from detector.gift import Gift, Hit, Verdict, micros
from detector.lists import NONE, Lists
from detector.model_vector import vectors
from detector.store import HITS, SQL, all_lists
from models.model import Model

log = logging.getLogger(__name__)
FEATURES = msgspec.json.Decoder(tuple[int | float | bool | None, ...])
# Drawn once at random: of all processes on a database, one shadows.
LOCK_KEY = 2_904_417_733_051_926_118
SLICE = timedelta(seconds=5)
PAUSE_S = 0.5
BATCH = 256
COLUMNS = ("decision_id", "sha256", "score", "verdict", "fault")
FAULT_CHARS = 200

Said = tuple[float | None, str | None, str | None]


async def shadow(conn: asyncpg.Connection, trusted_key: str | None) -> None:
    """Follow the decisions until cancelled, whoever is challenger; another process that does so is waited for."""
    loaded: serving.Serving | None = None
    # Asked again and again: who waits inside the database keeps it from forgetting old rows.
    while not await conn.fetchval("select pg_try_advisory_lock($1)", LOCK_KEY):
        await asyncio.sleep(PAUSE_S)
    while True:
        playing = await champions.playing(conn, champions.CHALLENGER)
        if playing is None:
            loaded = None
        elif loaded is None or loaded.sha256 != playing["sha256"]:
            loaded = await serving.load(conn, playing["sha256"], trusted_key)
            if loaded.model is None:
                log.error("the challenger cannot be loaded: %s: %s", loaded.reason, loaded.detail)
        if loaded is None or loaded.model is None or not await follow(conn, loaded.model):
            await asyncio.sleep(PAUSE_S)


async def follow(conn: asyncpg.Connection, model: Model) -> bool:
    """Score the next slice of decisions; whether there is more to do at once."""
    upto: datetime | None = await conn.fetchval(SQL["shadow_upto"], model.sha256)
    if upto is None:
        upto = await conn.fetchval(SQL["shadow_begin"], model.sha256)
    # Asked before the slice is read, so that nothing can appear in it any more.
    bound = await conn.fetchval(SQL["shadow_bound"])
    if upto is None or bound <= upto:
        return False
    end = min(bound, upto + SLICE)
    rows = await conn.fetch(SQL["shadow_slice"], upto, end, HASH)
    ever = await all_lists(conn) if rows else NONE
    said = [one for start in range(0, len(rows), BATCH) for one in opinions(model, rows[start : start + BATCH], ever)]
    kept = [(row["id"], model.sha256, *one) for row, one in zip(rows, said, strict=True)]
    if not rows and end < upto + SLICE:
        return False
    async with conn.transaction():
        await conn.copy_records_to_table("shadow_scores", schema_name="detector", records=kept, columns=COLUMNS)
        await conn.execute(SQL["shadow_move"], model.sha256, end)
    return bool(end < bound)


def opinions(model: Model, rows: Sequence[asyncpg.Record], ever: Lists = NONE) -> list[Said]:
    """Score, verdict and fault of each row: of what cannot be scored together, each alone."""
    try:
        return scored(model, rows, ever)
    except Exception as error:
        if len(rows) > 1:
            return [one for row in rows for one in opinions(model, [row], ever)]
        return [(None, None, f"{type(error).__name__}: {error}"[:FAULT_CHARS])]


def scored(model: Model, rows: Sequence[asyncpg.Record], ever: Lists) -> list[Said]:
    """In one call of the model. Limits and rules say again what they said, the model what this one says, and the lists
    let it count as they stood then."""
    scores = model.score(vectors([FEATURES.decode(row["features"]) for row in rows])).tolist()
    said: list[Said] = []
    for row, score in zip(rows, scores, strict=True):
        if not 0 <= score <= 1:
            said.append((None, None, f"its score is {score}"))
            continue
        others = [
            hit for hit in HITS.decode(row["hits"]) if not (of_model(hit) or hit.waived_by or hit.by == breaker.BY)
        ]
        own = as_listed(row, verdict(score, model.thresholds), ever)
        said.append((score, under_breaker(row["breaker"], others, own).word, None))
    return said


def as_listed(row: Any, own: Verdict, ever: Lists) -> Verdict:
    """The model's verdict as an allow entry of that moment leaves it."""
    if own is not Verdict.HOLD:
        return own
    facts = {name: row[name] for name in ("sender", "recipient", "ip", "device", "fingerprint", "sender_domain")}
    allowed = ever.allowed(Gift(row["id"], amount=1, payload_hash=b"", **facts), micros(row["at"]))
    return Verdict.APPROVE if allowed else own


def under_breaker(opening: int | None, others: Sequence[Hit], own: Verdict) -> Verdict:
    """The most severe of the other hits and the model's own verdict, as an open breaker leaves it."""
    hits = [*others, Hit("model", "challenger", own.word)]
    if opening is not None and breaker.turns(hits):
        return Verdict.HOLD
    return max(SEVERITY[hit.verdict] for hit in hits)


def of_model(hit: Hit) -> bool:
    return hit.by == "model" or (hit.by == "degraded" and hit.name.startswith("model_"))


def verdict(score: float, thresholds: dict[str, float]) -> Verdict:
    """By the artifact's own thresholds."""
    reached = [SEVERITY[word] for word, threshold in thresholds.items() if score >= threshold]
    return max(reached, default=Verdict.APPROVE)
