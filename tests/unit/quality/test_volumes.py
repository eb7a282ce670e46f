"""Days that stand out, and events that have stopped; ordinary life is neither."""

from __future__ import annotations

import random

import pytest

from gateway.quality.volumes import DAY_MS, HOUR_MS, anomalies, silence

DAYS = 30
#: A Monday.
START = 20_000 * DAY_MS + 4 * DAY_MS
NOW = START + DAYS * DAY_MS


def visits(seed: int, mean: int = 200, *, weekend: float = 0.7, until: int = NOW) -> dict[int, int]:
    """A shop by day: nothing at night, less at weekends, and chance."""
    chance = random.Random(seed)
    hours = {}
    for hour in range(START, until, HOUR_MS):
        if 7 <= hour // HOUR_MS % 24 < 23:
            day = weekend if (hour - START) // DAY_MS % 7 >= 5 else 1.0
            count = max(0, round(chance.gauss(mean * day / 16, (mean * day / 16) ** 0.5)))
            if count:
                hours[hour] = count
    return hours


@pytest.mark.parametrize("mean", [16, 40, 200, 5_000])
@pytest.mark.parametrize("seed", range(5))
def test_ordinary_life_is_silent(seed: int, mean: int) -> None:
    hours = visits(seed, mean)
    assert anomalies(hours, (START, NOW)) == []
    assert silence(hours, NOW) is None


@pytest.mark.parametrize("factor", [0, 0.2, 4])
def test_a_day_that_stands_out_is_found_by_name(factor: float) -> None:
    hours, day = visits(1), START + 21 * DAY_MS
    for hour in hours:
        if day <= hour < day + DAY_MS:
            hours[hour] = round(hours[hour] * factor)
    (found,) = anomalies(hours, (NOW - 14 * DAY_MS, NOW))
    assert found.day == day
    assert found.usual == pytest.approx(190, abs=30)
    assert anomalies(hours, (START, day)) == [], "the day is not in this range"


def test_few_events_and_little_history_tell_nothing() -> None:
    assert anomalies({START + 20 * DAY_MS: 19}, (START, NOW)) == []
    young = {hour: count for hour, count in visits(1).items() if hour >= NOW - 5 * DAY_MS} | {NOW - HOUR_MS: 10_000}
    assert anomalies(young, (START, NOW)) == []
    assert anomalies({}, (START, NOW)) == []


def test_silence_is_noticed_when_it_is_longer_than_any_night() -> None:
    stopped = START + 25 * DAY_MS + 15 * HOUR_MS
    hours = visits(2, 2_000, until=stopped)
    assert silence(hours, stopped + 12 * HOUR_MS) is None, "the night takes eight hours"
    found = silence(hours, stopped + 17 * HOUR_MS)
    assert found is not None
    assert (found.since, found.pause) == (stopped, 8 * HOUR_MS)
    assert silence({**hours, stopped + 16 * HOUR_MS: 1}, stopped + 17 * HOUR_MS) is None, "it has come again"


def test_an_event_that_is_rare_may_stay_away() -> None:
    assert silence({START + 3 * day * DAY_MS: 5 for day in range(8)}, NOW) is None
