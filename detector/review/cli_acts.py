"""`lockgate review claim|unclaim|note|release|block|return|freeze|escalate|assign|confirm|refuse`: what acts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from detector.case_shapes import CaseFile, Ruling
from detector.review import plans
from detector.review.cli_ends import AsJson, CaseId, CaseIds, WhyText, Yes, desk, mended, report
from detector.review.desk import Desk
from detector.review.errors import PROPOSED, ReviewError
from detector.review.plans import Plan
from detector.review.told import credits
from detector.shapes import Act

Gifts = Annotated[list[str] | None, typer.Option("--gift", help="This gift, repeatable; by default all that wait.")]
Claims = Annotated[bool, typer.Option("--claim", help="Claim the case first.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")]
Orgs = Annotated[list[str] | None, typer.Option("--org", help="Freeze this org, repeatable; by default the senders.")]
RulingId = Annotated[str | None, typer.Argument(metavar="[RULING]", help="Which, where the case has several.")]


def claim(case: CaseIds, as_json: AsJson = False) -> None:
    """Claim cases: nobody else can rule on them while you hold them."""
    each(case, as_json, lambda way, one: way.claim(one, way.case(one).case.version), claimed)


def unclaim(case: CaseIds, as_json: AsJson = False) -> None:
    """Hand cases back."""
    each(case, as_json, lambda way, one: way.unclaim(one), lambda file: f"{file.case.id}: handed back")


def note(
    case: CaseId,
    text: Annotated[str, typer.Argument(help="What to note; - reads it from standard input.")],
    as_json: AsJson = False,
) -> None:
    """Write a note."""
    words = sys.stdin.read().strip() if text == "-" else text
    each([case], as_json, lambda way, one: way.note(one, words), lambda file: f"{file.case.id}: noted")


def escalate(case: CaseIds, why: WhyText, as_json: AsJson = False) -> None:
    """Ask the leads to look."""
    each(case, as_json, lambda way, one: way.escalate(one, why), lambda file: f"{file.case.id}: escalated")


def assign(
    case: CaseIds, to: Annotated[str, typer.Option(help="The name on their key.")], as_json: AsJson = False
) -> None:
    """Give cases to somebody; needs a lead's key."""
    each(case, as_json, lambda way, one: way.assign(one, to), lambda file: f"{file.case.id}: for {to}")


def release(
    case: CaseId, why: WhyText, gift: Gifts = None, claim: Claims = False, yes: Yes = False, dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Let held gifts go on through the lock; remembered as good."""
    rule("release", case, why, gift, None, claim, yes, dry_run, as_json)


def block(
    case: CaseId, why: WhyText, gift: Gifts = None, claim: Claims = False, yes: Yes = False, dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give held gifts back to their senders; remembered as fraud."""
    rule("block", case, why, gift, None, claim, yes, dry_run, as_json)


def send_back(
    case: CaseId, why: WhyText, gift: Gifts = None, claim: Claims = False, yes: Yes = False, dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give held gifts back to their senders; nothing is remembered for or against anybody."""
    rule("return", case, why, gift, None, claim, yes, dry_run, as_json)


def freeze(
    case: CaseId, why: WhyText, org: Orgs = None, claim: Claims = False, yes: Yes = False, dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Freeze orgs of the case, by default the senders of the gifts that wait; the gifts stay held."""
    rule("freeze", case, why, None, org, claim, yes, dry_run, as_json)


def confirm(case: CaseId, ruling: RulingId = None, yes: Yes = False, as_json: AsJson = False) -> None:
    """Confirm what another person proposed."""
    second("confirm", case, ruling, yes, as_json, lambda way, one: way.confirm(case, one))


def refuse(case: CaseId, why: WhyText, ruling: RulingId = None, as_json: AsJson = False) -> None:
    """Refuse what another person proposed; its gifts wait on."""
    second("refuse", case, ruling, True, as_json, lambda way, one: way.refuse(case, one, why))


def rule(
    act: Act, case: str, why: str, gifts: list[str] | None, orgs: list[str] | None, claims: bool, yes: bool, dry: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Rule as asked; on a terminal only after a yes to exactly what was shown."""
    with mended(as_json):
        way = desk()
        file = way.case(case)
        plan = plans.plan(file, act, gifts, orgs)
        if dry:
            shape = {"act": act, "gifts": plan.gifts, "orgs": plan.orgs, "amount": plan.amount, "effects": plan.effects}
            report(shape, as_json, told(plan))
            return
        asked(told(plan), yes)
        if claims and file.case.status != "claimed":
            way.claim(case, file.case.version)
        after = way.rule(case, act, why, plan.gifts, plan.orgs or None)
        end(after, plans.newest(after), as_json)


def second(
    verb: str, case: str, ruling: str | None, yes: bool, as_json: bool, ask: Callable[[Desk, str], CaseFile]
) -> None:
    with mended(as_json):
        way = desk()
        one = plans.proposal(way.case(case), ruling)
        asked(f"{verb} what {one.by} proposed:\n{plans.proposed(one)}", yes)
        after = ask(way, one.id)
        end(after, plans.by_id(after, one.id), as_json)


def told(plan: Plan) -> str:
    """The plan as a prompt shows it."""
    wide = max(len(parties) for parties, _ in plan.lines)
    lines = [f"  {parties:{wide}}  {amount:>14}".rstrip() for parties, amount in plan.lines]
    return "\n".join([plan.title, *lines, *plan.effects])


def asked(words: str, yes: bool) -> None:
    """A yes, where somebody is there to give it."""
    if not yes and sys.stdin.isatty():
        typer.echo(words, err=True)
        if not typer.confirm("Do it?", err=True):
            raise typer.Exit(1)


def end(file: CaseFile, ruling: Ruling, as_json: bool) -> None:
    report({"case": file.case, "ruling": ruling}, as_json, f"{file.case.id}: {plans.done(ruling)}")
    if ruling.status == "proposed":
        raise typer.Exit(PROPOSED)


def each(
    cases: list[str], as_json: bool, act: Callable[[Desk, str], CaseFile], words: Callable[[CaseFile], str]
) -> None:
    """Do it to each case; one that cannot be done is told and does not keep the others from it."""
    with mended(as_json):
        way = desk()
        first: ReviewError | None = None
        done = []
        for case in cases:
            try:
                done.append(act(way, case))
            except ReviewError as error:
                if first is not None or len(cases) > 1:
                    typer.echo(f"lockgate review: {case}: {error.detail}", err=True)
                first = first or error
        if done or first is None:
            report({"cases": [file.case for file in done]}, as_json, "\n".join(map(words, done)))
        if first is not None and len(cases) > 1:
            raise typer.Exit(first.status)
        if first is not None:
            raise first


def claimed(file: CaseFile) -> str:
    return f"{file.case.id}: yours until {file.case.claimed_until}, {credits(file.case.at_risk)} credits at risk"
