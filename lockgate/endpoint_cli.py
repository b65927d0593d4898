"""`lockgate endpoints …`: where events are brought to by webhooks, and how that goes."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import asyncpg
import typer

from ledger import endpoint_work as work
from ledger import store
from ledger.endpoints import DAY_S
from lockgate.cli import AsJson, report, settings, with_connection

T = TypeVar("T")
MOST = 1_000
Key = Annotated[str, typer.Argument(metavar="ENDPOINT", help="An endpoint's id, as `list` shows it.")]
Author = Annotated[str | None, typer.Option(help="Who does it, for the log; your user name by default.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="transfer.settled, or transfer.*; may be repeated.")]

app = typer.Typer(help="Endpoints that events are brought to by webhooks.", no_args_is_help=True)


@app.command("list")
def listing(as_json: AsJson = False) -> None:
    """Every endpoint, and how far it is."""
    rows = with_connection(lambda conn: conn.fetch(store.SQL["endpoints"], None, MOST))
    found = [work.view(row) for row in rows]
    report({"endpoints": found}, as_json, "\n".join(map(line, found)) or "no endpoints")


@app.command()
def show(key: Key, as_json: AsJson = False) -> None:
    """One endpoint."""
    told(with_connection(lambda conn: work.find(conn, key)), as_json)


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="https, at a public address.")],
    kind: Kinds = None,
    description: Annotated[str, typer.Option()] = "",
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint and print its secret, this once. Without --kind it gets every kind of event."""

    async def act(conn: asyncpg.Connection) -> dict[str, Any]:
        await work.admit(settings().webhooks, url)
        async with conn.transaction():
            key, secret = await work.add(conn, url, kind or [], description, author or getpass.getuser())
            return {**work.view(await work.find(conn, key)), "secret": secret}

    made = with_connection(act)
    report(made, as_json, f"{line(made)}\nsecret {made['secret']}")


@app.command()
def change(
    key: Key,
    url: Annotated[str | None, typer.Option()] = None,
    kind: Kinds = None,
    description: Annotated[str | None, typer.Option()] = None,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; --kind replaces all kinds."""
    given: dict[str, Any] = {"url": url, "kinds": kind, "description": description}
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        raise typer.BadParameter("give --url, --kind or --description")

    async def act(conn: asyncpg.Connection) -> None:
        if url is not None:
            await work.admit(settings().webhooks, url)
        async with conn.transaction():
            await work.change(conn, key, author or getpass.getuser(), **wanted)

    with_connection(act)
    show(key, as_json)


@app.command()
def enable(key: Key, author: Author = None, as_json: AsJson = False) -> None:
    """Go on where the endpoint stopped."""
    acted(lambda conn: work.change(conn, key, author or getpass.getuser(), enabled=True))
    show(key, as_json)


@app.command()
def disable(key: Key, author: Author = None, as_json: AsJson = False) -> None:
    """Bring it nothing more, and keep its place."""
    acted(lambda conn: work.change(conn, key, author or getpass.getuser(), enabled=False))
    show(key, as_json)


@app.command()
def rotate(
    key: Key,
    overlap_hours: Annotated[float, typer.Option(min=0, max=720, help="For so long the old one signs too.")] = 24,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Make a new secret and print it, this once."""
    overlap_s = round(overlap_hours * DAY_S / 24)
    secret = acted(lambda conn: work.rotate(conn, key, overlap_s, author or getpass.getuser()))
    report({"id": key, "secret": secret, "overlap_s": overlap_s}, as_json, f"secret {secret}")


@app.command()
def remove(key: Key, author: Author = None, as_json: AsJson = False) -> None:
    """Remove an endpoint, what waits for it, and its deliveries."""
    acted(lambda conn: work.remove(conn, key, author or getpass.getuser()))
    report({"removed": key}, as_json, f"removed {key}")


@app.command()
def replay(
    key: Key,
    after: Annotated[int | None, typer.Option(min=0, help="The seq to begin after; 0 is the beginning.")] = None,
    since: Annotated[str | None, typer.Option(help="A time, such as 2027-01-01T00:00:00Z.")] = None,
    author: Author = None,
    as_json: AsJson = False,
) -> None:
    """Bring every wanted event from a point on once more."""
    try:
        moment = datetime.fromisoformat(since) if since else None
    except ValueError as error:
        raise typer.BadParameter(f"{since!r} is no time; write it as 2027-01-01T00:00:00Z") from error
    begin = acted(lambda conn: work.replay(conn, key, author or getpass.getuser(), after=after, since=moment))
    report({"id": key, "after": begin}, as_json, f"{key} gets every wanted event after {begin} once more")


@app.command()
def deliveries(
    key: Key,
    seq: Annotated[int | None, typer.Option(help="Of this event alone.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was not delivered.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST)] = 20,
    as_json: AsJson = False,
) -> None:
    """What was posted and how it ended, newest first."""

    async def read(conn: asyncpg.Connection) -> list[Any]:
        await work.find(conn, key)
        return list(await conn.fetch(store.SQL["deliveries"], key, None, seq, failed, limit))

    found = [work.delivery_view(row) for row in with_connection(read)]
    report({"deliveries": found}, as_json, "\n".join(map(delivery_line, found)) or "no deliveries")


@app.command("test")
def post_test(key: Key, author: Author = None, as_json: AsJson = False) -> None:
    """Post a test now, and say how that ended; exit status 1 where it was not delivered."""
    terms = settings().webhooks
    ended = with_connection(lambda conn: work.test(conn, terms, key, author or getpass.getuser()))
    shown = work.delivery_view(ended._asdict())
    report(shown, as_json, delivery_line(shown))
    raise typer.Exit(0 if shown["outcome"] == "delivered" else 1)


def acted(act: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """What an act gives, in a transaction of its own."""

    async def run(conn: asyncpg.Connection) -> T:
        async with conn.transaction():
            return await act(conn)

    return with_connection(run)


def told(row: Any, as_json: bool) -> None:
    shown = work.view(row)
    report(shown, as_json, line(shown))


def line(one: dict[str, Any]) -> str:
    """An endpoint as one line.

    >>> line({"id": "we_1", "url": "https://a.example/", "kinds": [], "enabled": True, "behind": 3, "waiting": 0})
    'we_1  enabled  https://a.example/  every kind  3 behind, 0 waiting'
    """
    state = "enabled" if one["enabled"] else f"disabled ({one['disabled_why']})"
    kinds = ", ".join(one["kinds"]) or "every kind"
    failing = f", failing since {one['failing_since']}" if one.get("failing_since") else ""
    return f"{one['id']}  {state}  {one['url']}  {kinds}  {one['behind']} behind, {one['waiting']} waiting{failing}"


def delivery_line(one: dict[str, Any]) -> str:
    event = "test" if one["seq"] is None else f"event {one['seq']} attempt {one['attempt']}"
    answer = one["error"] or f"{one['status']} {one['excerpt'] or ''}".strip()
    later = f"; again at {one['next_at']}" if one["next_at"] else ""
    return f"{one['at']}  {event}  {one['outcome']}: {answer} ({one['latency_ms']} ms){later}"
