"""What stage metrics observe: visits of a stage, or whole runs through a journey map."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gateway.contract.functions import StageMetric
from gateway.insights.columnar.users import NOBODY, Users
from gateway.insights.kpis.estimates import Sample
from gateway.model.journey import JourneyStatus
from gateway.store.stage_visits import RunRow

ACTIVE, COMPLETED, ABANDONED = (status.value for status in JourneyStatus)


@dataclass(frozen=True, slots=True)
class Glimpse:
    """One visit or run: when it began (ms), what is seen of it; None while that cannot be judged."""

    user: str
    at: int
    value: float | None


def stage_samples(
    metric: StageMetric,
    stages: Sequence[str],
    runs: Sequence[RunRow],
    bounds: Sequence[int],
    users: Users,
    parts: Mapping[str, int] | None = None,
) -> list[Sample]:
    """One sample for each part between two bounds (ms, rising). `stages`: keys in the order of the map; `parts`: the
    number of the breakdown's value by user."""
    rows: list[list[Glimpse]] = [[] for _ in bounds[1:]]
    for run in runs:
        for one in seen_of(metric, stages, run):
            place = bisect_right(bounds, one.at) - 1
            if 0 <= place < len(rows):
                rows[place].append(one)
    return [_sample(some, users, parts) for some in rows]


def seen_of(metric: StageMetric, stages: Sequence[str], run: RunRow) -> Iterator[Glimpse]:
    """What a run shows of the metric. Times that are not over are not seen; all else that is not is open."""
    if metric.stage is None:
        yield from _of_run(metric, stages, run)
        return
    places = {key: place for place, key in enumerate(stages)}
    here = places.get(metric.stage, -1)
    for number, (stage, entered, left) in enumerate(run.visits):
        if stage != metric.stage:
            continue
        following = run.visits[number + 1][0] if number + 1 < len(run.visits) else None
        there = here if following is None else places.get(following, here)
        is_open = following is None and run.status == ACTIVE
        match metric.measure:
            case "users":
                yield Glimpse(run.user, entered, 1.0)
            case "time":
                if left is not None:
                    yield Glimpse(run.user, entered, (left - entered) / 1000)
            case "conversion":
                yield Glimpse(run.user, entered, None if is_open else float(there > here))
            case "backTracks":
                yield Glimpse(run.user, entered, None if is_open else float(there < here))
            case "dropOff":
                ended = following is None and run.status == ABANDONED
                yield Glimpse(run.user, entered, None if is_open else float(ended))


def _of_run(metric: StageMetric, stages: Sequence[str], run: RunRow) -> Iterator[Glimpse]:
    places = {key: place for place, key in enumerate(stages)}
    is_open = run.status == ACTIVE
    match metric.measure:
        case "users":
            yield Glimpse(run.user, run.started, 1.0)
        case "time":
            if run.status == COMPLETED:
                yield Glimpse(run.user, run.started, (run.last - run.started) / 1000)
        case "conversion":
            yield Glimpse(run.user, run.started, None if is_open else float(run.status == COMPLETED))
        case "dropOff":
            yield Glimpse(run.user, run.started, None if is_open else float(run.status == ABANDONED))
        case "backTracks":
            way = [places[stage] for stage, _, _ in run.visits if stage in places]
            back = any(after < before for before, after in pairwise(way))
            yield Glimpse(run.user, run.started, float(back))


def _sample(rows: Sequence[Glimpse], users: Users, parts: Mapping[str, int] | None) -> Sample:
    """Of users who are known; the others are being erased, or not derived yet."""
    code = users.places([one.user for one in rows])
    value = np.array([0.0 if one.value is None else one.value for one in rows], np.float64)
    waiting = np.array([one.value is None for one in rows], np.bool_)
    part = None
    if parts is not None:
        part = np.array([parts.get(one.user, -1) for one in rows], np.int64)
    return Sample.of(code.astype(np.int64), value, part, waiting).take(code != NOBODY)
