"""What asks before something happens: the confirmation of a ruling, a line or a page of text, the help."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static, TextArea

from detector.review.plans import Plan
from detector.review.terminal.keys import page
from detector.review.told import Ink

MOST_SHOWN = 200


# The words given, and the orgs chosen.
Given = tuple[str, tuple[str, ...]]


class Dialog(ModalScreen[Given | None]):
    """Answers with the words given and the orgs chosen, or with None where it was left by Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, ink: Ink) -> None:
        super().__init__()
        self.ink = ink


class Confirm(Dialog):
    """Amount, orgs and what will happen; done only with a reason and Enter."""

    def __init__(self, plan: Plan, first: str | None, others: tuple[str, ...], ink: Ink) -> None:
        super().__init__(ink)
        self.plan, self.first, self.others = plan, first, others

    def compose(self) -> ComposeResult:
        plan, ink = self.plan, self.ink
        with Vertical(classes="dialog"):
            grave = plan.act in ("block", "freeze")
            yield Static(Text(plan.title, f"bold {ink.bad if grave else ink.accent}"), classes="title")
            if plan.act == "freeze":
                yield Choice(plan.orgs, self.others, ink)
            else:
                with VerticalScroll(classes="lines", can_focus=len(plan.lines) > 5):
                    yield Static(self.lines())
            yield Static(self.effects(), classes="effects")
            yield Input(placeholder="why, for the audit", max_length=4_000, id="why")
            yield Static(hint("enter", "does it", "esc", "leaves everything as it is", ink), classes="hint")

    def lines(self) -> Text:
        """The gifts, amounts under one another."""
        shown = self.plan.lines[:MOST_SHOWN]
        room = max(len(parties) for parties, _ in shown)
        wide = max(len(amount) for _, amount in shown)
        told = [f"{parties:{room}}  {amount:>{wide}}" for parties, amount in shown]
        text = Text("\n".join(told), self.ink.ink)
        if len(self.plan.lines) > MOST_SHOWN:
            text.append(f"\nand {len(self.plan.lines) - MOST_SHOWN} more", self.ink.soft)
        return text

    def effects(self) -> Text:
        text = Text()
        if self.first:
            text.append(self.first + "\n", self.ink.warn)
        return text.append("\n".join(self.plan.effects), self.ink.soft)

    def on_mount(self) -> None:
        self.query_one("#why", Input).focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        why = event.value.strip()
        freezes = self.plan.act == "freeze"
        orgs = tuple(self.query_one(Choice).chosen) if freezes else ()
        missing = "Say why first." if not why else "Choose an org: tab, then space." if freezes and not orgs else ""
        if missing:
            self.query_one(".hint", Static).update(Text(missing, f"bold {self.ink.warn}"))
        else:
            self.dismiss((why, orgs))


class Choice(Static, can_focus=True):
    """Orgs to choose from: up and down, space turns one on or off."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("space", "turn", show=False),
    ]

    def __init__(self, chosen: tuple[str, ...], others: tuple[str, ...], ink: Ink) -> None:
        super().__init__(id="orgs")
        self.orgs, self.chosen, self.at, self.ink = (*chosen, *others), list(chosen), 0, ink

    def render(self) -> Text:
        """Seven at most, around the one under the cursor."""
        text = Text(no_wrap=True)
        first = max(0, min(self.at - 3, len(self.orgs) - 7))
        for place, org in list(enumerate(self.orgs))[first : first + 7]:
            here = place == self.at and self.has_focus
            text.append("▶" if here else " ", self.ink.accent)
            text.append("☑ " if org in self.chosen else "☐ ", self.ink.accent)
            text.append(org + "\n", f"bold {self.ink.ink}" if org in self.chosen else self.ink.soft)
        text.right_crop(1)
        return text.append("\n…", self.ink.soft) if first + 7 < len(self.orgs) else text

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_move(self, by: int) -> None:
        self.at = max(0, min(self.at + by, len(self.orgs) - 1))
        self.refresh()

    def action_turn(self) -> None:
        org = self.orgs[self.at]
        self.chosen = [one for one in self.orgs if (one in self.chosen) != (one == org)]
        self.refresh()


class Line(Dialog):
    """One line of text; without a placeholder only a yes is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "yes", show=False)]

    def __init__(self, title: str, placeholder: str, words: str, ink: Ink) -> None:
        super().__init__(ink)
        self.title_words, self.placeholder, self.words = title, placeholder, words

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(self.title_words, f"bold {self.ink.accent}"), classes="title")
            if self.words:
                yield Static(Text(self.words, self.ink.soft), classes="effects")
            if self.placeholder:
                yield Input(placeholder=self.placeholder, max_length=4_000, id="why")
            yield Static(hint("enter", "does it", "esc", "leaves everything as it is", self.ink), classes="hint")

    def action_yes(self) -> None:
        if not self.placeholder:
            self.dismiss(("", ()))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss((event.value.strip(), ()))


class Page(Dialog):
    """A text of many lines."""

    # Not a priority binding: it would overtake letters that were typed before it.
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "keep", show=False)]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text("Note", f"bold {self.ink.accent}"), classes="title")
            yield TextArea(id="note", tab_behavior="focus")
            yield Static(hint("^s", "keeps it", "esc", "throws it away", self.ink), classes="hint")

    def action_keep(self) -> None:
        text = self.query_one("#note", TextArea).text.strip()
        if text:
            self.dismiss((text, ()))


class Help(Dialog):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,f1,q", "dismiss(None)", show=False),
        Binding("j,down", "down", show=False),
        Binding("k,up", "up", show=False),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog help"):
            yield Static(Text("Lockgate review: keys", f"bold {self.ink.accent}"), classes="title")
            with VerticalScroll(classes="page"):
                yield Static(page(self.ink))
            yield Static(hint("↑↓", "scroll", "esc", "back", self.ink), classes="hint")

    def on_mount(self) -> None:
        self.query_one(".page").focus()

    def action_down(self) -> None:
        self.query_one(".page").scroll_down(animate=False)

    def action_up(self) -> None:
        self.query_one(".page").scroll_up(animate=False)


def hint(one: str, does: str, other: str, leaves: str, ink: Ink) -> Text:
    text = Text(one, f"bold {ink.accent}").append(f" {does}    ", ink.soft)
    return text.append(other, f"bold {ink.accent}").append(f" {leaves}", ink.soft)
