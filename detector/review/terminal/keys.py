"""Every key of the terminal in one table: what it does, what the bottom line calls it, and what the help says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from detector.review.told import Ink


@dataclass(frozen=True, slots=True)
class Key:
    """`shown` is how the key is written, `label` its name in the bottom line (none: only in the help)."""

    keys: str
    action: str
    shown: str
    label: str
    words: str
    scope: str = "cases:read"


GROUPS: dict[str, tuple[Key, ...]] = {
    "The case": (
        Key("c", "claim", "c", "claim", "claim the case; nobody else can rule on it while you hold it", "cases:write"),
        Key("u", "unclaim", "u", "", "hand it back", "cases:write"),
        Key("n", "note", "n", "note", "write a note", "cases:write"),
        Key("e", "escalate", "e", "", "escalate it to a lead, with a reason", "cases:write"),
        Key("g", "assign", "g", "", "give it to somebody (a lead's key)", "cases:assign"),
    ),
    "Rulings: on the marked gifts, by default on all that wait": (
        Key("r", "rule('release')", "r", "release", "release: the gift goes on through the lock", "cases:write"),
        Key("b", "rule('block')", "b", "block", "block: back to the sender, remembered as fraud", "cases:write"),
        Key("t", "rule('return')", "t", "return", "return: back to the sender, nothing remembered", "cases:write"),
        Key("f", "rule('freeze')", "f", "freeze", "freeze orgs of the case", "cases:write"),
        Key("y", "second('confirm')", "y", "", "confirm what another person proposed", "cases:write"),
        Key("x", "second('refuse')", "x", "", "refuse it", "cases:write"),
    ),
    "Gifts of the case": (
        Key("left_square_bracket", "gift(-1)", "[", "", "the gift before: why, timeline and graph are of this one"),
        Key("right_square_bracket", "gift(1)", "]", "", "the gift after"),
        Key("space", "mark", "space", "", "mark the gift for a ruling, or unmark it"),
        Key("a", "mark_all", "a", "", "mark every waiting gift, or none"),
    ),
    "Looking": (
        Key("1", "section(0)", "1", "", "why it was held, and what would have changed it"),
        Key("2", "section(1)", "2", "", "timeline of its parties"),
        Key("3", "section(2)", "3", "", "graph: who gave to whom, two steps out"),
        Key("4", "section(3)", "4", "", "gifts"),
        Key("5", "section(4)", "5", "", "notes and rulings"),
        Key("6", "section(5)", "6", "", "audit"),
        Key("right,l", "turn(1)", "→ l", "", "the next of these"),
        Key("left,h", "turn(-1)", "← h", "", "the one before"),
        Key("z", "zoom", "z", "", "the case alone, or with the queue"),
        Key("tab", "other", "tab", "", "from the queue to the case and back"),
        Key("ctrl+d", "scroll(1)", "^d", "", "scroll the case down, wherever you are"),
        Key("ctrl+u", "scroll(-1)", "^u", "", "scroll it up"),
    ),
    "The queue": (
        Key("full_stop", "next", ".", "next", "the next case that nobody else holds"),
        Key("slash", "find", "/", "find", "find: sender:acme min:500 older:2h rule:shared_ip kind:sample mine …"),
        Key("escape", "calm", "esc", "", "out of the find line; from what was found back to the whole queue"),
        Key("m", "mine", "m", "", "only mine, or all"),
        Key("o", "order", "o", "", "order: by priority, by deadline, by age"),
        Key("R", "reload", "R", "", "read everything again, now"),
    ),
    "The rest": (
        Key("T", "look", "T", "", "light or dark"),
        Key("question_mark,f1", "help", "?", "help", "this page"),
        Key("q", "leave", "q", "quit", "leave; claims stay yours until they run out"),
    ),
}
EVERY = tuple(key for group in GROUPS.values() for key in group)


def bottom(width: int, may: Callable[[str], bool], ink: Ink) -> Text:
    """The bottom line: the keys that have a label and that this person may use."""
    told = [key for key in EVERY if key.label and may(key.scope)]
    text = Text(no_wrap=True, overflow="ellipsis")
    for key in told:
        text.append(f" {key.shown}", f"bold {ink.accent}").append(f" {key.label} ", ink.soft)
    return text if text.cell_len <= width else tight(told, ink)


def tight(told: list[Key], ink: Ink) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for key in told:
        text.append(key.shown, f"bold {ink.accent}").append(f" {key.label} ", ink.soft)
    return text


def page(ink: Ink) -> Table:
    """The help: every key there is."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style=f"bold {ink.ink}", no_wrap=True)
    table.add_column(style=ink.ink)
    for group, keys in GROUPS.items():
        table.add_row("", Text(group, f"bold {ink.accent}"))
        for key in keys:
            table.add_row(key.shown, key.words)
        table.add_row("", "")
    table.add_row("", Text("In the queue", f"bold {ink.accent}"))
    table.add_row("↑↓ jk", "up and down; PgUp, PgDn, Home and End too; enter goes to the case")
    for sign, words in (("⚑", "waits for a second person"), ("▲", "escalated"), ("◇", "a sample of approved gifts")):
        table.add_row(Text(sign, ink.warn), words)
    table.add_row("", Text("\nTimes are UTC, amounts credits. A score says how suspicious, from 0 to 1.", ink.soft))
    return table
