"""Journey maps: the stages on the way to a goal, and the events that show a user is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from gateway.contract.rules import EventRule
from gateway.errors import NotFound


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """Where the persona meets the product."""

    key: str
    label: str
    channel: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; any one of the rules in `enter` enters it.

    A run may skip an `optional` stage; entering one that `completes` ends the run at its goal.
    """

    key: str
    label: str
    enter: tuple[EventRule, ...]
    touchpoints: tuple[Touchpoint, ...] = ()
    optional: bool = False
    completes: bool = False
    emotion: str | None = None


@dataclass(frozen=True, slots=True)
class JourneyMap:
    """A persona's way to a goal. A run that sees none of its events for longer than `abandoned_after` is abandoned."""

    key: str
    version: int
    name: str
    persona: str
    goal: str
    owners: tuple[str, ...]
    pain_points: tuple[str, ...]
    abandoned_after: timedelta
    stages: tuple[Stage, ...]
    _positions: dict[str, int] = field(init=False, repr=False, compare=False)
    _entering: dict[str, tuple[tuple[Stage, EventRule], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        entering: dict[str, tuple[tuple[Stage, EventRule], ...]] = {}
        for stage in self.stages:
            for rule in stage.enter:
                entering[rule.event] = (*entering.get(rule.event, ()), (stage, rule))
        object.__setattr__(self, "_positions", {stage.key: index for index, stage in enumerate(self.stages)})
        object.__setattr__(self, "_entering", entering)

    def stage(self, key: str) -> Stage:
        """The stage of this key. Raises NotFound."""
        return self.stages[self._position(key)]

    def next_stages(self, current: str | None) -> tuple[Stage, ...]:
        """The stages a run may enter next: up to and including the first that is not optional.

        `current` is the key of the stage the run is in, None before its first. Nothing comes after a stage that
        completes. Raises NotFound.
        """
        position = -1 if current is None else self._position(current)
        if current is not None and self.stages[position].completes:
            return ()
        following: list[Stage] = []
        for stage in self.stages[position + 1 :]:
            following.append(stage)
            if not stage.optional:
                break
        return tuple(following)

    def entering(self, name: str) -> tuple[tuple[Stage, EventRule], ...]:
        """The rules about events of this name, each with the stage it enters, in the map's order."""
        return self._entering.get(name, ())

    def _position(self, key: str) -> int:
        position = self._positions.get(key)
        if position is None:
            known = ", ".join(self._positions)
            raise NotFound(f"Journey map {self.key!r} has no stage {key!r}.", hint=f"It has: {known}.")
        return position
