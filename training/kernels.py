"""Kernels: what sorts a history by org, and the windows of count, sum, distinct and gap. Law: a row sees earlier rows.

Rows stand in order (at, input order). A kernel goes org by org through gathered copies, so that it reads memory in
order, and writes its columns by row. All is int64: times in microseconds, amounts in micro-credits, NULL for what is
not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from detector.feature_table import HORIZON_S, PAIR

I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
Bools = NDArray[np.bool_]
NULL = int(np.iinfo(np.int64).min)
NONE = -1  # no row before, no key
ALL = int(np.iinfo(np.int64).max)
SECOND = 1_000_000
HORIZON = HORIZON_S * SECOND


class Grouped(NamedTuple):
    """Rows by key, in order: those of key k are rows[start[k]:start[k + 1]]."""

    start: I64
    rows: I64


class Links(NamedTuple):
    """For each row the one before and the one after it of the same key and other party, among those that taught; NONE
    and the number of all rows where there is none."""

    before: I64
    after: I64


Function = TypeVar("Function", bound=Callable[..., Any])


def jit(function: Function) -> Function:
    """Compiled at the first call, kept on disk, run without the interpreter's lock.

    Each loop is written out: NumPy's own words for it (slices, sums, fancy indices) take up to seconds to compile.
    """
    return cast(Function, njit(cache=True, nogil=True)(function))


@jit
def taken(column: I64, rows: I64) -> I64:
    """The column's values in these rows, in their order."""
    out = np.empty(len(rows), np.int64)
    for p in range(len(rows)):
        out[p] = column[rows[p]]
    return out


@jit
def grouped(code: I64, keys: int) -> Grouped:
    """The rows of each key (a counting sort). A row of code NONE is in no group."""
    start = np.zeros(keys + 1, np.int64)
    for k in code:
        if k != NONE:
            start[k + 1] += 1
    fill = np.empty(keys, np.int64)
    for k in range(keys):
        fill[k] = start[k]
        start[k + 1] += start[k]
    rows = np.empty(start[keys], np.int64)
    for i in range(len(code)):
        if code[i] != NONE:
            rows[fill[code[i]]] = i
            fill[code[i]] += 1
    return Grouped(start, rows)


@jit
def neighbours(groups: Grouped, other: I64, others: int, taught: Bools) -> Links:
    """How the rows of each (key, other) are linked. `other` codes are below `others`."""
    start, rows = groups
    n = len(other)
    before, after = np.full(n, NONE, np.int64), np.full(n, n, np.int64)
    last, owner = np.full(others, NONE, np.int64), np.full(others, NONE, np.int64)
    for k in range(len(start) - 1):
        for p in range(start[k], start[k + 1]):
            i, o = rows[p], other[rows[p]]
            if owner[o] == k:
                before[i] = last[o]
            if taught[i]:
                if owner[o] == k:
                    after[last[o]] = i
                owner[o] = k
                last[o] = i
    return Links(before, after)


def blank(columns: int, rows: int) -> I64:
    """Room for columns. NumPy asks the system for huge pages; memory from a kernel costs a page fault every 4 KB."""
    return np.empty((columns, rows), np.int64)


@jit
def windows(
    asking: Grouped, events: Grouped, at: I64, amount: I64, links: Links, spans: I64, most: int, out: I64
) -> None:
    """Count, sum and distinct counterparts of the key's gifts in each span, `most` at most, then seconds since the
    latest of them.

    `asking` are the gifts that ask by the key that they ask about, `events` that key's; `links` are of its pairs."""
    (start, rows), wide = events, len(spans)
    when, value = taken(at, rows), taken(amount, rows)
    previous, following = taken(links.before, rows), taken(links.after, rows)
    lo, total, kinds = np.empty(wide, np.int64), np.empty(wide, np.int64), np.empty(wide, np.int64)
    for k in range(len(asking.start) - 1):
        hi, end = start[k], start[k + 1]
        for w in range(wide):
            lo[w], total[w], kinds[w] = hi, 0, 0
        for p in range(asking.start[k], asking.start[k + 1]):
            i = asking.rows[p]
            now = at[i]
            while hi < end and rows[hi] < i:
                for w in range(wide):
                    total[w] += value[hi]
                    kinds[w] += hi == lo[w] or previous[hi] < rows[lo[w]]
                hi += 1
            for w in range(wide):
                first, floor = lo[w], now - spans[w]
                while first < hi and (when[first] <= floor or hi - first > most):
                    total[w] -= value[first]
                    kinds[w] -= following[first] >= i  # the gifts of a pair that came in are those before i
                    first += 1
                lo[w] = first
                out[3 * w, i], out[3 * w + 1, i], out[3 * w + 2, i] = hi - first, total[w], kinds[w]
            out[3 * wide, i] = (now - when[hi - 1]) // SECOND if hi > lo[wide - 1] else NULL


@jit
def spelled(amount: I64, out: I64) -> None:
    """Decimal digits of each amount without its trailing zeros; by how many thousandths it stays under the next of 1,
    2, 2.5, 5 and 10 times a power of ten."""
    for i in range(len(amount)):
        a, digits, power = amount[i], 1, 1
        while a >= 10 * power:
            power *= 10
            digits += 1
        above = 10 * power
        for tenths in (50, 25, 20, 10):
            mark = power * tenths // 10
            if mark * 10 == power * tenths and mark >= a:
                above = mark
        while digits and a % 10 == 0:
            a //= 10
            digits -= 1
        out[0, i], out[1, i] = digits, (above - amount[i]) * 1000 // above


@jit
def pairs(before: I64, at: I64, out: I64) -> None:
    """Earlier gifts of the pair within the horizon, PAIR at most; seconds since the latest of them."""
    for i in range(len(at)):
        floor = at[i] - HORIZON
        j, n = before[i], 0
        out[1, i] = (at[i] - at[j]) // SECOND if j != NONE and at[j] > floor else NULL
        while j != NONE and at[j] > floor and n < PAIR:
            n += 1
            j = before[j]
        out[0, i] = n
