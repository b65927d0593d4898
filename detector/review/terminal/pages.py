"""The queue as far as it was read: pages in the service's order, each case once. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from detector.case_shapes import Case, CasePage


@dataclass(slots=True)
class Pages:
    """`rows` is the queue, `place` where each case is in it; `cursors[n]` asks for page n."""

    pages: list[list[Case]] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=lambda: [None])
    rows: list[Case] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)
    swept: int = 0

    @property
    def more(self) -> bool:
        """True while there are cases beyond what was read."""
        return len(self.cursors) > len(self.pages)

    def put(self, number: int, page: CasePage) -> None:
        """A page as it was read just now. A full one only moves where the next begins; a last one ends the queue."""
        self.pages[number : number + 1] = [page.cases]
        if page.next is None:
            del self.pages[number + 1 :], self.cursors[number + 1 :]
        else:
            self.cursors[number + 1 : number + 2] = [page.next]
        self.flatten()

    def sweep(self) -> int:
        """The page to read again next: after the first, which is read every time, one of the others in turn."""
        self.swept = self.swept + 1 if self.swept + 1 < len(self.pages) else 0
        return self.swept

    def renew(self, case: Case) -> None:
        """A newer reading of one case, wherever it stands; one that ended goes with the next reading of its page."""
        at = self.place.get(case.id)
        if at is None or self.rows[at].version > case.version:
            return
        self.rows[at] = case
        for page in self.pages:
            for number, one in enumerate(page):
                if one.id == case.id:
                    page[number] = case

    def flatten(self) -> None:
        """Pages are read at different moments: a case that moved from one to another counts where it stands first."""
        self.place = {}
        self.rows = []
        for page in self.pages:
            for case in page:
                if case.id not in self.place:
                    self.place[case.id] = len(self.rows)
                    self.rows.append(case)
