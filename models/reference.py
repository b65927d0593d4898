"""What gifts were like when a model was made, to compare later ones with. Law: of gifts that the fit had not seen.

A spread counts values by bins: `counts[k]` of those with `edges[k - 1]` ≤ value < `edges[k]`, open at both ends, so
that there is one count more than edges; `nulls` are besides. Plain dictionaries, as they stand in `reference.json`.
"""

from typing import TypedDict

import numpy as np

from models.errors import ArtifactRefused
from models.forest import Floats

BINS = 20


class Spread(TypedDict):
    """Counts of one number over gifts, by bins that held about as many each."""

    edges: list[float]
    counts: list[int]
    nulls: int


class Reference(TypedDict):
    """The whole of reference.json: `rows` gifts, of each feature and of the score a spread, and the verdicts."""

    features: dict[str, Spread]
    score: Spread
    verdicts: dict[str, int]
    rows: int


def spread(values: Floats, bins: int = BINS) -> Spread:
    """The spread of values (n,), NaN for null, in at most `bins` bins; a value that is common is an edge of its own."""
    there = np.sort(values[~np.isnan(values)])
    places = (np.arange(1, bins) * len(there)) // bins
    # The least value as an edge would leave a bin for nothing.
    edges = np.unique(there[places]) if len(there) else there
    edges = edges[edges > there[0]] if len(there) else edges
    return {
        "edges": edges.tolist(),
        "counts": counted(there, edges),
        "nulls": int(len(values) - len(there)),
    }


def counted(values: Floats, edges: Floats) -> list[int]:
    """How many of the values, none of them NaN, lie in each bin."""
    found: list[int] = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()
    return found


def check(reference: Reference, features: tuple[str, ...]) -> None:
    """Refuse a reference that is not of these features, or whose counts do not add up."""
    spreads = {**reference["features"], "the score": reference["score"]}
    faults = {
        "is not of this model's features": set(reference["features"]) != set(features),
        "has counts below 0": any(min(*one["counts"], one["nulls"], 0) < 0 for one in spreads.values()),
        "needs one count more than edges": any(len(one["counts"]) != len(one["edges"]) + 1 for one in spreads.values()),
        "has edges that do not rise": any(not np.all(np.diff(one["edges"]) > 0) for one in spreads.values()),
        "does not count every gift": any(
            sum(one["counts"]) + one["nulls"] != reference["rows"] for one in spreads.values()
        )
        or sum(reference["verdicts"].values()) != reference["rows"],
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise ArtifactRefused("malformed", f"reference.json {'; '.join(found)}")
