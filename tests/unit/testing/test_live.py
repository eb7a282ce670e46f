"""The endless stream: its rate, its liveliness, and that it goes on where the backfill ends."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest

from gateway.errors import InvalidInput
from gateway.testing.simulate import Emission, Population

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def ids(emissions: Iterable[Emission]) -> list[str]:
    return [emission.message["messageId"] for emission in emissions]


@pytest.fixture(scope="module")
def hour() -> list[tuple[float, Emission]]:
    return list(islice(Population(seed=1, now=NOW).live(rate=2.0), 7200))


def test_live_keeps_its_rate_on_average(hour: list[tuple[float, Emission]]) -> None:
    assert all(before[0] <= after[0] for before, after in pairwise(hour))
    assert hour[-1][0] == pytest.approx(3600, rel=0.05)
    fast = list(islice(Population(seed=1, now=NOW, weeks=1).live(rate=50.0), 5000))
    assert fast[-1][0] == pytest.approx(100, rel=0.1)


def test_live_starts_where_it_is_told_to() -> None:
    start = NOW + timedelta(days=3)
    for offset, emission in islice(Population(seed=1, now=NOW, weeks=1).live(start), 100):
        assert emission.due == emission.at == start + timedelta(seconds=offset)


def test_stages_move_all_the_time(hour: list[tuple[float, Emission]]) -> None:
    """A plain reading of the purchase map, by browser: how often one enters a later stage."""
    order = {"Product List Viewed": 0, "Product Viewed": 0, "Product Added": 1, "Checkout Started": 2}
    stage: dict[str, int] = {}
    entered: Counter[int] = Counter()
    by_minute: Counter[int] = Counter()
    for offset, emission in hour:
        browser, event = emission.message["anonymousId"], emission.message.get("event")
        to = 3 if event == "Order Completed" else order.get(event or "", -1)
        if to > stage.get(browser, -1):
            stage[browser] = -1 if to == 3 else to
            entered[to] += 1
            by_minute[int(offset // 60)] += 1
    assert sum(entered.values()) > 900
    assert entered[1] > 120
    assert entered[2] > 40
    assert entered[3] > 20
    assert all(by_minute[minute] for minute in range(59))


def test_many_visitors_are_in_the_middle_of_a_session_at_a_time(hour: list[tuple[float, Emission]]) -> None:
    seen: dict[str, list[float]] = defaultdict(list)
    for offset, emission in hour:
        seen[emission.message["anonymousId"]].append(offset)
    for moment in (600, 1800, 3000):
        assert sum(offsets[0] < moment < offsets[-1] for offsets in seen.values()) > 20


def test_live_visitors_are_new_ones_and_those_of_the_backfill(hour: list[tuple[float, Emission]]) -> None:
    history = list(Population(seed=1, now=NOW).backfill())
    known, live = ({e.message["anonymousId"] for e in emissions} for emissions in (history, [e for _, e in hour]))
    assert 0.2 < len(live & known) / len(live) < 0.8
    owner = {e.message["anonymousId"]: e.message["userId"] for e in history if e.message["type"] == "identify"}
    for _, emission in hour:
        message = emission.message
        if message["anonymousId"] in owner:
            assert message["userId"] == owner[message["anonymousId"]]
    assert not set(ids(history)) & set(ids(emission for _, emission in hour))


def test_another_start_gives_other_messages() -> None:
    population = Population(seed=1, now=NOW, weeks=1)
    one, two = (
        set(ids(emission for _, emission in islice(population.live(start), 500)))
        for start in (NOW, NOW + timedelta(hours=1))
    )
    assert len(one) == len(two) == 500
    assert not one & two


def test_live_delivers_as_badly_as_asked() -> None:
    population = Population(seed=1, now=NOW, weeks=1, duplicates=0.2, disorder=0.2)
    stream = list(islice(population.live(rate=5.0), 3000))
    assert all(before[0] <= after[0] for before, after in pairwise(stream))
    assert len(set(ids(emission for _, emission in stream))) < 2850
    assert any(emission.due > emission.at for _, emission in stream)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_live_rate_that_makes_no_sense_is_refused(rate: float) -> None:
    with pytest.raises(InvalidInput):
        next(Population(seed=1, now=NOW, weeks=1).live(rate=rate))
