"""How the tables of a policy file are checked, whatever they are about: every fault is noted with its cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from detector.gift import Verdict

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
ACTIONS = {"hold": Verdict.HOLD, "block": Verdict.BLOCK}
MOST = 200


def rows(table: Mapping[str, Any], key: str, faults: list[str]) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        faults.append(f"{key!r} must be written as [[{key}]] tables")
        return []
    if len(found) > MOST:
        faults.append(f"{len(found)} [[{key}]] tables; at most {MOST}")
    return found


def unknown(where: str, row: Mapping[str, Any], known: Iterable[str], faults: list[str]) -> None:
    for key in row.keys() - set(known):
        near = difflib.get_close_matches(key, list(known), 1)
        faults.append(f"{where}: unknown field {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def named(where: str, row: Mapping[str, Any], faults: list[str]) -> None:
    if not isinstance(row.get("name"), str) or not NAME.match(row["name"]):
        faults.append(f"{where}: a name is 1 to 64 of a-z, 0-9 and _, and starts with a letter")
    if not isinstance(row.get("description"), str) or not row["description"].strip():
        faults.append(f"{where}: say in description which abuse it catches")


def one_of(where: str, row: Mapping[str, Any], key: str, faults: list[str]) -> Verdict:
    action = ACTIONS.get(str(row.get(key)))
    if action is None:
        faults.append(f"{where}: {key} = {row.get(key)!r}; write {' or '.join(map(repr, ACTIONS))}")
    return action or Verdict.HOLD


def whole(ceiling: Any) -> bool:
    return isinstance(ceiling, int) and not isinstance(ceiling, bool) and 1 <= ceiling < 2**63


def span(seconds: int) -> str:
    """A span as the policy file writes it.

    >>> span(90), span(600), span(86_400), span(31_536_000)
    ('90s', '10m', '24h', '365d')
    """
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0 and (unit != "d" or seconds > size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def span_s(where: str, key: str, span: Any, faults: list[str], most_s: int) -> int:
    """A span such as "90s", "10m", "24h" or "30d" in seconds, at most `most_s`."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", span) if isinstance(span, str) else None
    seconds = int(match[1]) * UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= most_s:
        faults.append(f'{where}: {key} = {span!r}; write a span from "1s" to "{longest(most_s)}", such as "10m"')
    return seconds


def longest(most_s: int) -> str:
    return f"{most_s // 86_400}d" if most_s >= 86_400 else f"{most_s // 3_600}h"
