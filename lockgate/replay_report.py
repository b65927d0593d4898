"""What a replay tells at its end: one JSON object, or tables. Law: every row is accounted for."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.store import HITS
from ledger.credits import CREDIT
from ledger.transfers import OPEN, Answer, Request, Status
from lockgate.replay_rows import UNPLAYABLE
from training.history import REASONS, History

FIRST_BAD = 10
FIRST_FAULTS = 5
VERDICTS = ("approve", "hold", "block")
ENDINGS = {
    "blocked": "blocked at the first look; nothing was reserved",
    "second_look block": "blocked at the second look, back to the sender",
    "hold_expired": "held at the first look until the hold ran out, back to the sender",
    "hold_expired hold": "held at the second look until the hold ran out, back to the sender",
    "credits_lapsed": "nothing left of its credits at settlement",
}


@dataclass(slots=True)
class Tally:
    """Counts gifts by what they were answered and why. It keeps no gift, but the ids of fraud."""

    gifts: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    labelled: bool = False
    frauds: Counter[str] = field(default_factory=Counter)
    fraud_transfers: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, request: Request, answer: Answer | BaseException, look: Any, fraud: bool | None) -> None:
        """One gift: its answer, the first look that was recorded for it, and its label where it has one."""
        self.gifts += 1
        self.labelled |= fraud is not None
        if isinstance(answer, BaseException):
            return self.faults.append(f"gift {request.key!r} got no answer: {type(answer).__name__}: {answer}")
        self.answers[str(answer.status)] += 1
        if look is None or answer.replayed or (answer.status == 201) is bool(look["refused"]):
            return self.faults.append(f"gift {request.key!r}: its answer {answer.status} fits no recorded first look")
        reasons = sorted({hit.reason for hit in HITS.decode(look["hits"])})
        self.verdicts[look["verdict"]] += 1
        self.reasons.update(reasons)
        if look["refused"]:
            self.refused.update(reasons)
        if fraud:
            self.frauds.update(["", look["verdict"], *reasons])
            self.fraud_transfers.append(request.id)


def summary(
    history: History, tally: Tally, endings: Sequence[dict[str, Any]], sums: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """The whole report as one object; `faults` says what, if anything, makes the replay a failure."""
    bad = Counter(history.bad["reason"].to_list())
    playing = sum(seconds.get(part, 0.0) for part in ("gate", "settle", "tally"))
    found = {
        "gifts": tally.gifts,
        "bad_rows": history.bad.height,
        "bad_reasons": dict(bad.most_common()),
        "first_bad_rows": history.bad.head(FIRST_BAD).to_dicts(),
        "verdicts": {verdict: tally.verdicts[verdict] for verdict in VERDICTS},
        "reasons": dict(ranked(tally.reasons)),
        "answers": dict(sorted(tally.answers.items())),
        "fraud": frauds_of(tally, endings) if tally.labelled else None,
        **ends_of(tally, endings),
        "reconciled": bool(sums["balanced"]),
        "reconciliation": {name: value for name, value in sums.items() if name != "balanced"},
        "gifts_per_s": rate(tally.gifts, seconds.get("gate", 0.0)),
        "gifts_per_s_with_settlement": rate(tally.gifts, playing),
        "seconds": {part: round(spent, 3) for part, spent in seconds.items()},
    }
    return {**found, "faults": faults_of(found, history.rows.height, tally)}


def ends_of(tally: Tally, endings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What became of the gifts. A refused one has no transfer."""
    count = {status: sum(one["transfers"] for one in endings if one["status"] == status) for status in Status}
    return {
        "settled": count[Status.SETTLED],
        "returned": count[Status.RETURNED],
        "blocked": count[Status.BLOCKED],
        "refused": tally.gifts - sum(count.values()),
        "refused_reasons": dict(ranked(tally.refused)),
        "open": sum(count[status] for status in OPEN),
        "endings": list(endings),
    }


def frauds_of(tally: Tally, endings: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        "gifts": tally.frauds[""],
        "verdicts": {verdict: tally.frauds[verdict] for verdict in VERDICTS},
        "reasons": {reason: tally.frauds[reason] for reason, _ in ranked(tally.reasons)},
        "settled": sum(one["marked"] for one in endings if one["status"] == Status.SETTLED),
    }


def second_look(counted: Iterable[tuple[str, str | None, int]]) -> dict[str, Any]:
    """Second looks by verdict, and by reason."""
    rows = list(counted)
    verdicts = {verdict: count for verdict, reason, count in rows if reason is None}
    reasons = Counter({f"{reason}": count for _, reason, count in rows if reason is not None})
    return {
        "verdicts": {verdict: verdicts.get(verdict, 0) for verdict in VERDICTS},
        "reasons": dict(ranked(reasons)),
    }


def faults_of(found: dict[str, Any], rows: int, tally: Tally) -> list[str]:
    """Why the replay failed; empty where it did what it says."""
    faults = tally.faults[:FIRST_FAULTS]
    if len(tally.faults) > FIRST_FAULTS:
        faults.append(f"{len(tally.faults) - FIRST_FAULTS} more gifts without a fitting answer")
    opened = sum(one["transfers"] for one in found["endings"])
    if tally.answers["201"] != opened:
        faults.append(f"{tally.answers['201']} gifts were answered 201, but {opened} transfers are recorded")
    if tally.gifts != rows:
        faults.append(f"{rows} good rows, but {tally.gifts} were sent")
    if found["open"]:
        faults.append(f"{found['open']} transfers have not ended")
    if not found["reconciled"]:
        faults.append(f"the books do not balance: {found['reconciliation']}")
    if not rows:
        faults.append("no good row to play")
    return faults


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most first, then by name, so that equal replays read the same."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def rate(gifts: int, seconds: float) -> float:
    return round(gifts / seconds, 1) if seconds else 0.0


def tell(found: dict[str, Any], *, as_json: bool) -> int:
    """Print the report, and on standard error why it is a failure; the exit status."""
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    for fault in found["faults"]:
        print(f"lockgate replay: {fault}", file=sys.stderr)
    return 1 if found["faults"] else 0


# Tables


def show(found: dict[str, Any]) -> None:
    """The report for people, on standard output."""
    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    if found["bad_rows"]:
        console.print(bad_table(found))
        for row in found["first_bad_rows"]:
            console.print(f"  row {row['row'] or '?'} (id {row['id']!r}): {row['reason']}: found {row['value']!r}")
    console.print(look_table(found))
    console.print(ending_table(found))
    second = found["second_look"]
    for name, count in (*second["verdicts"].items(), *second["reasons"].items()):
        console.print(f"second look: {name} {count:,}")
    for line in (*words(found), *speed(found)):
        console.print(line)


def bad_table(found: dict[str, Any]) -> Table:
    table = table_of("bad rows, not played", ("reason", "rows", "means"))
    for reason, count in found["bad_reasons"].items():
        table.add_row(reason, f"{count:,}", Text({**REASONS, **UNPLAYABLE}[reason]))
    return table


def look_table(found: dict[str, Any]) -> Table:
    """Verdicts, then reasons. A gift may have several reasons, so shares may add up to more than all."""
    fraud, gifts = found["fraud"], found["gifts"]
    heads = ("first look", "gifts", "share", *(("fraud", "of all fraud", "of these") if fraud else ()))
    table = table_of(f"{gifts:,} gifts", heads)
    for part in ("verdicts", "reasons"):
        for name, count in found[part].items():
            cells = [name, f"{count:,}", share(count, gifts)]
            if fraud:
                caught = fraud[part][name]
                cells += [f"{caught:,}", share(caught, fraud["gifts"]), share(caught, count)]
            table.add_row(*cells)
        table.add_section()
    return table


def ending_table(found: dict[str, Any]) -> Table:
    table = table_of("what became of them", ("ending", "gifts", "credits", "fraud"))
    for one in found["endings"]:
        name = " ".join(filter(None, (one["reason"], one["second_look"])))
        text = one["status"] if one["status"] == Status.SETTLED else ENDINGS.get(name, f"{one['status']} {name}")
        table.add_row(text, f"{one['transfers']:,}", f"{one['amount'] / CREDIT:,.2f}", f"{one['marked']:,}")
    reasons = ", ".join(found["refused_reasons"])
    table.add_row(f"refused at the gate{f': {reasons}' if reasons else ''}", f"{found['refused']:,}", "", "")
    return table


def table_of(title: str, heads: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place and head != "means" else "left")
    return table


def share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


def words(found: dict[str, Any]) -> list[str]:
    """Law 1 in plain words."""
    sums = {name: f"{int(value) / CREDIT:,.2f}" for name, value in found["reconciliation"].items()}
    counts = found["reconciliation"]
    named = ("orgs", "grants", "transfers", "roots")
    off = ", ".join(f"{counts[f'{name}_off']} {name}" for name in named)
    return [
        "law 1: " + ("the books balance" if found["reconciled"] else "THE BOOKS DO NOT BALANCE"),
        f"  issued {sums['issued']} - consumed {sums['consumed']} - expired {sums['expired']} - revoked "
        f"{sums['revoked']} credits; the orgs hold {sums['balances']}",
        f"  waiting in the lock: {sums['in_lock']}; reserved for it: {sums['reserved']}",
        f"  postings that do not sum to zero: {counts['unbalanced_postings']}; off from their entries: {off}",
    ]


def speed(found: dict[str, Any]) -> list[str]:
    spent = ", ".join(f"{part} {seconds:.1f}" for part, seconds in found["seconds"].items())
    whole = found["gifts_per_s_with_settlement"]
    return [
        f"speed: {found['gifts_per_s']:,} gifts/s through the gate; {whole:,} with settlement",
        f"  seconds: {spent}",
    ]
