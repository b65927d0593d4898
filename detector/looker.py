"""How a batch asks its model: looks, features, one call. Law: no look sees a state that contains its own gift.

A second look therefore builds on the features of the first, with the label rows as they are known by now. Where the
first left none (no model judged then, or another feature table was in use), they are read from what is on record of
both parties before the gift, as a process would have had it that woke just before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import asyncpg
import msgspec

from detector import store
from detector.activity import Activity
from detector.decide import FIRST
from detector.feature_table import HASH
from detector.gift import Gift, Opinion, micros
from detector.model_vector import Recorded, renewed
from detector.parties import labels_at, look_at, memory
from detector.policy import ModelTerms
from detector.serving import Look, Serving, degraded

log = logging.getLogger(__name__)
FEATURES = msgspec.json.Decoder(tuple[int | float | bool | None, ...])


class Looker:
    """The model of one batch: what it is, by which terms, and its opinions that no decision has used yet."""

    def __init__(self, activity: Activity, terms: ModelTerms, serves: Serving) -> None:
        self.activity = activity
        self.terms = terms
        self.serves = serves
        self.first: dict[str, Recorded] = {}
        self.opinions: dict[str, Opinion] = {}

    def look(self, gifts: Sequence[tuple[Gift, int | None]], now: int) -> None:
        """Form an opinion of gifts no two of which share a party, unless they are looked at again; in one call."""
        looks: list[Look] = []
        names: list[str] = []
        for gift, at in gifts:
            now = max(now, at or 0)
            try:
                looks.append(self.read(gift, now))
                names.append(gift.id)
            except Exception:
                log.exception("gift %s could not be looked at; held", gift.id)
                self.opinions[gift.id] = Opinion(now, hit=degraded("model_fault"))
        if looks:
            self.opinions.update(zip(names, self.serves.opinions(self.terms, looks, now), strict=True))

    def read(self, gift: Gift, now: int) -> Look:
        if gift.look == FIRST:
            return now, *look_at(gift, self.activity, now)
        return now, renewed(self.first[gift.id], labels_at(gift, self.activity, now)), None

    def opinion(self, gift: Gift, now: int) -> Opinion:
        """The opinion of a gift as of `now`: formed before, or now."""
        found = self.opinions.pop(gift.id, None)
        if found is None or found.at != now:
            self.look([(gift, now)], now)
            found = self.opinions.pop(gift.id)
        return found

    async def recall(self, conn: asyncpg.Connection, gifts: Sequence[Gift]) -> None:
        """Read the first looks' features of gifts that are looked at again."""
        rows = await store.first_looks(conn, [gift.id for gift in gifts])
        for gift in gifts:
            row = rows.get(gift.id)
            if row is None:
                continue  # its look will fail, and hold it
            kept = row["features"] if row["feature_table"] == HASH else None
            self.first[gift.id] = FEATURES.decode(kept) if kept else await self.before(conn, gift, row)

    async def before(self, conn: asyncpg.Connection, gift: Gift, row: asyncpg.Record) -> Recorded:
        """The features of a gift from what is on record before it; its facts are those of now."""
        then = Activity((), memory)
        at = micros(row["at"])
        keys = then.keys(gift)
        for key in keys:
            then.new(key)
        await store.load(conn, then, keys, at, (at, row["seq"]))
        return look_at(gift, then, at)[0]
