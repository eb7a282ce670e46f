"""The names of scores, which maps and scores share."""

from __future__ import annotations

from enum import Enum
from typing import cast

import strawberry

from gateway.insights.scores.metrics import CesMethod, Metric


@strawberry.enum(description="A score of surveys.")
class CxMetric(Enum):
    """Scores."""

    CSAT = strawberry.enum_value("CSAT", description="Percentage of the satisfied.")
    NPS = strawberry.enum_value("NPS", description="Percentage of 9 and 10 less percentage of 0 to 6, not rounded.")
    CES = strawberry.enum_value("CES", description="How easy it was; high is easy.")


@strawberry.enum(name="CesMethod", description="What is made of answers about effort; high is easy.")
class Method(Enum):
    """Methods."""

    MEAN = strawberry.enum_value("mean", description="Their mean.")
    PERCENT_EASY = strawberry.enum_value("percentEasy", description="Percentage of 5 to 7 on a scale of 1 to 7.")
    INDEX = strawberry.enum_value("index", description="Percentage of 6 and 7 less percentage of 1 to 3.")


def metric_of(metric: CxMetric) -> Metric:
    """The metric's name."""
    return cast(Metric, metric.value)


def method_of(method: Method | None) -> CesMethod:
    """The method's name; the mean when nothing is said."""
    return "mean" if method is None else cast(CesMethod, method.value)
