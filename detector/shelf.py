"""The policies and models that explanations read last. Law: they are their own, and share nothing with a gate's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import asyncpg

from detector import serving, store
from detector.policy import Policy, read
from detector.serving import Serving

MOST_KEPT = 2
MOST_POLICIES = 16


@dataclass(slots=True)
class Shelf:
    """The policies and models that explanations read last, each checked when it was read."""

    trusted_key: str | None = None
    policies: dict[int, Policy] = field(default_factory=dict)
    models: dict[str, Serving] = field(default_factory=dict)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def policy(self, conn: asyncpg.Connection, generation: int) -> Policy | None:
        if generation not in self.policies:
            text = await store.policy_text(conn, generation)
            if text is None:
                return None
            self.policies[generation] = read(text, generation=generation)
            for older in list(self.policies)[:-MOST_POLICIES]:
                del self.policies[older]
        return self.policies[generation]

    async def model(self, conn: asyncpg.Connection, name: str) -> Serving:
        """The artifact that a decision names, as `name@beginning of its hash`."""
        async with self.loading:
            found = self.models.pop(name, None) or await self.load(conn, name)
            self.models[name] = found
            for older in list(self.models)[:-MOST_KEPT]:
                del self.models[older]
        return found

    async def load(self, conn: asyncpg.Connection, name: str) -> Serving:
        hashes = [row["sha256"] for row in await conn.fetch(store.SQL["model_like"], name.rpartition("@")[2])]
        if len(hashes) != 1:
            return Serving(None, None, "missing", f"{len(hashes)} artifacts are kept that may be {name}")
        return await serving.load(conn, hashes[0], self.trusted_key)
