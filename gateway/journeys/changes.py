"""What changed between two states of one journey, in the words a subscriber hears."""

from __future__ import annotations

from gateway.model.journey import Journey, JourneyStatus, JourneyStep


def steps_between(old: Journey | None, new: Journey | None) -> list[JourneyStep]:
    """The steps that lead from `old` to `new`. None stands for "there is no such run"."""
    if new is None:
        assert old is not None
        return [JourneyStep(old.id, old.user, old.map, old.run, old.stage, None, None, old.last_at, None)]
    known = [visit.stage for visit in old.visits] if old is not None else []
    stages = [visit.stage for visit in new.visits]
    common = 0
    while common < min(len(known), len(stages)) and known[common] == stages[common]:
        common += 1
    steps = []
    for index in range(common, len(stages)):
        visit = new.visits[index]
        last = index == len(stages) - 1
        steps.append(
            JourneyStep(
                journey=new.id,
                user=new.user,
                map=new.map,
                run=new.run,
                from_stage=stages[index - 1] if index else None,
                to_stage=visit.stage,
                status=new.status if last else JourneyStatus.ACTIVE,
                at=visit.entered_at,
                event=visit.first_event,
            )
        )
    shortened = len(known) > common == len(stages)
    if not steps and old is not None and (old.status is not new.status or shortened):
        at = new.ended_at if new.ended_at is not None else new.last_at
        before = old.stage
        steps.append(JourneyStep(new.id, new.user, new.map, new.run, before, new.stage, new.status, at, None))
    return steps
