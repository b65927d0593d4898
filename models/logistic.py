"""The logistic function, the same to the last bit on every machine.

NumPy and the C library each take another exp on another processor, and these differ in the last place. A recorded
score must come out again anywhere (law 11), so this one is made of IEEE additions, multiplications and one
division, in a fixed order: exp(x) = 2^(k/256) · exp(r) with |r| ≤ ln 2 / 512, a table for the first and five terms
of the series for the second. It is within 4e-16 of the true value.
"""

import math
from decimal import Decimal, localcontext

import numpy as np

from models.forest import Floats

STEPS = 256
STEP_BITS = 8
# Beyond, the score is within 1e-15 of 0 or 1, and what a float can tell apart there serves nobody.
FARTHEST = 36.0
# Up to here one after the other is faster.
FEW = 8


def _constants() -> tuple[Floats, float, float, float]:
    """2^(j/256); 256 / ln 2; and ln 2 / 256 as a short first part, whose multiples are exact, and a rest."""
    with localcontext() as context:
        context.prec = 40
        step = Decimal(2).ln() / STEPS
        powers = np.array([float((step * j).exp()) for j in range(STEPS)])
        head = round(float(step) * 2**36) / 2**36
        return powers, float(1 / step), head, float(step - Decimal(head))


POWERS, PER_UNIT, HEAD, REST = _constants()
POWERS_LIST = POWERS.tolist()
SERIES = tuple(1.0 / divisor for divisor in (24, 6, 2, 1, 1))


def logistic(logits: Floats) -> Floats:
    """1 / (1 + exp(-logit)) of each; NaN stays NaN."""
    if len(logits) <= FEW:
        return np.array([_of_one(logit) for logit in logits.tolist()])
    x = np.minimum(np.maximum(np.negative(logits), -FARTHEST), FARTHEST)
    steps = np.rint(x * PER_UNIT)
    x -= steps * HEAD
    x -= steps * REST
    series = x * SERIES[0]
    for factor in SERIES[1:-1]:
        series += factor
        series *= x
    series += SERIES[-1]
    # A NaN has no step; whichever it is given, its series is NaN.
    whole = np.fmax(steps, -FARTHEST * 2 * STEPS).astype(np.int64)
    exponentials = np.ldexp(POWERS.take(whole & (STEPS - 1)) * series, whole >> STEP_BITS)
    found: Floats = np.divide(1.0, exponentials + 1.0)
    return found


def _of_one(logit: float) -> float:
    """The same operations in the same order, without NumPy's cost of 20 µs a call."""
    if math.isnan(logit):
        return logit
    x = min(max(-logit, -FARTHEST), FARTHEST)
    step = round(x * PER_UNIT)
    x -= step * HEAD
    x -= step * REST
    series = x * SERIES[0]
    for factor in SERIES[1:-1]:
        series += factor
        series *= x
    series += SERIES[-1]
    return 1.0 / (math.ldexp(POWERS_LIST[step & (STEPS - 1)] * series, step >> STEP_BITS) + 1.0)
