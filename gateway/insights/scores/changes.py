"""Whether a score has changed since the period before, or chance alone may have moved it.

Intervals of the difference are at 95 %: of two shares Newcombe's hybrid score interval (1998, method 10), of two net
scores by the normal distribution, of two means Welch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from gateway.insights.kernels.events import Floats
from gateway.insights.kernels.statistics import nps, student, wilson
from gateway.insights.kpis.estimates import Kind

#: Fewer answers than this on either side say little, whatever they are.
FEW = 30


@dataclass(frozen=True, slots=True)
class Change:
    """The score now less the score before, with its 95 % interval, in the score's unit; None where one of the two has
    no value. `significant`: the interval leaves 0 out, and there are enough answers. `words` say so."""

    difference: float | None
    low: float | None
    high: float | None
    significant: bool
    words: str


def changed(kind: Kind, now: Floats, before: Floats, unit: str) -> Change:
    """From the observations of a score (of shares 1 and 0, of net scores 1, 0 and -1, else the answers)."""
    if not len(now) or not len(before):
        missing = "this period" if not len(now) else "the period before"
        return Change(None, None, None, False, f"There are no answers in {missing}.")
    difference, low, high = {Kind.SHARE: _shares, Kind.NET: _nets}.get(kind, _means)(now, before)
    fewest = min(len(now), len(before))
    if low is None or high is None or fewest < FEW:
        words = f"Too few answers to tell a change: {len(now)}, and {len(before)} in the period before."
        return Change(difference, low, high, False, words)
    if low <= 0 <= high:
        margin = max(difference - low, high - difference)
        words = f"No significant change: {_way(difference, unit)}, and chance alone may bring {_shown(margin)} {unit}."
        return Change(difference, low, high, False, words)
    span = f"between {_shown(abs(low))} and {_shown(abs(high))}" if low > 0 else f"{_shown(-high)} to {_shown(-low)}"
    words = f"{_way(difference, unit).capitalize()} on the period before: more than chance would bring ({span})."
    return Change(difference, low, high, True, words)


def _shares(now: Floats, before: Floats) -> tuple[float, float, float]:
    (p, p_low, p_high), (q, q_low, q_high) = (_share(values) for values in (now, before))
    difference = p - q
    low = difference - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = difference + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return 100 * difference, 100 * low, 100 * high


def _share(values: Floats) -> tuple[float, float, float]:
    hits = int(values.sum())
    return (hits / len(values), *wilson(hits, len(values)))


def _nets(now: Floats, before: Floats) -> tuple[float, float, float]:
    one, other = (nps(int((some > 0).sum()), int((some < 0).sum()), len(some)) for some in (now, before))
    difference = (one.value or 0.0) - (other.value or 0.0)  # neither is None: there are answers on both sides
    margin = sqrt((one.margin or 0.0) ** 2 + (other.margin or 0.0) ** 2)
    return difference, difference - margin, difference + margin


def _means(now: Floats, before: Floats) -> tuple[float, float | None, float | None]:
    difference = float(np.mean(now) - np.mean(before))
    if min(len(now), len(before)) < 2:
        return difference, None, None
    one, other = (float(np.var(some, ddof=1)) / len(some) for some in (now, before))
    if one + other == 0:
        return difference, difference, difference
    freedom = (one + other) ** 2 / (one**2 / (len(now) - 1) + other**2 / (len(before) - 1))
    margin = student(freedom) * sqrt(one + other)
    return difference, difference - margin, difference + margin


def _way(difference: float, unit: str) -> str:
    return f"{'up' if difference > 0 else 'down' if difference < 0 else 'by'} {_shown(abs(difference))} {unit}"


def _shown(number: float) -> str:
    return f"{number:.1f}" if number >= 1 else f"{number:.2g}"
