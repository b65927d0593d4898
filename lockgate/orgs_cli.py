"""`lockgate orgs …`: what an operator does about an org's account when it was stolen, and how the org comes back."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import asyncpg
import typer

from detector.cli import aligned
from detector.errors import PolicyMoved
from detector.judge import Detector
from ledger import compromise, keys, store
from ledger.compromise import Claim
from ledger.compromise_api import MOST_REPORTS
from ledger.errors import Invalid, NotFound
from ledger.views import org_view, report_view
from lockgate.cli import AsJson, report, settings

T = TypeVar("T")
Org = Annotated[str, typer.Argument(metavar="ORG", help="The org's id.")]
Author = Annotated[str | None, typer.Option(help="Who does it, for the record; your user name by default.")]

app = typer.Typer(help="Stolen accounts: report, recover, replace keys.", no_args_is_help=True)


@app.command()
def compromised(
    ctx: typer.Context,
    org: Org,
    since: Annotated[str, typer.Option(metavar="TIME", help="When it was stolen, such as 2027-01-01T00:00:00Z.")],
    detail: Annotated[str, typer.Option(help="How it is known, for whoever works on the case.")],
    give_back: Annotated[bool, typer.Option("--return", help="Give waiting gifts back; do not hold them.")] = False,
    keep_keys: Annotated[bool, typer.Option("--keep-keys", help="Leave the org's API keys valid.")] = False,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Stop an org whose account was stolen: its sending, its waiting gifts, its keys."""
    asked: Literal["hold", "return"] = "return" if give_back else "hold"
    claim = Claim(org, moment(since), author or getpass.getuser(), detail, asked, not keep_keys)
    chosen = settings()
    judge = Detector(chosen.trusted_key)

    async def once(conn: asyncpg.Connection) -> dict[str, Any]:
        async with conn.transaction():
            done = await compromise.report(conn, judge, judge, claim, chosen.hold_s)
        done.seen.close(committed=True)
        return done.answer

    answer = ctx.obj(again(once))
    report(answer, as_json, told(answer))


@app.command()
def recover(ctx: typer.Context, org: Org, author: Author = None, as_json: AsJson = False) -> None:
    """Say that a stolen account is its owner's again: it sends, and for the cool-off its gifts are held."""
    cool_off_s, who = settings().cool_off_s, author or getpass.getuser()

    async def act(conn: asyncpg.Connection) -> dict[str, Any]:
        async with conn.transaction():
            return org_view(await compromise.recover(conn, org, who, cool_off_s))

    shape = ctx.obj(act)
    report(shape, as_json, f"{org} may send again; its gifts are held until {shape['cool_until']}")


@app.command()
def rotate(
    ctx: typer.Context,
    org: Org,
    role: Annotated[Literal["owner", "reader"], typer.Option(help="What the new key may do.")] = "owner",
    name: Annotated[str, typer.Option(help="What the new key is called.")] = "default",
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """End every key of an org and print a new one, this once; for the cool-off its gifts are held."""
    cool_off_s, who = settings().cool_off_s, author or getpass.getuser()

    async def act(conn: asyncpg.Connection) -> dict[str, Any]:
        async with conn.transaction():
            return await keys.rotate(conn, org, role, name, who, cool_off_s)

    shape = ctx.obj(act)
    report(shape, as_json, shape["key"])


@app.command()
def reports(ctx: typer.Context, org: Org, as_json: AsJson = False) -> None:
    """List the reports that an org's account was stolen, newest first."""

    async def find(conn: asyncpg.Connection) -> list[dict[str, Any]]:
        rows = await conn.fetch(store.SQL["compromise_reports"], org, MOST_REPORTS)
        if not rows and await conn.fetchrow(store.SQL["org"], org) is None:
            raise NotFound(f"org {org!r} does not exist")
        return [report_view(row) for row in rows]

    found = ctx.obj(find)
    table = [("report", "at", "stolen since", "by", "gifts", "case")]
    table += [
        (one["id"], one["at"], one["since"], one["author"], f"{one['found']} ({one['gifts']})", one["case"] or "–")
        for one in found
    ]
    report({"reports": found}, as_json, aligned(table) if found else f"{org} was never reported")


def moment(text: str) -> datetime:
    """A time as the operator writes it. Raises Invalid with the cure."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"--since {text!r} is no time; write it like 2027-01-01T00:00:00Z") from error
    if found.tzinfo is None:
        raise Invalid(f"--since {text!r} needs a time zone, such as {text}Z")
    return found


def again(act: Callable[[asyncpg.Connection], Awaitable[T]]) -> Callable[[asyncpg.Connection], Awaitable[T]]:
    """What `act` gives once it knows the generation that judges."""

    async def known(conn: asyncpg.Connection) -> T:
        while True:
            try:
                return await act(conn)
            except PolicyMoved:
                continue

    return known


def told(answer: dict[str, Any]) -> str:
    """A report as people read it."""
    lines = [f"{answer['org']} is stopped: report {answer['report']}, stolen since {answer['since']}"]
    lines.append(f"keys revoked: {answer['keys_revoked']}")
    lines.append(f"case: {answer['case'] or 'none, since nothing is held'}")
    if answer["gifts"]:
        rows = [(one["id"], one["was"], one["now"], one.get("hint", "")) for one in answer["gifts"]]
        lines += ["", aligned([("gift", "was", "now", ""), *rows])]
    if answer["settled_unlisted"]:
        lines.append(f"and {answer['settled_unlisted']} older ones that settled")
    lines += [f"{name} is in somebody's hand just now, who holds or ends it" for name in answer["in_hand"]]
    return "\n".join(lines)
