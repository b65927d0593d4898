"""What the drawn parts share: titles, wrapped words, and which colour a word has."""

from __future__ import annotations

import textwrap

from rich.text import Text

from detector.review.told import Ink

VERDICTS = {"approve": "good", "hold": "warn", "block": "bad"}


def spread(line: Text, end: Text, width: int) -> Text:
    """`end` at the right edge; what there is no room for on the left is cut."""
    line.truncate(max(0, width - end.cell_len - 1), overflow="ellipsis", pad=True)
    return line.append(" ").append_text(end)


def title(text: Text, words: str, ink: Ink) -> None:
    text.append("\n" + words + "\n", f"bold {ink.accent}")


def wrapped(text: Text, words: str, width: int, style: str, indent: int = 2) -> None:
    for line in textwrap.wrap(words, max(12, width - indent)):
        text.append(" " * indent + line + "\n", style)


def colour(ink: Ink, table: dict[str, str], word: str, otherwise: str | None = None) -> str:
    tone: str = getattr(ink, table[word]) if word in table else (otherwise or ink.ink)
    return tone
