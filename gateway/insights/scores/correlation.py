"""How a score goes with an outcome of the same people: a rank correlation, which needs no scale of equal steps."""

from __future__ import annotations

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np

from gateway.insights.kernels.events import Floats
from gateway.insights.kernels.statistics import Z

#: Fewer people than this are no ground for an interval.
FEWEST = 10
METHOD = "Spearman's rank correlation; 95 % interval by Fisher's z with the variance of Bonett and Wright (2000)."


@dataclass(frozen=True, slots=True)
class Correlation:
    """From -1 to 1, of `n` people; None where there are fewer than 3, or where all have the same score or outcome."""

    n: int
    value: float | None
    low: float | None = None
    high: float | None = None


def correlated(scores: Floats, outcomes: Floats) -> Correlation:
    """Of two columns of the same people."""
    n = len(scores)
    if n < 3 or np.ptp(scores) == 0 or np.ptp(outcomes) == 0:
        return Correlation(n, None)
    one, other = _ranks(scores), _ranks(outcomes)
    value = float(np.corrcoef(one, other)[0, 1])
    value = max(-1.0, min(1.0, value))
    if n < FEWEST or abs(value) == 1:
        return Correlation(n, value)
    margin = Z * sqrt((1 + value**2 / 2) / (n - 3))
    return Correlation(n, value, tanh(atanh(value) - margin), tanh(atanh(value) + margin))


def _ranks(values: Floats) -> Floats:
    """Ranks from 1 on; those that are equal share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    found: Floats = ((ends - counts + 1 + ends) / 2.0)[place]
    return found
