"""Labels: what became known of gifts. Law: told once, at a moment that no decision of its parties has passed yet.

That moment is the database's clock under the locks of every key that the gift named, and later than anything on record
of them; so a decision knows all of a label or nothing of it, live as over a history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg

from detector import store
from detector.contract import Label, Labelled
from detector.errors import GiftUnknown, LabelConflict
from detector.gift import stamp
from detector.log import Told

Answer = Labelled | LabelConflict | GiftUnknown


async def note(conn: asyncpg.Connection, told: Sequence[tuple[str, Label]], author: str) -> list[Answer]:
    """Note labels, each with the id that its gift has here; one answer each. Inside a transaction, whose last act is to
    tell the log of their `events`."""
    gifts = list(dict.fromkeys(gift for gift, _ in told))
    judged = await conn.fetch(store.SQL["label_gifts"], [f"{gift}.1" for gift in gifts])
    keys = sorted({key for row in judged for key in keys_of(row)})
    await store.lock(conn, keys)
    first: dict[str, Label] = {}
    for gift, label in told:
        first.setdefault(gift, label)
    columns = list(first), [one.fraud for one in first.values()], [one.source for one in first.values()]
    added = await conn.fetch(
        store.SQL["label_add"], *columns, author, [key[0] for key in keys], [key[2:] for key in keys]
    )
    news = {row["gift_id"] for row in added}
    known = {row["gift_id"]: row for row in await conn.fetch(store.SQL["labels"], gifts)}
    return [answer(gift, label, known.get(gift), gift in news) for gift, label in told]


def events(told: Sequence[tuple[str, Label]], answers: Sequence[Answer], author: str) -> list[Told]:
    """What the log hears of labels: of each that was news, once."""
    news = {gift: one for (gift, _), one in zip(told, answers, strict=True) if isinstance(one, Labelled) and one.news}
    return [
        Told("label.told", gift, author, {"fraud": one.fraud, "source": one.source, "label_at": one.label_at})
        for gift, one in news.items()
    ]


def keys_of(row: Any) -> list[str]:
    columns = {"o:": ("sender", "recipient"), "i:": ("ip",), "d:": ("device",), "f:": ("fingerprint",)}
    named = [(prefix, row[name]) for prefix, names in columns.items() for name in names]
    return [prefix + value for prefix, value in named if value is not None]


def answer(gift: str, label: Label, row: Any, news: bool) -> Answer:
    """How a label stands, now that it is known or was before."""
    if row is None:
        return GiftUnknown(f"no gift {label.gift!r} was judged here; label gifts by the id that they were judged under")
    if row["fraud"] is not label.fraud:
        said = "fraud" if row["fraud"] else "good"
        when = f"{row['author']} said so on {stamp(row['label_at'])} ({row['source']})"
        return LabelConflict(f"gift {label.gift!r} is known as {said} and stays so: {when}")
    return Labelled(label.gift, row["fraud"], stamp(row["label_at"]), row["source"], news)
