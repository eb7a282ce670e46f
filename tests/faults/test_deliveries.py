"""The judgment over destinations finds what is planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.deliveries import missing, out_of_order, twice_without_reason, unfinished
from tests.faults.sinks import Sink, Taken
from tests.faults.tables import LANES, Row, Tables


def feed(*told: tuple[int, str, int]) -> list[dict[str, Any]]:
    """Rows: event, user, number."""
    return [
        {"kind": "event", "event": bytes([event]), "user": user, "lane": 1, "seq": number}
        for event, user, number in told
    ]


def sink(*taken: tuple[int, float]) -> Sink:
    made = [Taken(bytes([event]).hex(), at) for event, at in taken]
    return Sink("slow", 1, taken=made, keys={one.key for one in made})


TOLD = feed((1, "ann", 1), (2, "bob", 2), (3, "ann", 3))


def test_all_in_order_is_good() -> None:
    good = sink((2, 1.0), (1, 2.0), (3, 3.0))
    assert not [*missing(good, TOLD), *out_of_order(good, TOLD), *twice_without_reason(good, [])]


@pytest.mark.parametrize("taken", [[(1, 1.0), (3, 2.0)], [(1, 1.0), (2, 1.0), (3, 2.0), (4, 3.0)]])
def test_what_is_missing_or_made_up_is_found(taken: list[tuple[int, float]]) -> None:
    assert len(list(missing(sink(*taken), TOLD))) == 1


def test_an_inversion_of_one_user_is_found_and_a_repeat_is_none() -> None:
    assert len(list(out_of_order(sink((3, 1.0), (1, 2.0), (2, 3.0)), TOLD))) == 1
    assert not list(out_of_order(sink((1, 1.0), (3, 2.0), (1, 3.0), (2, 3.0)), TOLD))


def test_a_repeat_needs_a_fault() -> None:
    again = sink((1, 100.0), (1, 101.0))
    assert len(list(twice_without_reason(again, []))) == 1
    assert not list(twice_without_reason(again, [(90.0, 95.0)]))
    assert len(list(twice_without_reason(again, [(10.0, 60.0)]))) == 1


def test_what_is_not_finished_is_found() -> None:
    lanes: list[Row] = [{"_id": lane, "seq": 5, "floor": 0} for lane in range(LANES)]
    cursors: list[Row] = [{"instance": "sink", "lane": lane, "seq": 5} for lane in range(LANES)]
    rows: dict[str, list[Row]] = {
        "lanes": lanes,
        "delivery_cursors": cursors,
        "destinations": [{"instance": "sink", "state": "delivering"}],
        "alerts": [{"key": "k", "open": False, "title": "t"}],
    }
    assert not list(unfinished(Tables(rows)))
    assert len(list(unfinished(Tables({**rows, "delivery_cursors": cursors[1:]})))) == 1
    assert len(list(unfinished(Tables({**rows, "destinations": [{"instance": "sink", "state": "broken"}]})))) == 1
    assert len(list(unfinished(Tables({**rows, "alerts": [{"key": "k", "open": True, "title": "t"}]})))) == 1
