"""The circuit around a scorer: a table of what happens when, and what may be asked then."""

from __future__ import annotations

import pytest

from ledger.circuit import Circuit

# Each step: the second, how a question ended (or `?`: whether one may be asked), and what follows.
TRIPS = {
    "an answer between failures keeps it closed": [
        (0, "silent", "closed"), (1, "silent", "closed"), (2, "answer", "closed"),
        (3, "silent", "closed"), (4, "silent", "closed"), (4, "?", True),
    ],
    "three in a row open it, and it rests": [
        (0, "silent", "closed"), (1, "silent", "closed"), (2, "silent", "open"),
        (2, "?", False), (11.9, "?", False), (11.9, "?", False),
    ],
    "after its rest one question is let through, no more": [
        (0, "silent", "closed"), (0, "silent", "closed"), (0, "silent", "open"),
        (10, "?", True), (10, "?", False), (50, "?", False), (51, "answer", "closed"), (51, "?", True),
    ],
    "a probe that fails opens it again, for as long": [
        (0, "silent", "closed"), (0, "silent", "closed"), (0, "silent", "open"),
        (10, "?", True), (12, "silent", "open"), (12, "?", False), (21.9, "?", False), (22, "?", True),
    ],
    "what was asked before it opened may still close it": [
        (0, "silent", "closed"), (0, "silent", "closed"), (0, "silent", "open"),
        (1, "answer", "closed"), (1, "?", True),
    ],
}  # fmt: skip


@pytest.mark.parametrize("steps", TRIPS.values(), ids=TRIPS)
def test_the_circuit(steps: list[tuple[float, str, object]]) -> None:
    circuit = Circuit(failures=3, rest_s=10.0)
    for now, what, then in steps:
        if what == "?":
            assert circuit.admits(now) is then, (now, what)
            continue
        if what == "answer":
            circuit.succeeded()
        else:
            circuit.fell_silent(now)
        assert circuit.state(now) == then, (now, what)
