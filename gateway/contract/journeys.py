"""Journey maps: the stages on the way to a goal, and the events that show a user is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from gateway.contract.hashing import ONLY_IF_SAID
from gateway.contract.rules import EventRule
from gateway.errors import NotFound

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """Where the persona meets the product."""

    key: str
    label: str
    channel: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage; any one of the rules in `enter` enters it, any one of those in `leave` leaves it for no other.

    A run may skip an `optional` stage and come back to one that `repeats`; entering one that `completes` ends the run
    at its goal. `next` names the stages that may follow; empty: any later one, and earlier ones that repeat. A run that
    stays longer than `limit` is abandoned. `emotion` is the one expected; `feedback` names the surveys that ask here.
    """

    key: str
    label: str
    enter: tuple[EventRule, ...]
    touchpoints: tuple[Touchpoint, ...] = ()
    optional: bool = False
    completes: bool = False
    emotion: str | None = None
    leave: tuple[EventRule, ...] = field(default=(), metadata=ONLY_IF_SAID)
    next: tuple[str, ...] = field(default=(), metadata=ONLY_IF_SAID)
    repeats: bool = field(default=False, metadata=ONLY_IF_SAID)
    limit: timedelta | None = field(default=None, metadata=ONLY_IF_SAID)
    pain_points: tuple[str, ...] = field(default=(), metadata=ONLY_IF_SAID)
    owner: str | None = field(default=None, metadata=ONLY_IF_SAID)
    feedback: tuple[str, ...] = field(default=(), metadata=ONLY_IF_SAID)


@dataclass(frozen=True, slots=True)
class JourneyMap:
    """A persona's way to a goal. A run that sees none of its events for longer than `abandoned_after` is abandoned.

    Any one of the rules in `restart` ends an open run as abandoned. What the fold asks for at each event is worked out
    once, so that its answer is a look into a dict.
    """

    key: str
    version: int
    name: str
    persona: str
    goal: str
    owners: tuple[str, ...]
    pain_points: tuple[str, ...]
    abandoned_after: timedelta
    stages: tuple[Stage, ...]
    restart: tuple[EventRule, ...] = field(default=(), metadata=ONLY_IF_SAID)
    #: `abandoned_after` in milliseconds.
    patience: int = field(init=False, repr=False, compare=False)
    #: The names of the events that any rule looks at.
    event_names: frozenset[str] = field(init=False, repr=False, compare=False)
    #: The stages a run may begin in, as `moves` has them: people arrive in the middle too, but what completes a run
    #: alone is no journey.
    beginnings: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _positions: dict[str, int] = field(init=False, repr=False, compare=False)
    _entering: dict[str, tuple[tuple[Stage, EventRule], ...]] = field(init=False, repr=False, compare=False)
    _moves: dict[tuple[str, bool, bool], Mapping[str, int]] = field(init=False, repr=False, compare=False)
    _limits: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        entering: dict[str, tuple[tuple[Stage, EventRule], ...]] = {}
        for stage in self.stages:
            for rule in stage.enter:
                entering[rule.event] = (*entering.get(rule.event, ()), (stage, rule))
        starts = (stage.key for stage in self.stages if not stage.completes or stage is self.stages[0])
        worked_out = {
            "patience": self.abandoned_after // _MILLISECOND,
            "event_names": frozenset(rule.event for rule in self.rules),
            "beginnings": _ranked(starts),
            "_positions": {stage.key: index for index, stage in enumerate(self.stages)},
            "_entering": entering,
            "_limits": {stage.key: stage.limit // _MILLISECOND for stage in self.stages if stage.limit is not None},
        }
        for name, value in worked_out.items():
            object.__setattr__(self, name, value)
        moves: dict[tuple[str, bool, bool], Mapping[str, int]] = {}
        for stage in self.stages:
            for left in (False, True):
                followers = self._followers(stage.key, left)
                ahead = [key for key in followers if self._position(key) > self._position(stage.key)]
                moves[stage.key, left, True], moves[stage.key, left, False] = _ranked(followers), _ranked(ahead)
        object.__setattr__(self, "_moves", moves)

    @property
    def rules(self) -> tuple[EventRule, ...]:
        """Every rule of the map."""
        return (*(rule for stage in self.stages for rule in (*stage.enter, *stage.leave)), *self.restart)

    def stage(self, key: str) -> Stage:
        """The stage of this key. Raises NotFound."""
        return self.stages[self._position(key)]

    def next_stages(self, current: str | None, *, left: bool = False) -> tuple[Stage, ...]:
        """The stages that are expected next: those its `next` names, else the later ones up to and including the first
        that is not optional, and the earlier ones that repeat.

        `current` is the key of the stage the run is in, None before its first; `left` when it was left and none entered
        since. Nothing comes after a stage that completes. Raises NotFound.
        """
        position = -1 if current is None else self._position(current)
        following: list[Stage] = []
        for stage in self.stages[position + 1 :]:
            following.append(stage)
            if not stage.optional:
                break
        if current is None:
            return tuple(following)
        here = self.stages[position]
        allowed = [self.stage(key) for key in self.moves(current, left=left)]
        if here.next:
            return tuple(allowed)
        return tuple(stage for stage in allowed if stage in following or self._position(stage.key) <= position)

    def moves(self, current: str, *, left: bool, back: bool = True) -> Mapping[str, int]:
        """The stages that an event can bring a run to, each with its rank: of several the lowest is entered.

        `current` is the stage it is in or, when `left`, was in last; without `back` only later ones. Raises NotFound.
        """
        found = self._moves.get((current, left, back))
        if found is None:
            self._position(current)
            raise AssertionError("every stage has its moves")
        return found

    def entering(self, name: str) -> tuple[tuple[Stage, EventRule], ...]:
        """The rules about events of this name, each with the stage it enters, in the map's order."""
        return self._entering.get(name, ())

    def limit(self, key: str) -> int | None:
        """How long a run may stay in the stage, in milliseconds."""
        return self._limits.get(key)

    def _followers(self, current: str, left: bool) -> list[str]:
        position = self._position(current)
        here = self.stages[position]
        if here.completes:
            return []
        # Going on comes before going back, and both before coming back to where one just was.
        later = [stage.key for stage in self.stages[position + 1 :]]
        earlier = [stage.key for stage in self.stages[:position] if stage.repeats]
        again = [current] if left and here.repeats else []
        return [*(here.next or (*later, *earlier)), *again]

    def _position(self, key: str) -> int:
        position = self._positions.get(key)
        if position is None:
            known = ", ".join(self._positions)
            raise NotFound(f"Journey map {self.key!r} has no stage {key!r}.", hint=f"It has: {known}.")
        return position


def _ranked(keys: Iterable[str]) -> Mapping[str, int]:
    return {key: rank for rank, key in enumerate(keys)}
