"""`lockgate breaker`: whether blocks are held at present, and why. Law: exit 0 closed, 3 open."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import asyncpg

OPEN = 3
MOST = 20


def breaker(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say whether the breaker is open, what was judged and blocked in its window, and when it was open before.

    Exit status 0: closed, blocks are blocks; 3: open, what rules and the model would block is held.
    """
    found = ctx.obj(read)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))
    raise typer.Exit(OPEN if found["open"] else 0)


async def read(conn: asyncpg.Connection) -> dict[str, Any]:
    """How it stands, in one snapshot."""
    from detector import policy, store
    from detector.breaker_watch import state

    async with conn.transaction(isolation="repeatable_read", readonly=True):
        generation = await store.active(conn)
        text = await store.policy_text(conn, generation) if generation is not None else None
        terms = policy.read(text).breaker if text else None
        stands = await state(conn, terms)
        rows = await conn.fetch(store.SQL["breaker_openings"], MOST)
    counts = {name: {"judged": one.judged, "blocked": one.blocked, "share": round(one.share, 4)}
              for name, one in (("first", stands.first), ("later", stands.later))}  # fmt: skip
    return {
        "open": stands.opening is not None and terms is not None,
        "generation": generation,
        "terms": terms and {name: getattr(terms, name) for name in terms.__slots__},
        "window": counts if terms else None,
        "openings": [shape(row) for row in rows],
    }


def shape(row: Any) -> dict[str, Any]:
    from detector.gift import stamp

    times = {name: row[name] and stamp(row[name]) for name in ("opened_at", "closed_at")}
    return {**row, **times}


def lines(found: dict[str, Any]) -> list[str]:
    terms, openings = found["terms"], found["openings"]
    if terms is None:
        head = ["no breaker: the active policy has no [breaker]"]
    else:
        head = ["OPEN: what rules and the model would block is held" if found["open"] else "closed"]
        bound = f"more than {terms['share']:.0%} of at least {terms['at_least']} within {terms['window_s']} s open it"
        head += [f"{name} looks: {one['blocked']:,} of {one['judged']:,} blocked ({one['share']:.1%})"
                 for name, one in found["window"].items()] + [bound]  # fmt: skip
    return head + [past(one) for one in openings]


def past(one: dict[str, Any]) -> str:
    until = f"until {one['closed_at']} ({one['closed_why']})" if one["closed_at"] else "still open"
    return (
        f"opening {one['id']}: {one['opened_at']} {until}: {one['blocked']:,} of {one['judged']:,} {one['looks']} "
        f"looks blocked, generation {one['generation']}"
    )
