"""Shares, means, scores and percentiles, with their uncertainty. A zero denominator gives None, never 0.

Intervals are at 95 %. Sources: Wilson 1927 as in Agresti & Coull 1998; Student's t; NPS by Reichheld 2003 with the
variance of a difference of two shares; percentiles by linear interpolation (Hyndman & Fan 1996, type 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.insights.kernels.events import Ints, Longs

Z = 1.959963984540054
# Student's t, 97.5 %, for 1 to 29 degrees of freedom; beyond, the normal distribution is near enough.
# fmt: off
_T = (
    12.7062047362, 4.3026527297, 3.1824463053, 2.7764451052, 2.5705818356, 2.4469118511,
    2.3646242516, 2.3060041352, 2.2621571628, 2.2281388520, 2.2009851601, 2.1788128297,
    2.1603686565, 2.1447866879, 2.1314495456, 2.1199052992, 2.1098155778, 2.1009220402,
    2.0930240544, 2.0859634473, 2.0796138447, 2.0738730679, 2.0686576104, 2.0638985616,
    2.0595385528, 2.0555294386, 2.0518305165, 2.0484071418, 2.0452296421,
)
# fmt: on


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, as fractions: 8 of 10 -> (0.490, 0.943). `n` is above 0."""
    share = hits / n
    spread = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    middle, scale = share + Z**2 / (2 * n), 1 + Z**2 / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def margin_of_mean(n: int, deviation: float) -> float:
    """Half the 95 % interval of a mean of `n` (2 or more) observations with this sample standard deviation."""
    return student(n - 1) * deviation / sqrt(n)


def student(freedom: float) -> float:
    """Student's t, 97.5 %, for so many degrees of freedom (1 or more; a fraction counts as less)."""
    return _T[int(freedom) - 1] if freedom < len(_T) + 1 else Z


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `n`, as a fraction with its Wilson interval; None of all three when `n` is 0."""

    hits: int
    n: int
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, hits: int, n: int) -> Share:
        return cls(hits, n, hits / n, *wilson(hits, n)) if n else cls(hits, n, None, None, None)


@dataclass(frozen=True, slots=True)
class Spread:
    """How some lengths of time, in ms, or other numbers are spread."""

    n: int
    mean: float | None
    p50: float | None
    p75: float | None
    p90: float | None

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Spread:
        if not len(values):
            return cls(0, None, None, None, None)
        return cls(len(values), float(np.mean(values)), *(percentile(values, share) for share in (0.5, 0.75, 0.9)))


def percentile(values: npt.NDArray[Any], share: float) -> float | None:
    """The value that `share` (0 to 1) of the values do not exceed, interpolated; None of none."""
    return float(np.quantile(values, share)) if len(values) else None


def grouped_percentile(sorted_values: npt.NDArray[Any], starts: Longs, counts: Ints, share: float) -> list[float]:
    """The same for many groups at once: values ascending within each group, which begins at `starts`; none is empty."""
    place = (counts - 1) * share
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, counts - 1)
    below, above = sorted_values[starts + low], sorted_values[starts + high]
    return [float(value) for value in below + (above - below) * (place - low)]


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its margin: the 95 % interval is value ± margin."""

    n: int
    value: float | None
    margin: float | None


def nps(promoters: int, detractors: int, n: int) -> Score:
    """Net Promoter Score, -100 to 100: of 100 answers 50 promoters, 20 detractors -> 30 ± 15.3."""
    if not n:
        return Score(0, None, None)
    up, down = promoters / n, detractors / n
    return Score(n, 100 * (promoters - detractors) / n, 100 * Z * sqrt((up + down - (up - down) ** 2) / n))


def nps_of(answers: npt.NDArray[Any]) -> Score:
    """From answers 0 to 10; others and NaN are no answers. 9 and 10 promote, 0 to 6 detract."""
    valid = answers[(answers >= 0) & (answers <= 10)]
    return nps(int((valid >= 9).sum()), int((valid <= 6).sum()), len(valid))
