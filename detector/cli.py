"""`lockgate policy …`: check, compare, activate and roll back generations.

Whoever starts it hands in, as the context's object, the way to the database (Session).
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import asyncpg
import typer

from detector import store
from detector.breaker import BreakerTerms
from detector.errors import PolicyRefused
from detector.features import FEATURES
from detector.gift import Verdict
from detector.identity_terms import Asks
from detector.limits import Limit
from detector.policy import ModelTerms, Policy, ReviewTerms, read
from detector.policy_fields import span
from detector.rules import Rule

T = TypeVar("T")
MOST_LISTED = 1_000

PolicyFile = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A policy in TOML.")]
Author = Annotated[str | None, typer.Option(help="Who does it, for the record; your user name by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


class Session(Protocol):
    """Runs `work` on one connection to the database, and gives what it returns."""

    def __call__(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T: ...


@dataclass(frozen=True, slots=True)
class Change:
    """One limit or rule that differs; `fields` maps a field to its old and new value."""

    change: str
    kind: str
    name: str
    fields: dict[str, tuple[Any, Any]]


app = typer.Typer(help="Check, compare, activate and roll back policies.", no_args_is_help=True)


@app.command()
def check(file: PolicyFile, as_json: AsJson = False) -> None:
    """Say whether a policy file is fit to be activated, and every fault if it is not."""
    policy = policy_in(file, as_json)
    model = policy.model.name if policy.model else None
    counts = {"name": policy.name, "limits": len(policy.limits), "rules": len(policy.rules), "model": model}
    asked = [{"from": one.least, **identity_fields(one)} for one in policy.identity.tables]
    text = f"{file}: policy {policy.name!r} is fit: {len(policy.limits)} limits, {len(policy.rules)} rules"
    text += f", model {model}" if model else ", no model"
    lines = [f"  gifts from {one.least:,} micro-credits need {one.words}" for one in policy.identity.tables]
    report({"fit": True, **counts, "identity": asked, "faults": []}, as_json, "\n".join([text, *lines]))


@app.command()
def diff(ctx: typer.Context, file: PolicyFile, as_json: AsJson = False) -> None:
    """Show what activating a policy file would change."""
    new = policy_in(file, as_json)

    async def active(conn: asyncpg.Connection) -> tuple[int, str] | None:
        generation = await store.active(conn)
        return None if generation is None else (generation, await store.policy_text(conn, generation) or "")

    found = session(ctx)(active)
    generation, old = (found[0], read(found[1])) if found else (None, None)
    changes = compare(old, new)
    head = f"generation {generation} → {file}" if found else f"no active policy → {file}"
    shape = [
        {"change": one.change, "kind": one.kind, "name": one.name}
        | {"fields": {field: {"old": old, "new": new} for field, (old, new) in one.fields.items()}}
        for one in changes
    ]
    same = "the same limits, rules, identity, model, review and breaker"
    lines = [line for one in changes for line in shown(one)] or [same]
    report({"generation": generation, "changes": shape}, as_json, "\n".join([head, *lines]))


@app.command()
def activate(ctx: typer.Context, file: PolicyFile, author: Author = None, as_json: AsJson = False) -> None:
    """Make a policy file the next generation; every running gate judges by it from its next batch on."""
    policy = policy_in(file, as_json)
    generation = session(ctx)(lambda conn: store.add_policy(conn, policy.text, author or getpass.getuser()))
    report({"generation": generation}, as_json, f"generation {generation} judges from now on")


@app.command()
def rollback(ctx: typer.Context, author: Author = None, as_json: AsJson = False) -> None:
    """Let the generation before the active one judge again."""
    moved = session(ctx)(lambda conn: store.roll_back(conn, author or getpass.getuser()))
    if moved is None:
        raise PolicyRefused("there is no generation before the active one; 'lockgate policy list' shows all")
    left, back = moved
    report({"left": left, "generation": back}, as_json, f"generation {back} judges again; {left} was left")


@app.command("list")
def listing(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List every activation, newest first; the newest one's generation judges."""
    rows = session(ctx)(lambda conn: conn.fetch(store.SQL["activations"], MOST_LISTED))
    shape = [
        {"generation": generation, "at": at.isoformat(), "author": author, "active": not position}
        for position, (generation, at, author) in enumerate(rows)
    ]
    table = [("generation", "activated at (UTC)", "by", "")]
    table += [
        (str(generation), f"{at:%Y-%m-%d %H:%M:%S}", author, "" if position else "active")
        for position, (generation, at, author) in enumerate(rows)
    ]
    report({"activations": shape}, as_json, aligned(table) if rows else "no policy was ever activated")


@app.command()
def show(
    ctx: typer.Context,
    generation: Annotated[int | None, typer.Argument(help="Which one; the active one by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a generation's policy file as it was activated."""

    async def find(conn: asyncpg.Connection) -> tuple[int | None, str | None]:
        wanted = await store.active(conn) if generation is None else generation
        return wanted, None if wanted is None else await store.policy_text(conn, wanted)

    found, text = session(ctx)(find)
    if text is None:
        missing = "no policy was ever activated" if found is None else f"there is no generation {found}"
        raise PolicyRefused(f"{missing}; 'lockgate policy list' shows all")
    report({"generation": found, "text": text}, as_json, text.rstrip("\n"))


@app.command()
def features(as_json: AsJson = False) -> None:
    """List the columns that rules may use."""
    rows = [(one.name, one.type.name.lower(), one.description) for one in FEATURES.values()]
    shape = [{"name": name, "type": kind, "description": text} for name, kind, text in rows]
    report({"features": shape}, as_json, aligned([("column", "type", "what it is"), *rows]))


def session(ctx: typer.Context) -> Session:
    found: Session = ctx.obj
    return found


def policy_in(file: Path, as_json: bool) -> Policy:
    """The policy in a file; with every fault printed, one a line, and exit status 1 where it is refused."""
    try:
        return read(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        faults = [f"not UTF-8: {error}"]
    except PolicyRefused as error:
        faults = list(error.faults)
    if as_json:
        report({"fit": False, "faults": faults}, as_json, "")
    else:
        typer.echo("\n".join(f"{file}: {fault}" for fault in faults), err=True)
    raise typer.Exit(1)


def compare(old: Policy | None, new: Policy) -> list[Change]:
    """What differs from one policy to the next, each in the order of its policy."""
    before, after = pieces(old), pieces(new)
    changes = [
        Change(
            "changed" if key in before else "added",
            *key,
            {
                field: (before.get(key, {}).get(field), fields.get(field))
                for field in [*fields, *(before.get(key, {}).keys() - fields.keys())]
                if before.get(key, {}).get(field) != fields.get(field)
            },
        )
        for key, fields in after.items()
    ]
    gone = [
        Change("removed", *key, {field: (value, None) for field, value in fields.items()})
        for key, fields in before.items()
        if key not in after
    ]
    return [one for one in changes if one.fields] + gone


def pieces(policy: Policy | None) -> dict[tuple[str, str], dict[str, Any]]:
    """All pieces of a policy under their kind and name, in the words of the policy file."""
    if policy is None:
        return {}
    limits = {("limit", one.name): limit_fields(one) for one in policy.limits}
    model = {("model", policy.model.name): model_fields(policy.model)} if policy.model else {}
    review = {("review", ""): review_fields(policy.review)}
    breaker = {("breaker", ""): breaker_fields(policy.breaker)} if policy.breaker else {}
    identity = {("identity", f"from {one.least}"): identity_fields(one) for one in policy.identity.tables}
    rules = {("rule", one.name): rule_fields(one) for one in policy.rules}
    return limits | rules | identity | model | review | breaker


def limit_fields(limit: Limit) -> dict[str, Any]:
    fields = {
        "on": list(limit.on),
        "window": span(limit.window_s),
        "count": limit.count,
        "value": limit.value,
        "action": limit.action.word,
        "description": limit.description,
    }
    return {name: value for name, value in fields.items() if value is not None}


def rule_fields(rule: Rule) -> dict[str, Any]:
    verdict: Verdict = rule.verdict
    texts = {"when": rule.when.text.strip(), "verdict": verdict.word, "description": rule.description}
    return texts | ({"false_alarms": rule.false_alarms} if rule.false_alarms else {})


def model_fields(terms: ModelTerms) -> dict[str, Any]:
    max_age = None if terms.max_age_s is None else span(terms.max_age_s)
    fields = {"name": terms.name, "hold_at": terms.hold_at, "block_at": terms.block_at, "max_age": max_age}
    return {name: value for name, value in fields.items() if value is not None} | {"when_old": terms.when_old.word}


def identity_fields(asks: Asks) -> dict[str, Any]:
    fields = {"level": asks.level, "max_age": asks.span, "description": asks.description}
    return {name: value for name, value in fields.items() if value is not None}


def review_fields(terms: ReviewTerms) -> dict[str, Any]:
    return {"claim": span(terms.claim_s), "four_eyes": terms.four_eyes, "sample": terms.sample}


def breaker_fields(terms: BreakerTerms) -> dict[str, Any]:
    spans = {"window": span(terms.window_s), "cool": span(terms.cool_s)}
    return {"share": terms.share, "at_least": terms.at_least, **spans}


def shown(one: Change) -> list[str]:
    """A change as lines: its sign and name, then every field that differs."""
    sign = {"added": "+", "removed": "-", "changed": "~"}[one.change]
    lines = [f"{sign} {one.kind} {one.name}".rstrip()]
    for field, (old, new) in one.fields.items():
        if one.change == "changed":
            lines += [f"    {field}: {flat(old)}", f"    {' ' * len(field)}→ {flat(new)}"]
        else:
            lines.append(f"    {field}: {flat(new if one.change == 'added' else old)}")
    return lines


def flat(value: Any) -> str:
    """A value on one line."""
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of equal width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def report(shape: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(shape, indent=2, ensure_ascii=False) if as_json else text)
