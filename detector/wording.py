"""Numbers as people read them: credits, spans of time. For words only; whatever is calculated with stays a number."""

from __future__ import annotations

CREDIT = 1_000_000
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def credits(amount: int) -> str:
    """Micro-credits as credits, exactly.

    >>> credits(1_234_500_000), credits(1), credits(2_000_000)
    ('1,234.5 credits', '0.000001 credits', '2 credits')
    """
    whole, rest = divmod(amount, CREDIT)
    tail = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{whole:,}{tail} credits"


def span(seconds: int) -> str:
    """Seconds by their two largest units.

    >>> span(45), span(3_600), span(90_061), span(0)
    ('45 s', '1 h', '1 d 1 h', '0 s')
    """
    parts: list[tuple[int, str]] = []
    for size, unit in UNITS:
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count) or "0 s"
