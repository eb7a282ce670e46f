"""The kernels alone, on arrays in memory: ms, CPU and events a second, on 1 and on 10 million events."""

from __future__ import annotations

import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gateway.insights.kernels.attempts import FunnelQuestion, Step
from gateway.insights.kernels.calendar import Calendar, Interval, Statistic, trend
from gateway.insights.kernels.events import Events, Flags
from gateway.insights.kernels.follows import follows
from gateway.insights.kernels.funnel import funnel
from gateway.insights.kernels.paths import PathQuestion, paths
from gateway.insights.kernels.retention import RetentionQuestion, retention
from gateway.insights.kernels.sessions import session_stats
from gateway.insights.kernels.variants import variants
from tests.scale.measuring import say

DAY = 86_400_000
WEEKS = 12
TYPES = 20
ZONE = ZoneInfo("Europe/Berlin")
# Of ten million events 2.4 million are of the four steps, as insights.md measured it.
SHARES = np.array([0.12, 0.06, 0.04, 0.02] + [0.76 / (TYPES - 4)] * (TYPES - 4))


def made(n: int) -> dict[str, np.typing.NDArray[np.int64]]:
    """20 events per user on average over twelve weeks, in the order in which they came."""
    chance = np.random.default_rng(7)
    return {
        "user": chance.integers(0, n // 20, n),
        "at": np.sort(chance.integers(0, 7 * WEEKS * DAY, n)),
        "seq": np.arange(n),
        "code": chance.choice(TYPES, n, p=SHARES),
    }


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """The best of three, and the CPU that one took at least: the same on a machine that nobody else uses."""
    runs = []
    for _ in range(3):
        begun, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - begun, time.process_time() - cpu))
    return min(run[0] for run in runs), min(run[1] for run in runs)


@pytest.mark.parametrize("n", [1_000_000, 10_000_000])
def test_kernels(capsys: pytest.CaptureFixture[str], n: int) -> None:
    columns = made(n)

    def of(which: Flags | slice) -> Events:
        user, at, seq, code = (columns[name][which] for name in ("user", "at", "seq", "code"))
        return Events.of(user.astype(np.int32), at, seq, code.astype(np.int16))

    in_steps = columns["code"] < 4
    some, every = of(in_steps), of(slice(None))
    end = 7 * WEEKS * DAY
    steps = tuple(Step((code,)) for code in range(4))
    weeks = RetentionQuestion(
        start=(0,), back=(1,), between=(0, end), as_of=end, zone=ZONE, interval=Interval.WEEK, buckets=WEEKS
    )
    days = Calendar.covering(ZONE, Interval.DAY, 0, end)
    works: list[tuple[str, int, Callable[[], object]]] = [
        ("sort the events of four steps by user and time", len(some), lambda: of(in_steps)),
        (
            "ordered funnel of four steps, 7 days",
            len(some),
            lambda: funnel(some, FunnelQuestion(steps=steps, window_ms=7 * DAY, as_of=end)),
        ),
        ("sort all events", n, lambda: of(slice(None))),
        ("paths of depth 5 from a type", n, lambda: paths(every, PathQuestion(anchor=(0,), depth=5))),
        ("12 weeks of retention", n, lambda: retention(every, weeks)),
        ("daily trend with distinct users", n, lambda: trend(every, (0, 1, 2, 3), days, end, Statistic.UNIQUES)),
        ("sessions", n, lambda: session_stats(every, (0,))),
        ("directly-follows by session", n, lambda: follows(every)),
        ("variants by session", n, lambda: variants(every)),
    ]
    rows = []
    for name, size, work in works:
        took, cpu = seconds(work)
        rows.append((f"{name} ({size:,} events)", f"{took * 1000:,.0f} / {cpu * 1000:,.0f} / {size / cpu / 1e6:,.1f}"))
    say(capsys, f"Kernels, {n:,} events: ms / ms of CPU / million events a second of CPU", rows)
