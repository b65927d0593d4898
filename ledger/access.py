"""Who may do what: API keys, stored as hashes, each bound to a role and, for a customer's key, to one org."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from typing import Final

import asyncpg
from msgspec import Struct

from detector.contract import SYSTEM, Told, append
from ledger import store
from ledger.errors import Forbidden, Invalid, NotFound, Unauthenticated
from ledger.events import key_told

log = logging.getLogger(__name__)

# The role table. A scope is what one route asks for; later roles are later rows.
ROLES: Final[dict[str, frozenset[str]]] = {
    "platform": frozenset(
        {
            "orgs:write",
            "orgs:read",
            "grants:write",
            "keys:write",
            "labels:write",
            "compromise:write",
            "endpoints:write",
            "endpoints:read",
            "events:read",
        }
    ),
    "owner": frozenset({"transfers:write", "transfers:read", "balance:read", "compromise:write"}),
    "reader": frozenset({"transfers:read", "balance:read"}),
    "service": frozenset({"score:write", "score:read", "labels:write"}),
    "analyst": frozenset({"cases:read", "cases:write", "lists:read"}),
    "lead": frozenset({"cases:read", "cases:write", "cases:assign", "lists:read", "lists:write"}),
    "auditor": frozenset({"cases:read", "events:read", "lists:read"}),
}
ORG_ROLES: Final = frozenset({"owner", "reader"})
# Keys of these are people's: the name says who did what, and two names are two people (law 13).
PEOPLE: Final = frozenset({"analyst", "lead", "auditor"})
# A process hears of revocations this often, and trusts what it remembers for so long after it last heard.
WATCH_EVERY_S = 0.5
TRUST_S = 2.0
MOST_KEYS = 200_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Actor(Struct, frozen=True):
    """Whose key it is. `org_id` is None for keys of the platform and of services."""

    name: str
    role: str
    org_id: str | None


class Access:
    """Finds the actor behind a key, and remembers it until the key is revoked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.known: dict[bytes, Actor] = {}
        self.trusted_until = 0.0

    async def actor(self, authorization: str | None, scope: str) -> Actor:
        """The actor of an `Authorization: Bearer KEY` header, if it has the scope.

        Raises Unauthenticated without a valid key, Forbidden where its role lacks the scope.
        """
        actor = await self.whose(authorization)
        if scope not in ROLES.get(actor.role, ()):
            raise Forbidden(f"a key of role {actor.role!r} may not do this; it needs the scope {scope!r}")
        return actor

    async def whose(self, authorization: str | None) -> Actor:
        """The actor of the header, whatever the role. Raises Unauthenticated without a valid key."""
        name = digest(bearer(authorization))
        return self.recall(name) or await self.look_up(name)

    def recall(self, name: bytes) -> Actor | None:
        """The actor of a key of this digest, while what is remembered may be trusted."""
        return self.known.get(name) if time.monotonic() < self.trusted_until else None

    def remembered(self, authorization: str | None, scope: str) -> Actor | None:
        """The actor if the key is remembered and has the scope; None means: ask `actor`. Raises as `actor` does."""
        actor = self.recall(digest(bearer(authorization)))
        return actor if actor is not None and scope in ROLES.get(actor.role, ()) else None

    async def reader(self, authorization: str | None, widely: str, narrowly: str) -> str | None:
        """None for a key with the scope `widely`; for one that has `narrowly` alone, whose it is.

        Raises Forbidden for a key with neither.
        """
        try:
            await self.actor(authorization, widely)
        except Forbidden:
            return (await self.actor(authorization, narrowly)).name
        return None

    async def own(self, authorization: str | None, scope: str) -> str:
        """The org that the key is bound to, if its role has the scope."""
        actor = await self.actor(authorization, scope)
        if actor.org_id is None:
            raise Forbidden("this key is bound to no org")
        return actor.org_id

    async def look_up(self, name: bytes) -> Actor:
        row = await self.pool.fetchrow(store.SQL["api_key"], name)
        if row is None:
            raise Unauthenticated("this API key is unknown or revoked")
        if len(self.known) >= MOST_KEYS:
            self.known.clear()
        actor = self.known[name] = Actor(*row)
        return actor

    def forget(self, org_id: str) -> None:
        """Look the keys of an org up again: some were revoked just now. Other processes hear of it by `watch`."""
        self.known = {name: actor for name, actor in self.known.items() if actor.org_id != org_id}

    async def watch(self) -> None:
        """Learn the keys there are, then hear of revoked ones for ever. While the database is silent nothing
        remembered is trusted."""
        since = None
        while True:
            asked_at = time.monotonic()
            try:
                if since is None:
                    found = await self.pool.fetch(store.SQL["api_keys"], MOST_KEYS)
                    self.known = {name: Actor(*row) for name, *row in found}
                rows = await self.pool.fetch(store.SQL["api_keys_revoked"], since)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("revoked keys: %s: %s", type(error).__name__, error)
            else:
                since = rows[0]["now"]
                for row in rows:
                    self.known.pop(row["hash"], None)
                self.trusted_until = asked_at + TRUST_S
            await asyncio.sleep(WATCH_EVERY_S)


def bearer(authorization: str | None) -> str:
    """The key in an `Authorization: Bearer KEY` header. Raises Unauthenticated where there is none."""
    if authorization is None:
        raise Unauthenticated("no API key; send it as 'Authorization: Bearer KEY'")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Unauthenticated("the Authorization header must read 'Bearer KEY'")
    return key.strip()


def digest(key: str) -> bytes:
    """Keys carry 256 random bits, so one round of SHA-256 keeps them: there is nothing to guess."""
    return hashlib.sha256(key.encode()).digest()


async def issue_key(
    conn: asyncpg.Connection, role: str, name: str, org_id: str | None = None, *, actor: str = SYSTEM
) -> str:
    """A new key, shown this once. Raises Invalid where role and org do not go together."""
    async with conn.transaction():
        key, told = await enter_key(conn, role, name, org_id, actor)
        await append(conn, [told])
    return key


async def enter_key(conn: asyncpg.Connection, role: str, name: str, org_id: str | None, actor: str) -> tuple[str, Told]:
    """The same before the end of a transaction; and what the log is to hear of it."""
    if role not in ROLES:
        raise Invalid(f"unknown role {role!r}; choose one of {', '.join(sorted(ROLES))}")
    if (role in ORG_ROLES) != (org_id is not None):
        raise Invalid(f"a key of role {role!r} {'needs' if role in ORG_ROLES else 'has no'} org; org was {org_id!r}")
    if role in PEOPLE and name == role:
        raise Invalid(f"a key of role {role!r} is a person's: give the name of the person, such as --name alice")
    if not NAME.fullmatch(name):
        raise Invalid(
            f"name {name!r}: 1 to 64 letters, digits and _ . -, since a service's name is part of its gifts' ids"
        )
    key = f"lg_{role}_{secrets.token_urlsafe(32)}"
    await conn.execute(store.SQL["api_key_add"], digest(key), name, role, org_id)
    return key, key_told("key.created", digest(key), {"name": name, "role": role, "org_id": org_id}, actor)


async def revoke_key(conn: asyncpg.Connection, key: str, org_id: str | None = None, *, actor: str = SYSTEM) -> str:
    """Revoke a key, of this org where one is named; its name. Raises NotFound where no such key is valid."""
    async with conn.transaction():
        row = await conn.fetchrow(store.SQL["api_key_revoke"], digest(key), org_id)
        if row is None:
            raise NotFound("no such key, or it was revoked before")
        await append(conn, [key_told("key.revoked", digest(key), row, actor)])
    name: str = row["name"]
    return name
