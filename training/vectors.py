"""The features of a history, computed once. Law: the cache is asked by content: the same rows and the same table.

It is joblib's, and so of pickles: a cache directory is as trusted as the code, and the service never reads one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import joblib
import polars as pl

from detector.feature_table import HASH
from training.features import features

CACHE = Path(".lockgate/cache")
# Of 900,000 gifts the features take 1 GB.
CACHE_BYTES = 4 * 2**30


def vectors(rows: pl.DataFrame, cache: Path | None = CACHE) -> pl.DataFrame:
    """The features of `rows`, from the cache where they are there; without a cache, computed."""
    if cache is None:
        return features(rows)
    memory = joblib.Memory(cache, verbose=0)
    found: pl.DataFrame = memory.cache(_computed, ignore=["rows"])(rows, digest(rows), HASH)
    memory.reduce_size(bytes_limit=CACHE_BYTES)
    return found


def digest(rows: pl.DataFrame) -> str:
    """SHA-256 of the columns' names, types and values, in order."""
    said = f"{pl.__version__} {rows.schema}".encode()
    return hashlib.sha256(said + rows.hash_rows().to_numpy().tobytes()).hexdigest()


def _computed(rows: pl.DataFrame, content: str, table: str) -> pl.DataFrame:
    return features(rows)
