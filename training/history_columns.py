"""The columns of a history, from whatever they were written as: each becomes typed, or null where it cannot be."""

from datetime import date

import polars as pl

TIME = pl.Datetime("us", "UTC")
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999, Python's
RFC_3339 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})$"
)
LOOSE_TIME = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?)"
    r"(?:[Zz]|([+-][0-9]{2})(?::?([0-9]{2}))?)?$"
)
WHOLE = r"^(-?[0-9]+)(?:\.[0-9]+)?$"
FRACTION = r"^-?[0-9]+\.[0-9]*[1-9][0-9]*$"
# From here on, neighbouring integers share one float (IEEE 754).
EXACT_BELOW: dict[type[pl.DataType], int] = {pl.Float16: 2**11, pl.Float32: 2**24, pl.Float64: 2**53}
TRUE, FALSE = ("true", "t", "1", "1.0"), ("false", "f", "0", "0.0")


def typed(name: str, dtype: pl.DataType) -> pl.Expr:
    if name in ("at", "label_at"):
        return time(pl.col(name), dtype)
    if name == "amount":
        return amount(pl.col(name), dtype)
    if name == "fraud":
        return fraud(pl.col(name), dtype)
    return pl.col(name).cast(pl.String)


def empty(name: str, schema: pl.Schema) -> pl.Expr:
    given = pl.col(f"given_{name}")
    if schema[f"given_{name}"] != pl.String:
        return given.is_null()
    return given.is_null() | (given.str.strip_chars() == "")


def time(given: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Microseconds of UTC, null where the value is no time or outside the years 1 to 9999."""
    if dtype == pl.String:
        stamp = parsed_time(given).to_physical()
    elif isinstance(dtype, pl.Datetime):
        stamp = given.to_physical()
        if dtype.time_unit == "ns":
            stamp = stamp // 1000
        elif dtype.time_unit == "ms":
            stamp = pl.when(stamp.is_between(FIRST_US // 1000, LAST_US // 1000)).then(stamp * 1000)
    else:
        stamp = pl.lit(None, pl.Int64)
    return pl.when(stamp.is_between(FIRST_US, LAST_US)).then(stamp).cast(TIME)


def parsed_time(text: pl.Expr) -> pl.Expr:
    strict = text.str.contains(RFC_3339)
    parts = pl.when(~strict).then(text).str.extract_groups(LOOSE_TIME).struct
    offset = [parts[2].fill_null("+00"), pl.lit(":"), parts[3].fill_null("00")]
    rewritten = pl.concat_str(parts[0], pl.lit("T"), parts[1], *offset)
    spelled = pl.when(strict).then(text), rewritten
    return pl.coalesce(one.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False) for one in spelled)


def amount(given: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The whole amount, null where it is none or does not fit."""
    if dtype == pl.String or dtype.is_decimal():
        whole = given.cast(pl.String).str.extract(WHOLE)
        return pl.when(~fractional(given, dtype)).then(whole).cast(pl.Int64, strict=False)
    if dtype.is_float():
        exact = given.is_finite() & (given.cast(pl.Float64).abs() < EXACT_BELOW[dtype.base_type()])
        return pl.when(exact & ~fractional(given, dtype)).then(given).cast(pl.Int64, strict=False)
    return given.cast(pl.Int64, strict=False) if dtype.is_integer() else pl.lit(None, pl.Int64)


def fractional(given: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String or dtype.is_decimal():
        return given.cast(pl.String).str.contains(FRACTION).fill_null(False)
    if dtype.is_float():
        return (given.is_finite() & (given.floor() != given)).fill_null(False)
    return pl.lit(False)


def fraud(given: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Boolean:
        return given
    if dtype != pl.String and not dtype.is_numeric():
        return pl.lit(None, pl.Boolean)
    text = given.cast(pl.String).str.to_lowercase()
    return pl.when(text.is_in(TRUE)).then(True).when(text.is_in(FALSE)).then(False)


def shown(name: str, schema: pl.Schema) -> pl.Expr:
    """The value as text. Polars panics on a time beyond its calendar, so datetimes show as numbers."""
    given, dtype = pl.col(f"given_{name}"), schema[f"given_{name}"]
    if dtype == pl.Date:
        return given.clip(date.min, date.max).cast(pl.String)
    return (given.to_physical() if dtype == pl.Datetime else given).cast(pl.String)
