"""What the plain commands share: options, the way to the service, how they end, and completion."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer

from detector.case_shapes import Case
from detector.review import access
from detector.review.desk import Desk
from detector.review.errors import ReviewError, Usage
from detector.review.filters import CHOICES, Filters, micro, seconds

# Completion answers within a keystroke's patience, or not at all.
COMPLETES_S = 1.5


def cases(incomplete: str) -> list[str]:
    return [case.id for case in queue() if case.id.startswith(incomplete)]


def rules(incomplete: str) -> list[str]:
    names = {reason.removeprefix("rule:") for case in queue() for reason in case.reasons}
    return sorted(name for name in names if name.startswith(incomplete))


def senders(incomplete: str) -> list[str]:
    return sorted({org for case in queue() for org in case.senders if org.startswith(incomplete)})


def recipients(incomplete: str) -> list[str]:
    return sorted({org for case in queue() for org in case.recipients if org.startswith(incomplete)})


def queue() -> list[Case]:
    """What completion draws from: the most pressing cases, or nothing where they cannot be had."""
    try:
        return Desk(access.read(os.environ), COMPLETES_S).cases(Filters()).cases
    except ReviewError:
        return []


def chosen(field: str) -> Any:
    return lambda incomplete: [one for one in CHOICES[field] if one.startswith(incomplete)]


CaseId = Annotated[str, typer.Argument(metavar="CASE", help="The case.", autocompletion=cases)]
CaseIds = Annotated[list[str], typer.Argument(metavar="CASE…", help="One case or several.", autocompletion=cases)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
WhyText = Annotated[str, typer.Option("--why", help="Why, for the audit.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, though this is a terminal.")]
Sender = Annotated[str | None, typer.Option(help="Cases with a gift from this org.", autocompletion=senders)]
Recipient = Annotated[str | None, typer.Option(help="Cases with a gift to this org.", autocompletion=recipients)]
RuleName = Annotated[str | None, typer.Option("--rule", help="Cases held for this reason.", autocompletion=rules)]
MinAmount = Annotated[str | None, typer.Option(help="At least so many credits, such as 500 or 0.25.")]
OlderThan = Annotated[str | None, typer.Option(help="Opened at least so long ago, such as 30m or 2h.")]
Status = Annotated[str | None, typer.Option(help="open, claimed or ended.", autocompletion=chosen("status"))]
Kind = Annotated[str | None, typer.Option(help="hold or sample.", autocompletion=chosen("kind"))]
Mine = Annotated[bool, typer.Option("--mine", help="Only what you have claimed.")]
Text = Annotated[str | None, typer.Option("--find", help="A text in orgs and reasons, or a gift's id.")]
Sort = Annotated[str | None, typer.Option(help="priority, deadline or age.", autocompletion=chosen("sort"))]


def desk() -> Desk:
    """The way to the service. A key that would travel in the clear is warned about."""
    way = access.read(os.environ)
    if way.open_to_readers:
        typer.echo(f"lockgate review: {way.url} is not https: your key travels in the clear", err=True)
    return Desk(way)


def filtered(
    desk: Desk, sender: str | None, recipient: str | None, rule: str | None, min_amount: str | None,
    older_than: str | None, status: str | None, kind: str | None, mine: bool, find: str | None, sort: str | None,
) -> Filters:  # fmt: skip
    """The options as filters. Raises Usage naming what cannot be read."""
    for name, value in (("status", status), ("kind", kind), ("sort", sort)):
        if value is not None and value not in CHOICES[name]:
            raise Usage(f"--{name} is {value!r}: choose one of {', '.join(CHOICES[name])}")
    return Filters(
        status=status,
        kind=kind,
        sender=sender,
        recipient=recipient,
        rule=rule,
        min_amount=None if min_amount is None else micro(min_amount),
        older_than=None if older_than is None else seconds(older_than),
        claimed_by=desk.me().name if mine else None,
        q=find,
        sort=sort,
    )


@contextmanager
def mended(as_json: bool) -> Iterator[None]:
    """A fault as one message, or as JSON too, and its exit status."""
    try:
        yield
    except ReviewError as error:
        if as_json:
            typer.echo(
                json.dumps({"fault": {"code": error.code, "status": error.status, "detail": error.detail}}, indent=2)
            )
        typer.echo(f"lockgate review: {error.detail}", err=True)
        raise typer.Exit(error.status) from None


def report(shape: Any, as_json: bool, text: str) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(shape)).decode() if as_json else text)
