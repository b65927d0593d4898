"""What is done to the case in hand. Law: nothing is shown as done that the service did not answer for."""

from __future__ import annotations

from collections.abc import Callable

from detector.case_shapes import CaseFile
from detector.review import plans
from detector.review.errors import REFUSED, Conflict, ReviewError, Unreachable
from detector.review.plans import Plan
from detector.review.terminal.aside import aside
from detector.review.terminal.dialogs import Confirm, Given, Line, Page
from detector.review.terminal.reading import Reading
from detector.review.told import holder, parsed
from detector.shapes import Act


class Acting(Reading):
    """Every key that changes something, each through a dialog where it cannot be taken back."""

    # --- acting ---

    def act(self, ask: Callable[[str], CaseFile], told: Callable[[CaseFile], str]) -> None:
        """Do one thing to the case in hand, show the case as it then is, and say what came of it."""
        case = self.queue.chosen
        if case is None or self.acting:
            return
        self.acting = True
        self.say("…", "soft")
        self.run_worker(self.done(case, ask, told), group="act")

    async def done(self, case: str, ask: Callable[[str], CaseFile], told: Callable[[CaseFile], str]) -> None:
        try:
            file = await aside(lambda: ask(case))
            self.say(told(file))
            if self.queue.chosen == case:
                self.take(file)
        except Conflict as error:
            self.say(f"Not done: {error.detail}", "warn")
            self.turned.set()
        except Unreachable as error:
            sure = error.code == REFUSED
            words = error.detail if sure else f"{error.detail}. The case is read again; look before you repeat it."
            self.say(f"{'Not' if sure else 'Perhaps not'} done: {words}", "bad")
            self.turned.set()
        except ReviewError as error:
            self.say(f"Not done: {error.detail}", "bad")
        finally:
            self.acting = False
        self.hurry.set()

    def in_hand(self, again: Callable[[], None]) -> CaseFile | None:
        """The case as it was read; while it is being read, `again` is kept for the moment it is there."""
        if self.view.file is not None and self.view.case == self.queue.chosen:
            return self.view.file
        if self.queue.chosen is not None and self.pending is None:
            self.pending = (self.queue.chosen, again)
            self.say("The case is being read …", "soft")
        return None

    def action_claim(self) -> None:
        file = self.in_hand(self.action_claim)
        if file:
            self.act(lambda case: self.desk.claim(case, file.case.version), claimed)

    def action_unclaim(self) -> None:
        if self.in_hand(self.action_unclaim):
            self.act(self.desk.unclaim, lambda _: "Handed back: anybody may claim it.")

    def action_note(self) -> None:
        def on(text: str) -> None:
            self.act(lambda case: self.desk.note(case, text), lambda _: "Noted.")

        if self.in_hand(self.action_note):
            self.answer(Page(self.ink), on)

    def action_escalate(self) -> None:
        def on(why: str) -> None:
            self.act(lambda case: self.desk.escalate(case, why), lambda _: "Escalated: leads see it marked ▲.")

        if self.in_hand(self.action_escalate):
            words = "The leads are asked to look. The case keeps its place and its clock."
            self.answer(Line("Escalate this case", "why, for the audit", words, self.ink), on)

    def action_assign(self) -> None:
        def on(name: str) -> None:
            self.act(lambda case: self.desk.assign(case, name), lambda _: f"Given to {name}.")

        if self.in_hand(self.action_assign):
            self.answer(Line("Give this case to", "the name on their key", "", self.ink), on)

    def action_rule(self, act: Act) -> None:
        file = self.in_hand(lambda: self.action_rule(act))
        if file is None:
            return
        try:
            plan = plans.plan(file, act, [gift.id for gift in file.gifts if gift.id in self.view.marked])
        except ReviewError as error:
            self.say(error.detail, "warn")
            return
        by = holder(file.case, self.now)
        first = "You have not claimed it: this claims it first." if by is None else None
        if by is not None and self.me is not None and by != self.me.name:
            first = f"{by} has claimed it: only a lead may rule on it now."
        others = tuple(dict.fromkeys(gift.recipient for gift in file.gifts if gift.recipient not in plan.orgs))

        def ruled(answer: Given | None) -> None:
            self.ruled(file, plan, by, answer)

        self.push_screen(Confirm(plan, first, others, self.ink), ruled)

    def ruled(self, file: CaseFile, plan: Plan, by: str | None, answer: Given | None) -> None:
        if answer is None:
            self.say("Left as it is.", "soft")
            return
        why, orgs = answer

        def rule(case: str) -> CaseFile:
            if by is None:
                self.desk.claim(case, file.case.version)
            return self.desk.rule(case, plan.act, why, plan.gifts, orgs or None)

        self.view.marked = frozenset()
        self.act(rule, lambda after: plans.done(plans.newest(after, self.me.name if self.me else None)))

    def action_second(self, what: str) -> None:
        file = self.in_hand(lambda: self.action_second(what))
        if file is None:
            return
        try:
            ruling = plans.proposal(file)
        except ReviewError as error:
            self.say(error.detail, "warn")
            return

        def on(why: str) -> None:
            def ask(case: str) -> CaseFile:
                if what == "confirm":
                    return self.desk.confirm(case, ruling.id)
                return self.desk.refuse(case, ruling.id, why)

            self.act(ask, lambda after: plans.done(plans.by_id(after, ruling.id)))

        title, words = f"{what.capitalize()} what {ruling.by} proposed?", plans.proposed(ruling)
        asks = "" if what == "confirm" else "why, for the audit"
        self.answer(Line(title, asks, words, self.ink), on)

    def answer(self, dialog: Line | Page, then: Callable[[str], None]) -> None:
        def told(answer: Given | None) -> None:
            if answer is None:
                self.say("Left as it is.", "soft")
            else:
                then(answer[0])

        self.push_screen(dialog, told)


def claimed(file: CaseFile) -> str:
    until = file.case.claimed_until
    return f"It is yours until {parsed(until):%H:%M} UTC." if until else "It is yours."
