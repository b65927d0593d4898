"""What promotion asks and answers: a pair of models with the gifts that judge them, findings, and the ruling.
Law: a finding says its figure, its bound and its cure.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from models.forest import Floats
from models.model import Model
from training.judged import Judged

BUDGET = 0.01  # share of gifts that review can look at
FEW = 8  # fewer gifts or frauds than this say nothing of a segment


@dataclass(frozen=True, slots=True)
class Finding:
    """One question's answer. `figure` was to stay within `bound`; `cure` says what to do where it did not."""

    gate: str
    passed: bool
    figure: float
    bound: float
    said: str
    cure: str = ""

    def __str__(self) -> str:
        text = f"{self.gate}: {self.said} ({self.figure:.4g}, bound {self.bound:.4g})"
        return text if self.passed else f"{text}; {self.cure}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """All answers."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.findings)

    @property
    def refusals(self) -> list[Finding]:
        return [one for one in self.findings if not one.passed]

    def shape(self) -> dict[str, Any]:
        return {"passed": self.passed, "findings": [asdict(one) for one in self.findings]}


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models with their scores of the same gifts; `count` gifts are looked at."""

    challenger: Model
    champion: Model | None
    judged: Judged
    ours: Floats
    theirs: Floats | None

    @property
    def count(self) -> int:
        return max(1, round(BUDGET * len(self.ours)))


def as_of(model: Model) -> datetime:
    """The moment whose knowledge the model was made of."""
    told = model.manifest.parameters.get("as_of")
    moment = datetime.fromisoformat(told) if isinstance(told, str) else model.manifest.window.end
    return max(moment, model.manifest.window.end)
