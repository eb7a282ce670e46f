"""The three scores, as functions of KPIs over the answers to surveys: the same code gives KPIs and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from gateway.contract.functions import Ces, Nps, Satisfied
from gateway.contract.rules import Condition, EventRule
from gateway.contract.surveys import Scale, Survey
from gateway.errors import InvalidInput
from gateway.model.response import RESPONDED

Metric = Literal["CSAT", "NPS", "CES"]
CesMethod = Literal["mean", "percentEasy", "index"]

#: Of how many answers at the top of a scale of so many points one is satisfied with (Formbricks): more: 3.
_TOP = {2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2}
#: The property of a response that holds the answer.
SCORE = "score"


@dataclass(frozen=True, slots=True)
class Scales:
    """What surveys of one metric share: their keys, and the scale of their first question."""

    metric: Metric
    surveys: tuple[str, ...]
    scale: Scale


def measured_by(surveys: Mapping[str, Survey], metric: Metric, key: str | None = None) -> Scales:
    """The surveys that measure a metric, or the one of this key. Raises InvalidInput where there is none, or where
    they do not share a scale, so that one number would be of several things."""
    if key is not None:
        one = surveys.get(key)
        if one is None or one.kind != metric:
            known = [survey.key for survey in surveys.values() if survey.kind == metric]
            said = "There is no survey of this key" if one is None else f"The survey measures {one.kind}"
            hint = f"{metric}: {', '.join(known)}." if known else f"No survey measures {metric}."
            raise InvalidInput(f"{said}.", hint=hint, path="survey")
        found = [one]
    else:
        found = [survey for survey in surveys.values() if survey.kind == metric]
    if not found:
        raise InvalidInput(f"No survey of the contract measures {metric}.", hint="Add one to surveys/.", path="metric")
    scales = {survey.key: survey.questions[0].scale for survey in found}
    scale = scales[found[0].key]
    assert scale is not None
    if len(set(scales.values())) > 1:
        raise InvalidInput(
            f"The surveys that measure {metric} have different scales.",
            hint=f"Name one of them: {', '.join(scales)}.",
            path="survey",
        )
    return Scales(metric, tuple(scales), scale)


def function_of(scales: Scales, method: CesMethod = "mean") -> Satisfied | Nps | Ces:
    """What a KPI would compute. CSAT: share of the satisfied; NPS: promoters less detractors; CES: by `method`, high is
    easy."""
    where = (Condition("survey", "in", scales.surveys),)
    rule = EventRule(f"cx.{scales.metric.lower()}", RESPONDED, where)
    scale = scales.scale
    match scales.metric:
        case "NPS":
            return Nps(rule, SCORE)
        case "CES":
            return Ces(rule, SCORE, method, "highIsEasy", scale.lowest, scale.highest)
        case _:
            return Satisfied(rule, SCORE, satisfied_from(scale), scale.lowest, scale.highest)


def satisfied_from(scale: Scale) -> int:
    """The lowest answer that is satisfied: as the file says, else by the number of points: of 3 the top one, of 4 to 7
    the top two, of more the top three."""
    if scale.satisfied is not None:
        return scale.satisfied
    return scale.highest - _TOP.get(scale.highest - scale.lowest + 1, 3) + 1


def low_until(scales: Scales) -> float:
    """The highest answer that is low: of NPS that of detractors, of other scales what lies just below their middle."""
    if scales.metric == "NPS":
        return 6
    return ceil((scales.scale.lowest + scales.scale.highest) / 2) - 1


def distribution(values: Sequence[float], scale: Scale) -> list[tuple[int, int]]:
    """How often each answer of the scale was given, from the lowest on."""
    counts = dict.fromkeys(range(scale.lowest, scale.highest + 1), 0)
    for value in values:
        if value in counts:
            counts[int(value)] += 1
    return list(counts.items())
