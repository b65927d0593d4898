"""How it looks, in the light and in the dark."""

from __future__ import annotations

from textual.theme import Theme

from detector.review.told import DARK, LIGHT, Ink

LOOKS: dict[str, Ink] = {"lockgate-dark": DARK, "lockgate-light": LIGHT}
THEMES = (
    Theme(
        "lockgate-dark", primary="#2dd4bf", secondary="#7dd3fc", accent="#2dd4bf", foreground="#dbe7e6",
        background="#0b1416", surface="#0f1c1f", panel="#16292c", success="#4ade80", warning="#fbbf24",
        error="#f87171", dark=True, variables={"line": "#25403f", "input-cursor-background": "#2dd4bf"},
    ),
    Theme(
        "lockgate-light", primary="#0f766e", secondary="#0369a1", accent="#0f766e", foreground="#1f2a37",
        background="#fbfdfc", surface="#f1f6f5", panel="#e3edeb", success="#15803d", warning="#a14a05",
        error="#b91c1c", dark=False, variables={"line": "#b7cbc8", "input-cursor-background": "#0f766e"},
    ),
)  # fmt: skip

CSS = """
Screen { background: $background; color: $foreground; }
#top { height: 1; background: $panel; padding: 0 1; }
#columns { height: 1fr; }
#left { width: 30; border-right: vkey $line; }
#heading { height: 1; }
#queue { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
    background: $background; overflow-x: hidden; }
#case { width: 1fr; padding: 0 0 0 1; }
#head { height: 4; padding: 0 1 0 0; }
#tabs { height: 1; margin: 1 0 0 0; }
#body { height: 1fr; scrollbar-size-vertical: 1; scrollbar-gutter: stable; padding: 0 1 0 0; background: $background; }
#text { width: 100%; height: auto; }
.short #tabs { margin: 0; }
.alone #left { display: none; }
#find { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
.finding #find { display: block; }
#said { height: auto; max-height: 3; padding: 0 1; }
#keys { height: 1; background: $panel; }
* { scrollbar-color: $line; scrollbar-color-hover: $primary; scrollbar-color-active: $primary;
    scrollbar-background: $background; scrollbar-background-hover: $background;
    scrollbar-background-active: $background; }
Dialog { align: center middle; background: $background 60%; }
.dialog { width: 90%; max-width: 84; height: auto; max-height: 95%; padding: 0 2; background: $surface;
    border: round $primary; }
.dialog.help { height: 95%; }
.page { height: 1fr; background: $surface; scrollbar-background: $surface; }
.title { margin: 0 0 1 0; }
.lines { height: auto; max-height: 7; margin: 0 0 1 0; background: $surface; }
.effects { margin: 0 0 1 0; }
.hint { margin: 0; }
.dialog Input { border: none; height: 1; background: $panel; padding: 0 1; margin: 0 0 1 0; }
.dialog TextArea { height: 8; border: none; background: $panel; padding: 0 1; margin: 0 0 1 0; }
#orgs { height: auto; margin: 0 0 1 0; }
.short .lines { max-height: 5; }
"""
