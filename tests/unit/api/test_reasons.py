"""Why a run ended, in words: the map's patience, a stage's limit, or an event that began it anew."""

from __future__ import annotations

import pytest

from gateway.api.journeys import as_node
from gateway.contract import Contract
from gateway.contract.reading.journeys import build_journey
from tests.unit.journeys.cases import HALF_HOUR, START
from tests.unit.journeys.test_changes import MAP, runs

DAYS = START + 200 * HALF_HOUR
CONTRACT = Contract("c", {"m": build_journey(MAP)}, {})


@pytest.mark.parametrize(
    ("names", "words", "rule", "proof"),
    [
        (["A"], 'Abandoned in "A": nothing more happened for 1 day', "m.a.enter[0]", 0),
        (["A", "B", "B"], 'Abandoned in "B": not left within 1 hour', "m.b.enter[0]", 1),
        (["A", "B", "Out"], 'Abandoned after "B": nothing more happened for 1 day', "m.b.leave[0]", 2),
        (["A", "B", "Restart"], 'Abandoned in "B": "Restart" began anew', "m.restart[0]", 2),
    ],
)
def test_the_end_of_a_run_is_told_with_its_rule_and_its_events(
    names: list[str], words: str, rule: str, proof: int
) -> None:
    reason = as_node(CONTRACT, runs(*names, as_of=DAYS)[0]).because()
    assert (reason.words, reason.rule_id) == (words, rule)
    assert reason.proof[0] == bytes([proof]) * 16
