"""Rules that close the loop: when an answer is worth a person's attention, whose, and by when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gateway.contract.rules import Condition
from gateway.model.alert import Severity


@dataclass(frozen=True, slots=True)
class FollowUpPlan:
    """Who looks after it at first, and how soon it has to be done."""

    owner: str
    due: timedelta


@dataclass(frozen=True, slots=True)
class Reaction:
    """One rule. It fires for a response to `survey` whose score meets the condition, of somebody who was in `segment`
    and in the stage (map, stage) when they answered; what is None is not asked. `tells` are the instances of connectors
    that are told, empty: all of them, None: nobody."""

    key: str
    name: str
    owners: tuple[str, ...]
    survey: str
    score: Condition | None = None
    segment: str | None = None
    stage: tuple[str, str] | None = None
    severity: Severity = Severity.WARNING
    follow_up: FollowUpPlan | None = None
    tells: tuple[str, ...] | None = None

    def fires(self, properties: Mapping[str, Any]) -> bool:
        """Whether it fires for a response with these properties; never raises."""
        if properties.get("survey") != self.survey or not (self.score is None or self.score.holds(properties)):
            return False
        segments, journey = properties.get("segments"), properties.get("journey")
        if self.segment is not None and not (isinstance(segments, list) and self.segment in segments):
            return False
        if self.stage is None:
            return True
        return isinstance(journey, dict) and journey.get(self.stage[0]) == self.stage[1]
