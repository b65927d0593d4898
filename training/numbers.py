"""A history as integers, for the kernels: times in microseconds, orgs and keys as dense codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from detector.feature_table import CONTEXTS, LABELLED, LARGEST, YOUNG_S
from training import context
from training.kernels import I64, NONE, Bools, Grouped, grouped

NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Source:
    """Whose gifts an aggregate is about: the gifts that ask by the key they ask about, that key's gifts, and the key
    of each gift, which makes it one of that key's gifts (NONE: of no key's)."""

    asking: Grouped
    events: Grouped
    key: I64
    keys: int


@dataclass(frozen=True, slots=True)
class Columns:
    """By row. `label_at` is NEVER where no label is; `taught` tells the gifts that count for later ones."""

    at: I64
    amount: I64
    sender: I64
    recipient: I64
    orgs: int
    taught: Bools
    young: Bools
    promo: I64 | None
    labelled: bool
    fraud: I64
    label_at: I64
    sources: dict[str, Source]


def columns_of(rows: pl.DataFrame, known: set[str]) -> Columns:
    """The rows as `context.read` gives them, as far as their columns are `known`; rows out of order are refused."""
    at = integers(rows["at"])
    if (at[1:] < at[:-1]).any():
        raise ValueError("the rows are not in order of time: sort them by `at`, keeping the order of ties")
    sender, recipient, orgs = parties(rows["sender"], rows["recipient"])
    taught = np.array(context.taught(rows).to_numpy())
    labelled = known.issuperset(LABELLED)
    fraud, label_at = known_labels(rows, at) if labelled else (np.zeros_like(at), np.full_like(at, NEVER))
    youth = np.array((rows["sender_age_s"] < YOUNG_S).fill_null(False).to_numpy()) if "sender_age_s" in known else None
    promo = integers(rows["promo_amount"].fill_null(0).clip(0, LARGEST)) if "promo_amount" in known else None
    sources = party_sources(sender, recipient, orgs, taught, tried="verdict" in known)
    sources |= {name: context_source(rows[name], taught) for name in CONTEXTS if name in known}
    return Columns(
        at=at,
        amount=np.minimum(integers(rows["amount"]), LARGEST),
        sender=sender,
        recipient=recipient,
        orgs=orgs,
        taught=taught,
        young=np.zeros(len(at), np.bool_) if youth is None else youth,
        promo=promo,
        labelled=labelled,
        fraud=fraud,
        label_at=label_at,
        sources=sources,
    )


def party_sources(sender: I64, recipient: I64, orgs: int, taught: Bools, *, tried: bool) -> dict[str, Source]:
    """Of what both parties sent and were sent; with `tried` also of all that they tried and were offered."""
    by_sender, by_recipient = (grouped(key, orgs) for key in (sender, recipient))
    sent, received = by_sender, by_recipient
    if not taught.all():
        sent, received = (grouped(np.where(taught, key, NONE), orgs) for key in (sender, recipient))
    found = {
        "sender": Source(by_sender, sent, sender, orgs),
        "sender_received": Source(by_sender, received, recipient, orgs),
        "recipient": Source(by_recipient, received, recipient, orgs),
        "recipient_sent": Source(by_recipient, sent, sender, orgs),
    }
    if tried:
        found["sender_tried"] = Source(by_sender, by_sender, sender, orgs)
        found["recipient_tried"] = Source(by_recipient, by_recipient, recipient, orgs)
    return found


def context_source(names: pl.Series, taught: Bools) -> Source:
    key, keys = codes(names)
    return Source(grouped(key, keys), grouped(np.where(taught, key, NONE), keys), key, keys)


def integers(column: pl.Series) -> I64:
    """A copy: Polars' own memory is read-only, and for that a kernel would be compiled once more."""
    return np.array(column.to_physical().cast(pl.Int64).to_numpy(), dtype=np.int64)


def parties(sender: pl.Series, recipient: pl.Series) -> tuple[I64, I64, int]:
    """Dense codes of both parties, and how many orgs there are."""
    code, orgs = codes(pl.concat([sender.alias("org"), recipient.alias("org")]))
    return code[: len(sender)], code[len(sender) :], orgs


def codes(names: pl.Series) -> tuple[I64, int]:
    """Dense codes of names, NONE where there is none, and how many names there are."""
    distinct = names.drop_nulls().unique()
    return integers(names.cast(pl.Enum(distinct)).to_physical().cast(pl.Int64).fill_null(NONE)), len(distinct)


def known_labels(rows: pl.DataFrame, at: I64) -> tuple[I64, I64]:
    """Each gift's fraud, and when that was known: never before the gift itself, NEVER unless both are given."""
    told = rows.select(pl.all_horizontal(pl.col(LABELLED).is_not_null())).to_series().to_numpy()
    label_at = integers(rows["label_at"].to_physical().fill_null(NEVER))
    return integers(rows["fraud"].fill_null(False)), np.where(told, np.maximum(label_at, at), NEVER)
