"""Rules that close the loop: when an answer is worth a person's attention, whose, and by when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gateway.contract.definitions import condition_in_words
from gateway.contract.durations import duration_in_words
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

    @property
    def definition(self) -> str:
        """When it fires and what then, in words."""
        score = "" if self.score is None else f" whose {condition_in_words(self.score)}"
        segment = "" if self.segment is None else f", of users in the segment {self.segment}"
        stage = "" if self.stage is None else f", in the stage {self.stage[1]} of {self.stage[0]}"
        told = f"A response to {self.survey}{score}{segment}{stage}:"
        if self.follow_up is not None:
            told += f" {self.follow_up.owner} follows up within {duration_in_words(self.follow_up.due)}"
        if self.tells is not None:
            also = "" if self.follow_up is None else ", and"
            told += f"{also} {', '.join(self.tells) or 'every channel'} is told"
        return f"{told}."

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
