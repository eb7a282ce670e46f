"""CX scores over answers to surveys: CSAT, NPS and CES with their intervals, distributions and changes."""

from __future__ import annotations

from gateway.insights.scores.changes import Change, changed
from gateway.insights.scores.correlation import Correlation, correlated
from gateway.insights.scores.metrics import Metric, Scales, function_of, measured_by, satisfied_from
from gateway.insights.scores.suppressing import K, suppressed

__all__ = [
    "Change",
    "Correlation",
    "K",
    "Metric",
    "Scales",
    "changed",
    "correlated",
    "function_of",
    "measured_by",
    "satisfied_from",
    "suppressed",
]
