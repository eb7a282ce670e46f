"""Rows of a scan are in the order of user, time and sequence, however far apart in time they are."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.insights.columnar.scan import in_order

DAY = 86_400_000


@pytest.mark.parametrize("span", [1, 1_000, 24 * DAY, 70 * DAY, 40 * 365 * DAY, 1 << 62])
@pytest.mark.parametrize("users", [1, 50, 1 << 30])
def test_rows_are_in_order_whatever_the_span(span: int, users: int) -> None:
    chance = np.random.default_rng(span % 1_000 + users)
    user = chance.integers(-1, users, 5_000).astype(np.int32)
    at = chance.integers(-(span // 2), span - span // 2, 5_000)
    at[::7] = at[0]  # several at one moment
    seq = chance.integers(0, 3, 5_000)
    order = in_order(user, at, seq)
    wanted = np.lexsort((np.arange(5_000), seq, at, user))
    assert order.tolist() == wanted.tolist()


def test_runs_that_are_in_order_are_merged_into_one() -> None:
    """As parts have them: by name, and within it by user and time."""
    chance = np.random.default_rng(1)
    runs = [np.sort(chance.integers(0, 1 << 40, 3_000)) for _ in range(5)]
    packed = np.concatenate(runs)
    user, at = (packed >> 33).astype(np.int32), packed & (1 << 33) - 1
    order = in_order(user, at, np.zeros(len(at), np.int64))
    assert (np.diff(packed[order]) >= 0).all()
    assert len(in_order(user[:0], at[:0], at[:0])) == 0
