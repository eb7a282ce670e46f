"""Alert rules at work: what is measured, what follows from it, who is told, and what would have been."""

from __future__ import annotations

from gateway.insights.alerting.machine import Happened, Measured, Phase, State, step
from gateway.insights.alerting.preview import Episode, Preview, preview
from gateway.insights.alerting.values import EvaluatedKpis, KpiValues, RuleValues, Values
from gateway.insights.alerting.watching import RuleWatch

__all__ = [
    "Episode",
    "EvaluatedKpis",
    "Happened",
    "KpiValues",
    "Measured",
    "Phase",
    "Preview",
    "RuleValues",
    "RuleWatch",
    "State",
    "Values",
    "preview",
    "step",
]
