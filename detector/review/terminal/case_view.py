"""The case in hand: its head with the clock, and one section of it at a time."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from detector.case_shapes import Case, CaseFile, CaseGift
from detector.explain_shapes import Explanation
from detector.review import drawing, graph, sections, why
from detector.review.told import DARK, Ink, credits

SECTIONS = ("why", "timeline", "graph", "gifts", "notes", "audit")
EXPLAINED = SECTIONS[:3]
GIFTS = SECTIONS.index("gifts")


class Body(VerticalScroll, can_focus=True):
    """What scrolls; the keys to the left and right turn sections, so they are not its own."""

    BINDINGS = [("j", "scroll_down"), ("k", "scroll_up"), ("G", "scroll_end")]  # noqa: RUF012 (Textual's own form)

    def action_scroll_down(self) -> None:
        if not self.moved(1):
            super().action_scroll_down()

    def action_scroll_up(self) -> None:
        if not self.moved(-1):
            super().action_scroll_up()

    def moved(self, by: int) -> bool:
        """Among the gifts, up and down go from one to the next."""
        view = self.parent
        if isinstance(view, CaseView) and view.section == GIFTS:
            view.turn_gift(by)
            return True
        return False


class CaseView(Vertical):
    """Shows what it is given. `at` is the gift that is explained, `marked` are those to rule on."""

    def __init__(self) -> None:
        super().__init__(id="case")
        # Kept, not looked for: an answer may arrive while the screen is being taken down.
        self.head, self.tabs, self.words, self.body = (
            Static(id="head"), Static(id="tabs"), Static(id="text"), Body(id="body"),
        )  # fmt: skip
        self.file: CaseFile | None = None
        self.brief: Case | None = None
        self.blank = False
        self.told: dict[str, Explanation | str] = {}
        self.section = 0
        self.at = 0
        self.marked: frozenset[str] = frozenset()
        self.ink: Ink = DARK
        self.me: str | None = None
        self.now = datetime.now(UTC)

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.tabs
        with self.body:
            yield self.words

    @property
    def gift(self) -> CaseGift | None:
        """The gift that is explained."""
        gifts = self.file.gifts if self.file else []
        return gifts[self.at] if self.at < len(gifts) else None

    @property
    def case(self) -> str | None:
        return self.file.case.id if self.file else None

    # --- what is shown ---

    def wait_for(self, case: Case) -> None:
        """Another case is on its way: its head is known from the queue, the old body must not be mistaken for it."""
        self.brief = case
        if self.case != case.id:
            if self.file is not None or not self.blank:
                self.words.update("")
                self.blank = True
            self.file, self.told, self.marked, self.at = None, {}, frozenset(), 0
        self.draw_head()
        self.draw_tabs()

    def show(self, file: CaseFile) -> None:
        """A reading of the case. Of a new one, the weightiest gift that waits is explained first."""
        held = self.gift.id if self.gift and self.case == file.case.id else None
        self.file, self.brief = file, file.case
        waiting = {gift.id for gift in file.gifts if gift.standing == "waiting"}
        self.marked &= waiting
        places = {gift.id: place for place, gift in enumerate(file.gifts)}
        first = sections.weightiest(file)
        self.at = places[held] if held in places else file.gifts.index(first[0]) if first else 0
        self.draw()

    def explain(self, gift: str, told: Explanation | str) -> None:
        """The explanation of a gift, or why there is none."""
        self.told[gift] = told
        if self.gift is not None and self.gift.id == gift and SECTIONS[self.section] in EXPLAINED:
            self.draw_body()

    def empty(self, words: str) -> None:
        self.file, self.brief, self.told = None, None, {}
        self.head.update("", layout=False)
        self.tabs.update("", layout=False)
        self.words.update(Text(words, self.ink.soft))
        self.blank = False

    # --- turning ---

    def turn_to(self, section: int) -> None:
        self.section = section % len(SECTIONS)
        self.body.scroll_home(animate=False)
        self.draw()

    def turn_gift(self, by: int) -> None:
        if self.file and self.file.gifts:
            self.at = max(0, min(self.at + by, len(self.file.gifts) - 1))
            self.draw()
            if self.section == GIFTS:
                body = self.body
                top = body.scroll_offset.y
                line = self.at * 2
                if line < top or line + 2 > top + body.size.height:
                    body.scroll_to(y=line if line < top else line + 2 - body.size.height, animate=False)
            else:
                self.body.scroll_home(animate=False)

    def mark(self) -> None:
        gift = self.gift
        if gift is not None and gift.standing == "waiting":
            self.marked ^= {gift.id}
            self.draw()

    def mark_all(self) -> None:
        waiting = (
            frozenset(gift.id for gift in self.file.gifts if gift.standing == "waiting") if self.file else frozenset()
        )
        self.marked = frozenset() if self.marked == waiting else waiting
        self.draw()

    # --- drawing ---

    def on_resize(self) -> None:
        self.draw()

    def tick(self, now: datetime) -> None:
        self.now = now
        self.draw_head()

    def draw(self) -> None:
        self.draw_head()
        self.draw_tabs()
        self.draw_body()

    def draw_head(self) -> None:
        if self.brief is not None:
            width = max(20, self.size.width - 2)
            rulings = self.file.rulings if self.file else ()
            told = sections.head(self.brief, rulings, self.now, self.me, width, self.ink)
            self.head.update(told, layout=False)

    def draw_tabs(self) -> None:
        if self.brief is None:
            return
        ink, text = self.ink, Text(no_wrap=True)
        for number, name in enumerate(SECTIONS):
            here = number == self.section
            text.append(f"{number + 1}", ink.soft)
            text.append(name, f"bold underline {ink.accent}" if here else ink.ink).append(" ")
        text.append(self.which(), ink.soft)
        self.tabs.update(text, layout=False)

    def which(self) -> str:
        """Which gift of how many; or how many are marked."""
        many = len(self.file.gifts) if self.file else 0
        if self.marked:
            return f"☑{len(self.marked)}/{many}"
        return f"[{self.at + 1}/{many}]" if many > 1 else ""

    def draw_body(self) -> None:
        if self.file is not None:
            width = max(20, self.body.size.width - 3)
            self.words.update(self.text(self.file, width))

    def text(self, file: CaseFile, width: int) -> Text:
        name, now, ink = SECTIONS[self.section], self.now, self.ink
        if name == "gifts":
            return sections.gifts(file, self.at, self.marked, now, width, ink)
        if name == "notes":
            return sections.notes(file, now, width, ink)
        if name == "audit":
            return sections.audit(file, now, width, ink)
        return self.explained(name, width)

    def explained(self, name: str, width: int) -> Text:
        gift, ink = self.gift, self.ink
        if gift is None:
            return Text("This case holds no gift.", ink.soft)
        told = self.told.get(gift.id)
        if not isinstance(told, Explanation):
            return self.unexplained(gift, told, width)
        if name == "why":
            return why.why(told, gift, width, ink)
        if name == "timeline":
            return sections.timeline(told.timeline, gift.id, self.now, width, ink)
        return graph.drawn(told.graph, gift.sender, gift.recipient, width, ink)

    def unexplained(self, gift: CaseGift, fault: str | None, width: int) -> Text:
        """What the case itself knows of the gift, while the explanation is on its way or cannot be had."""
        ink = self.ink
        text = Text(f"{credits(gift.amount)} credits", f"bold {ink.ink}")
        text.append(f"  {gift.sender} → {gift.recipient}\n", ink.ink)
        text.append(f"{gift.verdict}: {', '.join(gift.reasons)}\n\n", ink.warn)
        drawing.wrapped(text, fault or "reading why …", width, ink.soft, indent=0)
        return text
