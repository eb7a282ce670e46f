"""`rules/<key>.yaml`."""

from __future__ import annotations

from typing import Any

from gateway.contract.durations import parse_duration
from gateway.contract.reactions import FollowUpPlan, Reaction
from gateway.contract.reading.checks import check_duration, check_key
from gateway.contract.rules import OPERATORS, Condition
from gateway.contract.sources import Source
from gateway.model.alert import Severity


def check_reaction(source: Source) -> None:
    """Report durations, and what could never be told to anybody."""
    check_key(source)
    then = source.value.get("then") if isinstance(source.value, dict) else None
    planned = then.get("followUp") if isinstance(then, dict) else None
    if isinstance(planned, dict):
        check_duration(source, ("then", "followUp", "due"), planned.get("due"))


def build_reaction(content: dict[str, Any]) -> Reaction:
    """What a file without a problem says."""
    when, then = content["when"], content["then"]
    score, stage, planned, tell = when.get("score"), when.get("stage"), then.get("followUp"), then.get("tell")
    return Reaction(
        key=content["key"],
        name=content["name"],
        owners=tuple(content["owners"]),
        survey=when["survey"],
        score=None if score is None else _condition(score),
        segment=when.get("segment"),
        stage=None if stage is None else (stage["map"], stage["stage"]),
        severity=Severity(content.get("severity", "warning")),
        follow_up=None if planned is None else FollowUpPlan(planned["owner"], parse_duration(planned["due"])),
        tells=None if tell is None else tuple(tell.get("channels", ())),
    )


def _condition(score: dict[str, Any]) -> Condition:
    op = next(name for name in OPERATORS if name in score)
    return Condition("score", op, score[op])
