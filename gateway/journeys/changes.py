"""What changed between two states of one journey, in the words a subscriber hears."""

from __future__ import annotations

from typing import NamedTuple

from gateway.model.journey import Journey, JourneyStatus, JourneyStep, SegmentStep, UserState


class _Move(NamedTuple):
    """A run came to a stage, or left one and entered no other (None), by an event."""

    to: str | None
    at: int
    event: bytes | None


def steps_between(old: Journey | None, new: Journey | None) -> list[JourneyStep]:
    """The steps that lead from `old` to `new`. None stands for "there is no such run"."""
    if new is None:
        assert old is not None
        return [JourneyStep(old.id, old.user, old.map, old.run, old.stage, None, None, old.last_at, None)]
    known = [move.to for move in _moves(old)] if old is not None else []
    moves = _moves(new)
    common = 0
    while common < min(len(known), len(moves)) and known[common] == moves[common].to:
        common += 1
    steps = []
    for index in range(common, len(moves)):
        move = moves[index]
        last = index == len(moves) - 1
        steps.append(
            JourneyStep(
                journey=new.id,
                user=new.user,
                map=new.map,
                run=new.run,
                from_stage=moves[index - 1].to if index else None,
                to_stage=move.to,
                status=new.status if last else JourneyStatus.ACTIVE,
                at=move.at,
                event=move.event,
            )
        )
    shortened = len(known) > common == len(moves)
    if not steps and old is not None and (old.status is not new.status or shortened):
        at = new.ended_at if new.ended_at is not None else new.last_at
        before = old.stage
        steps.append(
            JourneyStep(new.id, new.user, new.map, new.run, before, new.stage, new.status, at, new.ended_event)
        )
    return steps


def memberships_between(user: str, old: UserState | None, new: UserState | None, at: int) -> list[SegmentStep]:
    """Which segments the user has entered or left between two folds, the latter at `at` (ms). None: there is no such
    user."""
    before, after = (set(state.segments) if state is not None else set() for state in (old, new))
    return [SegmentStep(user, key, key in after, at) for key in sorted(before ^ after)]


def _moves(run: Journey) -> list[_Move]:
    """Where the run has been, in order, the times between stages included."""
    moves = []
    for visit in run.visits:
        moves.append(_Move(visit.stage, visit.entered_at, visit.first_event))
        if visit.left_rule is not None and visit.left_at is not None:
            moves.append(_Move(None, visit.left_at, visit.left_event))
    return moves
