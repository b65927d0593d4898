"""`lockgate …`: one Typer app made of the packages' own.

Starting quickly is part of it: a package is imported when one of its commands runs, never to show the help.
A fault that the operator can mend is one message on stderr and exit status 1; any other keeps its traceback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    import asyncpg

    from lockgate.config import Settings

T = TypeVar("T")
Work = Callable[["asyncpg.Connection"], Awaitable[T]]
Half = Literal["ledger", "detector"]
Role = Literal["platform", "service", "owner", "reader", "analyst", "lead", "auditor"]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]

# Commands that other modules own: where each is, and what the help says of it without importing it.
OWNED = {
    "policy": ("detector.cli:app", "Check, compare, activate and roll back policies."),
    "models": ("training.models_cli:app", "Artifacts: list, compare, promote, shadow and roll back."),
    "replay": ("lockgate.replay:command", "Play a history file through the real thing, on a virtual clock."),
    "simulate": ("training.simulate_cli:simulate", "Write a synthetic platform as a history file."),
    "train": ("training.cli:train", "Learn a model from a history file, as of a day."),
    "evaluate": ("training.folds_cli:evaluate", "Say how well models would have judged past weeks of a history."),
    "score-history": ("training.cli:score_history", "Score past gifts, each from what was known at its moment."),
    "backtest": ("training.backtest_cli:backtest", "Say what a policy would have done to a history."),
    "history": ("training.history_cli:app", "Write the recorded gifts as a history file."),
    "drift": ("training.drift_cli:drift", "Compare recent gifts with those that a model learned from."),
    "verify": (
        "lockgate.verify:verify",
        "Check that the event log is what was appended, and records agree with it.",
    ),
    "breaker": ("detector.breaker_cli:breaker", "Say whether a mass of blocks is being held instead, and why."),
    "events": ("detector.log_cli:app", "Read, follow and prove the event log."),
    "review": ("detector.review.cli:app", "The analyst's desk: read and rule on what is held."),
    "endpoints": ("lockgate.endpoint_cli:app", "Webhooks: where events are brought to, and how that goes."),
    "relook": ("ledger.relook_cli:relook", "Say what news has still to be judged on waiting gifts."),
    "orgs": ("lockgate.orgs_cli:app", "Stolen accounts: report, recover, replace keys."),
    "trace": ("ledger.trace_cli:trace", "Show where credits came from and went, through any chain of gifts."),
    "bench": ("bench.cli:app", "Measure the gate against pgbench and an empty endpoint."),
}


class FrontDoor(TyperGroup):
    """Shows a stub of each owned command, and fetches the command itself when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, fetch(name) if name in OWNED else command, rest


app = typer.Typer(
    cls=FrontDoor,
    help="Credits gifted between customers, through a lock that keeps fraudsters out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    try:
        app()
    except Exception as error:  # an exit is none, so a command that ends well imports nothing for it
        if not isinstance(error, mendable()):
            raise
        sys.exit(f"lockgate: {told(error)}")


@app.callback()
def front_door(ctx: typer.Context) -> None:
    # What a package's commands need of the house: a way to the database.
    ctx.obj = with_connection


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=256, help="How many processes, each a gate.")] = 1,
    demo: Annotated[bool, typer.Option(help="On the first run, make two demo orgs.")] = False,
    only: Annotated[
        Half | None, typer.Option(help="One half alone: the scoring API, or a ledger that asks it.")
    ] = None,
    scorer: Annotated[str | None, typer.Option(metavar="URL", help="The scorer that a ledger alone asks.")] = None,
) -> None:
    """Start PostgreSQL and Lockgate; Ctrl-C stops both."""
    import lockgate.serve

    # The workers read their settings from the environment, as this process does.
    os.environ.update({name: told for name, told in (("LOCKGATE_ONLY", only), ("LOCKGATE_SCORER", scorer)) if told})
    lockgate.serve.serve(settings(), host=host, port=port, workers=workers, demo=demo)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to the schema that this version expects."""
    import lockgate.migrate

    applied = with_connection(lockgate.migrate.migrate, create=True)
    text = "\n".join(f"applied {name}" for name in applied) or "nothing to apply"
    report({"applied": applied}, as_json, text)


@app.command()
def reconcile(as_json: AsJson = False) -> None:
    """Check that no credit was lost or made: law 1 over the whole ledger, in one snapshot."""
    from ledger.funding import reconcile as books

    sums = with_connection(books)
    balanced = sums.pop("balanced")
    lines = [f"{name.replace('_', ' '):20} {total:>24,}" for name, total in sums.items()]
    lines.append("balanced" if balanced else "NOT balanced: compare the sums above")
    report({**sums, "balanced": balanced}, as_json, "\n".join(lines))
    raise typer.Exit(0 if balanced else 1)


@app.command()
def version(as_json: AsJson = False) -> None:
    """Say which version this is."""
    from importlib.metadata import version as version_of

    report({"version": version_of("lockgate")}, as_json, version_of("lockgate"))


keys = typer.Typer(help="Issue and revoke API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.callback()
def keys_door() -> None:
    """Issue and revoke API keys."""


@keys.command()
def create(
    role: Annotated[Role, typer.Option(help="What the key may do.")],
    org: Annotated[str | None, typer.Option(help="The org of an owner's or a reader's key.")] = None,
    name: Annotated[str | None, typer.Option(help="Its role by default; a person's key needs their name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a key and print it, this once: the database keeps only its hash."""
    from ledger import access, store
    from ledger.errors import NotFound

    async def issue(conn: asyncpg.Connection) -> str:
        if org is not None and await conn.fetchrow(store.SQL["org"], org) is None:
            raise NotFound(f"org {org!r} does not exist")
        return await access.issue_key(conn, role, name or role, org)

    key = with_connection(issue)
    report({"key": key, "role": role, "org": org, "name": name or role}, as_json, key)


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key itself; - reads it from standard input, out of sight.")],
    as_json: AsJson = False,
) -> None:
    """Revoke any key. Processes that know it stop honouring it within two seconds."""
    from ledger import access

    plain = sys.stdin.readline().strip() if key == "-" else key
    name = with_connection(lambda conn: access.revoke_key(conn, plain))
    report({"revoked": name}, as_json, f"revoked {name}")


def with_connection(work: Work[T], *, create: bool = False) -> T:
    """What `work` returns, run on one connection to the database of the settings.

    It starts the embedded server if nobody else runs it, but makes a new one only to `create`: a report on a
    database that is not there is a mistake about the directory.
    """
    import asyncio

    from lockgate.postgres import engine
    from lockgate.serve import StartError, connect

    chosen = settings()
    if not create and chosen.database_url is None and not (chosen.home / "postgres").exists():
        raise StartError(
            f"there is no database in {chosen.home.resolve()} yet: run 'lockgate serve' or "
            "'lockgate migrate' first, or set LOCKGATE_HOME or DATABASE_URL to where it is"
        )

    async def run(dsn: str) -> T:
        conn = await connect(dsn)
        try:
            return await work(conn)
        finally:
            await conn.close()

    with engine(chosen) as dsn:
        return asyncio.run(run(dsn))


def settings() -> Settings:
    from lockgate.config import Settings

    return Settings.from_env(os.environ)


def report(shape: Any, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(shape, indent=2) if as_json else text)


def fetch(name: str) -> Any:
    """The command that a package owns: its Typer app, or one function."""
    module, _, attribute = OWNED[name][0].partition(":")
    owned = getattr(import_module(module), attribute)
    if isinstance(owned, typer.Typer):
        return typer.main.get_group(owned)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(owned)
    return typer.main.get_command(alone)


def mendable() -> tuple[type[BaseException], ...]:
    """The faults whose message alone tells the operator what to do; imported when there is one."""
    import asyncpg

    from detector.errors import DetectorError
    from ledger.errors import LedgerError
    from lockgate.config import SettingError
    from lockgate.migrate import MigrationError
    from lockgate.serve import StartError

    ours = (SettingError, MigrationError, StartError, DetectorError, LedgerError)
    return (*ours, asyncpg.PostgresError, OSError, subprocess.SubprocessError)


def told(error: BaseException) -> str:
    import asyncpg

    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.InvalidSchemaNameError):
        return f"this database is not migrated ({error}): run 'lockgate migrate' first"
    return str(error) or type(error).__name__


for owned_name, (_, owned_help) in OWNED.items():
    app.command(owned_name, help=owned_help)(lambda: None)

if __name__ == "__main__":
    main()
