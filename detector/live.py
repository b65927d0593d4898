"""The model's primitive columns, live: one gift at a time, from what its two parties remember.

Law 10: bit-equal with the history executor on every column. Nothing is read but the states of the two parties (their
keys are locked) and the digests that their events carry. Time is an argument and never runs backwards for a party.

Order of calls at one moment: labels known by then (`learn`), then `look`, then `remember`. A look may drop what no
later moment can see, and changes nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Protocol

from detector.feature_table import CONTEXTS, LARGEST, PAIR, PLAIN, TABLE, UNUSUAL
from detector.live_context import UNKNOWN, Context
from detector.live_facts import Said, promo, young
from detector.live_graph import Digest, Sight, graph
from detector.live_labels import Label
from detector.live_party import Party
from detector.live_windows import DAY_US, HORIZON_US, WEEK_US, Columns, pair_columns, tried, windows

FEW = 64  # how many events of an org come between two sweeps of what it may forget

# The order of `look`'s columns. The facts of the table are the gift's own; the derived rows come from both.
PRIMITIVES: tuple[str, ...] = tuple(row.name for row in TABLE.values() if row.kind == "aggregate")
# The contexts of a gift, in the order of CONTEXTS; None where it names none.
Contexts = Sequence[Context | None]
NOWHERE: Contexts = (None,) * len(CONTEXTS)
UNSEEN: Columns = UNKNOWN * len(CONTEXTS)
FOUR = 4  # columns of labels of one context


class Given(Protocol):
    """What is remembered of a gift."""

    @property
    def id(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def amount(self) -> int: ...


class Asked(Given, Said, Protocol):
    """What a look needs of a gift."""


def look(
    gift: Asked, sender: Party, recipient: Party, at: int, *, contexts: Contexts = NOWHERE
) -> tuple[Columns, Digest]:
    """The primitive columns of a gift, and the digest that its event is to carry."""
    floor = at - HORIZON_US
    sender.expire(floor)
    recipient.expire(floor)
    amount = min(gift.amount, LARGEST)
    pair = pair_columns(sender.pairs.get(gift.recipient), at)
    plain = sender.habit.plain.read(amount)
    clean = sender.habit.clean.read(amount)
    seen = Sight(sender.funders, sender.recipients, recipient.funders, recipient.recipients)
    own = Digest(plain[-1], clean[-1], fresh=pair[0] == 0, young=young(gift), promo=promo(gift))
    links, digest = graph(gift.sender, gift.recipient, seen, own)
    columns = (
        *activity(sender, recipient, at),
        *pair,
        *plain,
        *clean,
        *marks(sender, recipient, at),
        sender.habit.same_hour(at),
        *known(sender, recipient, at),
        *links,
        *tried(sender.tried, at),
        *tried(recipient.offered, at),
        None if gift.sender_age_s is None else recipient.funders.young,
        None if gift.promo_amount is None else recipient.promo.total(at, WEEK_US),
        *elsewhere(contexts, at),
    )
    return columns, digest


def labels(sender: Party, recipient: Party, at: int, *, contexts: Contexts = NOWHERE) -> Columns:
    """Of the columns that `look` reads, those of labels alone, in the same order: what a later look reads anew."""
    told = [UNKNOWN[:FOUR] if one is None else one.labels(at) for one in contexts]
    return (*known(sender, recipient, at), *(part for columns in told for part in columns))


def remember(
    gift: Given,
    at: int,
    sender: Party,
    recipient: Party,
    digest: Digest | None,
    *,
    contexts: Contexts = (),
    taught: bool = True,
) -> None:
    """Add a gift to both parties and its contexts, with the digest taken when it was judged. Where it was not approved
    (`taught` is false) only attempts move, and the digest may be missing."""
    amount = min(gift.amount, LARGEST)
    for track, other in ((sender.tried, gift.recipient), (recipient.offered, gift.sender)):
        track.add(at, amount, other)
        if len(track.times) % FEW == 0:
            track.forget(at - WEEK_US)
    if not taught:
        return
    if digest is None:
        raise ValueError(f"gift {gift.id!r} teaches but has no digest: give the one that its look returned")
    for context in contexts:
        if context is not None:
            context.add(at, gift.sender, gift.recipient)
    teach(gift, at, sender, recipient, digest)


def teach(gift: Given, at: int, sender: Party, recipient: Party, digest: Digest) -> None:
    """Profiles, windows, links and habits learn of a gift."""
    amount = min(gift.amount, LARGEST)
    sender.sent.add(at, amount, gift.recipient)
    recipient.received.add(at, amount, gift.sender)
    if digest.promo:
        recipient.promo.add(at, digest.promo, None)
    times = sender.pairs.setdefault(gift.recipient, [])
    times.append(at)
    if len(times) > 2 * PAIR:
        del times[:-PAIR]
    sender.habit.add(gift.id, at, amount, digest.excess, digest.clean_excess)
    if digest.excess >= UNUSUAL:
        sender.unusual.append(at)
        recipient.unusual_received.append(at)
    elif digest.excess >= PLAIN:
        sender.mild.append(at)
    recipient.funders.add(gift.sender, at, digest)
    sender.recipients.add(gift.recipient, at, digest)
    for party, track in ((sender, sender.sent), (recipient, recipient.received)):
        if len(track.times) % FEW == 0:
            party.forget(at - HORIZON_US)


def learn(label: Label, sender: Party | None, recipient: Party | None, contexts: Contexts = ()) -> None:
    """Tell those that are remembered of a label; labels come in order of (known_at, order of the gifts). That of a gift
    which did not teach is told, too; its excess is 0."""
    if sender is not None:
        sender.habit.learn(label.gift, label.fraud)
        sender.known_sent.add(label)
    if recipient is not None:
        recipient.known_received.add(label)
    for context in contexts:
        if context is not None:
            context.learn(label)


# --- families ---


def activity(sender: Party, recipient: Party, now: int) -> Columns:
    """Windows of the sender, of what it was sent, of the recipient and of what that sent: the order of the table."""
    return (
        *windows(sender.sent, now),
        *windows(sender.received, now),
        *windows(recipient.received, now),
        *windows(recipient.sent, now),
    )


def known(sender: Party, recipient: Party, now: int) -> Columns:
    """Labels, in the same order."""
    return (
        *sender.known_sent.read(now),
        *sender.known_received.read(now),
        *recipient.known_received.read(now),
        *recipient.known_sent.read(now),
    )


def marks(sender: Party, recipient: Party, now: int) -> Columns:
    """Gifts of the sender that stood out, mildly or more, in 3 d and 14 d; those to the recipient in 7 d."""
    mild, unusual, received = sender.mild, sender.unusual, recipient.unusual_received
    return (
        len(mild) - bisect_right(mild, now - 3 * DAY_US) if mild else 0,
        len(unusual) - bisect_right(unusual, now - 3 * DAY_US) if unusual else 0,
        len(mild) - bisect_right(mild, now - 14 * DAY_US) if mild else 0,
        len(unusual) - bisect_right(unusual, now - 14 * DAY_US) if unusual else 0,
        len(received) - bisect_right(received, now - WEEK_US) if received else 0,
    )


def elsewhere(contexts: Contexts, now: int) -> Columns:
    """What the gift's address, device and means of payment saw."""
    if contexts is NOWHERE:
        return UNSEEN
    ip, device, fingerprint = contexts
    return (
        *(UNKNOWN if ip is None else ip.read(now)),
        *(UNKNOWN if device is None else device.read(now)),
        *(UNKNOWN if fingerprint is None else fingerprint.read(now)),
    )
