"""Amounts, spans of time and names as people read them. Pure: the moment is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from detector.case_shapes import Case
from detector.review.filters import CREDIT

MINUTE, HOUR, DAY = 60, 3_600, 86_400
HURRY_S, SOON_S = HOUR, 6 * HOUR
STEPS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


@dataclass(frozen=True, slots=True)
class Ink:
    """The colours of one look: what a text is drawn with, by what it means."""

    ink: str
    soft: str
    accent: str
    good: str
    warn: str
    bad: str
    mark: str


DARK = Ink("#dbe7e6", "#84989a", "#2dd4bf", "#4ade80", "#fbbf24", "#f87171", "on #1d3a3d")
LIGHT = Ink("#1f2a37", "#5b6b76", "#0f766e", "#15803d", "#a14a05", "#b91c1c", "on #cfe5e1")
# The reader's own terminal colours, for plain commands.
PLAIN = Ink("default", "bright_black", "cyan", "green", "yellow", "red", "reverse")


def credits(micro: int) -> str:
    """An amount to the last micro-credit, in credits.

    >>> credits(1_234_500_000), credits(1), credits(-2_000_000)
    ('1,234.5', '0.000001', '-2')
    """
    whole, part = divmod(abs(micro), CREDIT)
    text = f"{'-' if micro < 0 else ''}{whole:,}"
    return text if not part else f"{text}.{part:06d}".rstrip("0")


def brief(micro: int) -> str:
    """An amount in at most five characters, for a column.

    >>> [brief(n * CREDIT) for n in (0, 7, 999, 1_234, 12_345, 999_950, 123_456_789, 10**9)]
    ['0', '7', '999', '1.2k', '12k', '1.0M', '123M', '1.0G']
    >>> brief(500_000), brief(1)
    ('0.5', '<0.1')
    """
    if micro < 1_000 * CREDIT - CREDIT // 2:
        value = Decimal(micro) / CREDIT
        if 0 < value < Decimal("0.05"):
            return "<0.1"
        return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
    for size, letter in STEPS:
        value = Decimal(micro) / CREDIT / size
        if value >= Decimal("0.9995") or letter == "k":
            return f"{value:.1f}{letter}" if value < Decimal("9.95") else f"{value:.0f}{letter}"
    raise AssertionError(micro)


def parsed(at: str) -> datetime:
    """A moment of the API."""
    moment = datetime.fromisoformat(at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def left_s(deadline: str | None, now: datetime) -> float | None:
    return None if deadline is None else (parsed(deadline) - now).total_seconds()


def span(seconds: float | None) -> str:
    """A clock that runs down, in at most seven characters.

    >>> span(200_000), span(11_550), span(59.5), span(0), span(None)
    ('2d 07h', '3h 12m', '59s', 'over', '')
    """
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole <= 0:
        return "over"
    if whole >= DAY:
        return f"{whole // DAY}d {whole % DAY // HOUR:02d}h"
    if whole >= HOUR:
        return f"{whole // HOUR}h {whole % HOUR // MINUTE:02d}m"
    return f"{whole // MINUTE}m {whole % MINUTE:02d}s" if whole >= MINUTE else f"{whole}s"


def clock_ink(seconds: float | None, ink: Ink) -> str:
    if seconds is None:
        return ink.soft
    return ink.bad if seconds < HURRY_S else ink.warn if seconds < SOON_S else ink.ink


def hour(at: str, now: datetime) -> str:
    """When, as short as can be told on that day: by the clock of UTC."""
    moment = parsed(at).astimezone(UTC)
    if moment.date() == now.astimezone(UTC).date():
        return f"{moment:%H:%M:%S}"
    return f"{moment:%d %b %H:%M}" if abs((moment - now).days) < 300 else f"{moment:%Y-%m-%d}"


def some(names: Sequence[str], most: int = 1) -> str:
    """
    >>> some(["acme", "globex", "hooli"]), some(["acme"]), some([])
    ('acme +2', 'acme', '–')
    """
    if not names:
        return "–"
    more = len(names) - most
    return ", ".join(names[:most]) + (f" +{more}" if more > 0 else "")


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "gift"), count(1_200, "gift")
    ('1 gift', '1,200 gifts')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def holder(case: Case, now: datetime) -> str | None:
    """Who holds the case, while the claim counts."""
    if case.claimed_by is None or (left_s(case.claimed_until, now) or 1) <= 0:
        return None
    return case.claimed_by


def bar(share: float, width: int) -> str:
    """A bar in eighths of a cell.

    >>> bar(1, 4), bar(0.5, 3), bar(0, 4)
    ('████', '█▌', '')
    """
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def cut(text: str, width: int) -> str:
    """
    >>> cut("a long name", 6), cut("short", 6)
    ('a lon…', 'short')
    """
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
