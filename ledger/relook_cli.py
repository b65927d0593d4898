"""`lockgate relook`: which waiting gifts are still to be judged again for news, and what keeps it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.views import stamp

if TYPE_CHECKING:
    import asyncpg


def relook(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False
) -> None:
    """Say what news is not taken up yet, and how many waiting gifts are still to be judged again for which news.

    News waits for whoever began to write before it was noticed: a transaction that is left open keeps it waiting.
    """
    shape = ctx.obj(read)
    typer.echo(json.dumps(shape, indent=2) if as_json else "\n".join(lines(shape)))


async def read(conn: asyncpg.Connection) -> dict[str, Any]:
    from ledger import store
    from ledger.news import standing

    async with conn.transaction(isolation="repeatable_read", readonly=True):
        found = await standing(conn)
        pieces = await conn.fetch(store.SQL["relook_pieces"])
    waits = found.writer and {"process": found.writer, "since": stamp(found.writing_since)}
    return {
        "news": found.news,
        "news_since": stamp(found.news_since),
        "waits_for": waits,
        "gifts": found.gifts,
        "gifts_since": stamp(found.gifts_since),
        "of": {row["what"]: row["gifts"] for row in pieces},
    }


def lines(shape: dict[str, Any]) -> list[str]:
    told = [f"{count:,} gifts to be judged again: {what}" for what, count in shape["of"].items()]
    if shape["news"]:
        told.append(f"{shape['news']:,} news not taken up yet, the oldest of {shape['news_since']}")
    if shape["waits_for"]:
        told.append(
            "it waits for the transaction of process {process}, which writes since {since}".format(**shape["waits_for"])
        )
    return told or ["nothing is to be judged again"]
