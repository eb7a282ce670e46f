"""A key's rate holds over time, whatever the size of its batches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.rates import BURST_SECONDS, Rates
from gateway.clock import FrozenClock
from gateway.errors import RateLimited, Unavailable


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(1_710_325_274_000)


def test_a_burst_passes_and_then_the_rate(clock: FrozenClock) -> None:
    rates = Rates(clock)
    for _ in range(50):
        rates.spend("k", 1, 5, burst=50)
    with pytest.raises(RateLimited) as refused:
        rates.spend("k", 1, 5, burst=50)
    assert refused.value.retry_after == 1
    assert isinstance(refused.value, Unavailable), "whoever knows only this sends again"
    clock.advance(200)
    rates.spend("k", 1, 5, burst=50)
    with pytest.raises(RateLimited):
        rates.spend("k", 1, 5, burst=50)


def test_retry_after_is_the_whole_seconds_after_which_it_passes(clock: FrozenClock) -> None:
    rates = Rates(clock)
    rates.spend("k", 2_500, 10, burst=10)
    with pytest.raises(RateLimited) as refused:
        rates.spend("k", 1, 10, burst=10)
    assert refused.value.retry_after == 250
    clock.advance(249_000)
    with pytest.raises(RateLimited):
        rates.spend("k", 1, 10, burst=10)
    clock.advance(1_000)
    rates.spend("k", 1, 10, burst=10)


def test_without_a_burst_there_are_ten_seconds_of_the_rate_and_at_least_one_event(clock: FrozenClock) -> None:
    rates = Rates(clock)
    for _ in range(int(20 * BURST_SECONDS)):
        rates.spend("k", 1, 20)
    with pytest.raises(RateLimited):
        rates.spend("k", 1, 20)
    rates.spend("slow", 1, 0.001)
    with pytest.raises(RateLimited) as refused:
        rates.spend("slow", 1, 0.001)
    assert refused.value.retry_after == 1_000


def test_one_key_does_not_slow_another(clock: FrozenClock) -> None:
    rates = Rates(clock)
    rates.spend("a", 1_000, 1)
    rates.spend("b", 1, 1)


def test_a_batch_without_events_is_no_reason_to_refuse(clock: FrozenClock) -> None:
    rates = Rates(clock)
    rates.spend("k", 1_000, 1)
    rates.spend("k", 0, 1)


@settings(deadline=None, max_examples=200)
@given(
    rate=st.floats(0.5, 1_000),
    burst=st.floats(1, 5_000),
    batches=st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 2_500)), min_size=1, max_size=40),
)
def test_over_time_no_more_than_the_rate_passes(rate: float, burst: float, batches: list[tuple[int, int]]) -> None:
    clock = FrozenClock(0)
    rates = Rates(clock)
    passed, largest = 0, 0
    for pause, events in batches:
        clock.advance(pause)
        try:
            rates.spend("k", events, rate, burst)
        except RateLimited as limited:
            clock.advance(limited.retry_after * 1_000)
            rates.spend("k", events, rate, burst)  # of any size: it passes when it was told to come again
        passed, largest = passed + events, max(largest, events)
        assert passed <= burst + clock.at / 1000 * rate + largest + 1e-6
