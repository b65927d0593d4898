"""The fields of a CSV history as text, and which of its lines are ragged. No line is padded or cut in silence."""

import csv
import io
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import polars as pl

CSV_BATCH_ROWS = 50_000


def fields(path: Path, limit: int | None, check_header: Callable[[list[str]], None]) -> tuple[pl.DataFrame, pl.Series]:
    """All fields as text. Polars' own reader pads short lines and cuts long ones, so lines are split here."""
    text = path.read_text(encoding="utf-8-sig").rstrip("\n")
    if '"' in text:
        quoted = csv.reader(io.StringIO(text), strict=True)
        header = next(quoted)
        check_header(header)
        given, ragged = _quoted_fields(header, islice(quoted, limit))
    else:
        lines = pl.Series("line", [text]).str.split("\n").explode()
        header = lines[0].split(",")
        check_header(header)
        given, ragged = _plain_fields(header, lines.slice(1, limit))
    return given.select(pl.when(pl.all() != "").then(pl.all())), ragged


def _plain_fields(header: list[str], lines: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
    """The fields of lines without a quote, and the lines that are ragged."""
    commas = len(header) - 1
    given = lines.str.split_exact(",", commas).struct.unnest()
    given.columns = header
    odd = pl.col("line").str.count_matches(",", literal=True) != commas
    return given, lines.to_frame().select(pl.when(odd).then("line")).to_series()


def _quoted_fields(header: list[str], lines: Iterator[list[str]]) -> tuple[pl.DataFrame, pl.Series]:
    """The same for lines that Python's csv module splits: several times slower, right about quotes."""
    width, frames, ragged = len(header), [pl.DataFrame(schema=dict.fromkeys(header, pl.String))], []
    while batch := list(islice(lines, CSV_BATCH_ROWS)):
        ragged += [None if len(fields) == width else ",".join(fields) for fields in batch]
        even = [fields if len(fields) == width else (fields + [""] * width)[:width] for fields in batch]
        columns = zip(header, zip(*even, strict=True), strict=True)
        frames.append(pl.DataFrame([pl.Series(name, fields, dtype=pl.String) for name, fields in columns]))
    return pl.concat(frames), pl.Series("line", ragged, dtype=pl.String)
