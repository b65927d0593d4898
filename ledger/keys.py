"""Key rotation: an org's keys end in the transaction that issues the new one, and its gifts are held for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg

from detector.contract import Told, append
from ledger import store
from ledger.access import enter_key
from ledger.events import key_told
from ledger.funding import lock_org
from ledger.views import stamp


async def rotate(
    conn: asyncpg.Connection, org_id: str, role: str, name: str, author: str, cool_off_s: int
) -> dict[str, Any]:
    """Revoke every key of an org and issue one, shown this once, inside the caller's transaction. Raises NotFound.

    Whoever has stolen a key may also be who asks for a new one: hence the cool-off.
    """
    org = await lock_org(conn, org_id)
    revoked = await conn.fetch(store.SQL["api_keys_revoke"], org_id)
    row = await conn.fetchrow(store.SQL["org_cool_off"], org_id, org["now"] + timedelta(seconds=cool_off_s))
    key, made = await enter_key(conn, role, name, org_id, author)
    until = stamp(row["cool_until"]) if row["cool_until"] > org["now"] else None
    told = {"keys_revoked": len(revoked), "role": role, "name": name, "cool_until": until}
    gone = [key_told("key.revoked", one["hash"], one, author) for one in revoked]
    await append(conn, [Told("org.keys_rotated", org_id, author, told), *gone, made])
    return {"key": key, "org": org_id, **told}
