"""`lockgate simulate`. Law: what cannot be done is said before any work begins."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.terminal import START, AsJson, Quiet, mended, moment, progress, report, wanted, write

if TYPE_CHECKING:
    import polars as pl


def simulate(
    out: Annotated[Path, typer.Option(help="The history to write, .parquet or .csv; it replaces what is there.")],
    orgs: Annotated[int, typer.Option(help="Customers, at least 50; guests, students and thieves come on top.")] = 2000,
    days: Annotated[int, typer.Option(help="Days of history, at least 7.")] = 90,
    seed: Annotated[int, typer.Option(help="The same seed gives the same platform.")] = 1,
    start: Annotated[str, typer.Option(help="The first day, RFC 3339.")] = START,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic platform as a history file: honest gifts, named frauds and their look-alikes.

    For demos, tests and a first model; never proof of a model's quality. The columns typology and truth are for judging
    only: a feature must not read them.
    """
    with mended("simulate"):
        wanted(out)
        from training.simulate import simulate as platform

        with progress(quiet or as_json) as step:
            began = time.monotonic()
            rows = platform(orgs, days, seed, moment(start), step)
            step(f"writing {out}", 0.97)
            write(rows, out)
        shape = summary(rows) | {"orgs": orgs, "days": days, "seed": seed, "path": str(out)}
    report({**shape, "seconds": round(time.monotonic() - began, 2)}, as_json, told(shape))


def summary(rows: pl.DataFrame) -> dict[str, Any]:
    """What a history holds: frauds are those in truth, known frauds those that a label ever names."""
    counts = rows.group_by("typology", "truth").len().sort(["truth", "len", "typology"], descending=[True, True, False])
    return {
        "rows": rows.height,
        "frauds": int(rows["truth"].sum()),
        "known_frauds": int(rows["fraud"].sum()),
        "from": rows["at"][0].isoformat() if rows.height else None,
        "to": rows["at"][-1].isoformat() if rows.height else None,
        "by_typology": {name: {"gifts": gifts, "fraud": truth} for name, truth, gifts in counts.iter_rows()},
    }


def told(shape: dict[str, Any]) -> str:
    share = shape["frauds"] / max(shape["rows"], 1)
    lines = [f"{shape['path']}: {shape['rows']:,} gifts in {shape['days']} days, {shape['orgs']:,} customers"]
    lines.append(f"{shape['frauds']:,} frauds ({share:.2%}), {shape['known_frauds']:,} gifts ever labelled fraud")
    lines += [
        f"  {name:24} {one['gifts']:>10,}  {'fraud' if one['fraud'] else 'honest'}"
        for name, one in shape["by_typology"].items()
    ]
    return "\n".join(lines)
