"""`lockgate review list|show|export`: what only reads."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import msgspec
import typer
from msgspec import structs

from detector.case_shapes import Case, CaseFile, CaseGift
from detector.explain_shapes import Explanation
from detector.review import graph, sections, why
from detector.review.cli_ends import (
    AsJson,
    CaseId,
    Kind,
    MinAmount,
    Mine,
    OlderThan,
    Recipient,
    RuleName,
    Sender,
    Sort,
    Status,
    Text,
    desk,
    filtered,
    mended,
    report,
)  # fmt: skip
from detector.review.desk import Desk
from detector.review.errors import NotThere, ReviewError, Usage
from detector.review.told import PLAIN, brief, cut, holder, left_s, parsed, some, span

# What is not a terminal gets whole lines.
WIDE = 10_000
PARTS = ("gifts", "why", "timeline", "graph", "notes", "audit")
Part = Annotated[list[str] | None, typer.Option("--part", help=f"Only this: {', '.join(PARTS)}; may be repeated.")]


def listing(
    sender: Sender = None,
    recipient: Recipient = None,
    rule: RuleName = None,
    min_amount: MinAmount = None,
    older_than: OlderThan = None,
    status: Status = None,
    kind: Kind = None,
    mine: Mine = False,
    find: Text = None,
    sort: Sort = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="As many as there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """List cases, most pressing first: by expected loss for each hour that is left."""
    with mended(as_json):
        way = desk()
        wanted = filtered(way, sender, recipient, rule, min_amount, older_than, status, kind, mine, find, sort)
        pages = list(way.every_case(wanted, None if every else limit))
        told = [case for page in pages for case in page.cases]
        more = pages[-1].next is not None
        shape = {"cases": told, "open": pages[0].open, "claimed": pages[0].claimed, "now": pages[0].now, "more": more}
        if as_json:
            report(shape, True, "")
        else:
            table(told, parsed(pages[0].now))
            rest = "; more with --limit or --all" if more else ""
            typer.echo(f"{len(told)} shown, {pages[0].open} open, {pages[0].claimed} claimed{rest}", err=True)


def show(
    case: CaseId,
    gift: Annotated[str | None, typer.Option(help="Explain this gift; by default the weightiest that waits.")] = None,
    every: Annotated[bool, typer.Option("--every-gift", help="Explain every gift of the case.")] = False,
    part: Part = None,
    as_json: AsJson = False,
) -> None:
    """Show a case whole: gifts, why they were held, timeline, graph, notes and audit."""
    with mended(as_json):
        if strange := [one for one in part or () if one not in PARTS]:
            raise Usage(f"--part {strange[0]}: choose of {', '.join(PARTS)}")
        way = desk()
        file = way.case(case)
        explained = explanations(way, file, gift, every)
        if as_json:
            report({**structs.asdict(file), "explanations": [shape_of(*one) for one in explained]}, True, "")
        else:
            paint(file, explained, part or PARTS)


def explanations(way: Desk, file: CaseFile, gift: str | None, every: bool) -> list[tuple[CaseGift, Explanation | str]]:
    """Each gift that is to be explained, with its explanation or why there is none."""
    known = {one.id: one for one in file.gifts}
    if gift is not None and gift not in known:
        raise NotThere(f"case {file.case.id} holds no gift {gift!r}")
    wanted = list(known.values()) if every else [known[gift]] if gift else sections.weightiest(file)
    found: list[tuple[CaseGift, Explanation | str]] = []
    for one in wanted:
        try:
            found.append((one, way.explanation(file.case.id, one.id)))
        except NotThere as error:
            found.append((one, error.detail))
    return found


def shape_of(gift: CaseGift, told: Explanation | str) -> Any:
    return {"gift": gift.id, "fault": told} if isinstance(told, str) else told


def paint(file: CaseFile, explained: Sequence[tuple[CaseGift, Explanation | str]], parts: Sequence[str]) -> None:
    from rich.console import Console
    from rich.text import Text as Words

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    now, width = datetime.now(UTC), console.width
    console.print(sections.head(file.case, file.rulings, now, None, width, PLAIN), soft_wrap=True)
    for part in parts:
        if part in ("gifts", "notes", "audit"):
            heading(console, part)
            console.print(section(part, file, now, width), soft_wrap=True, end="")
    for gift, told in explained:
        for part in [one for one in parts if one in ("why", "timeline", "graph")]:
            heading(console, f"{part} · gift {gift.id}")
            drawn = Words(told + "\n") if isinstance(told, str) else explained_as(part, told, gift, now, width)
            console.print(drawn, soft_wrap=True, end="")


def heading(console: Any, words: str) -> None:
    console.print(f"\n── {words} " + "─" * max(0, console.width - len(words) - 4), style=PLAIN.soft)


def section(part: str, file: CaseFile, now: datetime, width: int) -> Any:
    if part == "gifts":
        return sections.gifts(file, -1, frozenset(), now, width, PLAIN, ids=True)
    text = (sections.notes if part == "notes" else sections.audit)(file, now, width, PLAIN)
    return text if text.plain.endswith("\n") else text.append("\n")


def explained_as(part: str, told: Explanation, gift: CaseGift, now: datetime, width: int) -> Any:
    if part == "why":
        return why.why(told, gift, width, PLAIN)
    if part == "timeline":
        return sections.timeline(told.timeline, gift.id, now, width, PLAIN)
    return graph.drawn(told.graph, gift.sender, gift.recipient, width, PLAIN)


def table(cases: Sequence[Case], now: datetime) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    names = ("case", "left", "loss", "at risk", "gifts", "claim", "from", "to", "reasons")
    told = [line(case, now) for case in cases]
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    widths = [max([len(name), *(cell_len(one[place]) for one in told)]) for place, name in enumerate(names[:-1])]
    # Only reasons give way where the screen is narrow: an id that is cut is of no use.
    room = max(8, console.width - sum(widths) - 2 * len(widths))
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=PLAIN.soft)
    for name in names:
        rows.add_column(name, justify="right" if name in names[1:5] else "left", no_wrap=True)
    for one in told:
        rows.add_row(*one[:-1], cut(one[-1], room))
    console.print(rows)


def line(case: Case, now: datetime) -> tuple[str, ...]:
    """A case as the table's cells."""
    left = "ended" if case.status == "ended" else span(left_s(case.deadline, now))
    flags = ((case.proposed, "⚑"), (case.escalated, "▲"), (case.kind == "sample", "◇"))
    marks = "".join(sign for flag, sign in flags if flag)
    who = holder(case, now) or (f"→ {case.assigned_to}" if case.assigned_to else "")
    return (
        case.id, left, brief(case.expected_loss), brief(case.at_risk), f"{case.waiting}/{case.gifts}",
        f"{marks} {who}".strip(), some(case.senders), some(case.recipients), ", ".join(case.reasons),
    )  # fmt: skip


def export(
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The file to write; standard output by default.")
    ] = None,
    form: Annotated[Literal["jsonl", "csv"], typer.Option("--format", help="One case a line.")] = "jsonl",
    whole: Annotated[bool, typer.Option("--whole", help="Gifts, rulings, notes and audit too (jsonl).")] = False,
    sender: Sender = None,
    recipient: Recipient = None,
    rule: RuleName = None,
    min_amount: MinAmount = None,
    older_than: OlderThan = None,
    status: Status = None,
    kind: Kind = None,
    mine: Mine = False,
    find: Text = None,
) -> None:
    """Write cases for other tools: JSON lines or CSV, amounts in micro-credits."""
    with mended(False):
        if whole and form == "csv":
            raise Usage("--whole has no rows to give a CSV: use --format jsonl")
        way = desk()
        wanted = filtered(way, sender, recipient, rule, min_amount, older_than, status, kind, mine, find, None)
        with opened(out) as stream, typer.progressbar(length=0, file=sys.stderr, label="cases") as seen:
            write = in_csv(stream) if form == "csv" else in_lines(stream)
            for page in way.every_case(wanted):
                seen.length = page.open + page.claimed
                for case in page.cases:
                    write(way.case(case.id) if whole else case)
                    seen.update(1)


@contextmanager
def opened(out: Path | None) -> Iterator[IO[str]]:
    """The file, there under its name only when it is whole; or standard output."""
    if out is None:
        yield sys.stdout
        return
    part = out.with_name(out.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        part.replace(out)
    except OSError as error:
        raise ReviewError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def in_lines(stream: IO[str]) -> Any:
    return lambda case: stream.write(msgspec.json.encode(case).decode() + "\n")


def in_csv(stream: IO[str]) -> Any:
    """Lists are joined by spaces: no org and no reason holds one."""
    names = Case.__struct_fields__
    writer = csv.writer(stream)
    writer.writerow(names)

    def write(case: Case) -> None:
        values = (getattr(case, name) for name in names)
        writer.writerow(" ".join(value) if isinstance(value, list) else value for value in values)

    return write
