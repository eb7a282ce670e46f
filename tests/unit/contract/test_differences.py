"""What one version of a contract says otherwise than another, and when a map's version must be raised for it."""

from __future__ import annotations

import pytest

from gateway.contract import Contract, load_texts, not_raised
from tests.unit.contract.acme import JOURNEY


def acme(*changes: tuple[str, str]) -> Contract:
    text = JOURNEY
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return load_texts("acme", {"journeys/trial.yaml": text})


RULES = [
    ("in: [free, trial]", "in: [free]"),
    ("abandonedAfter: 12h", "abandonedAfter: 13h"),
    ("    optional: true\n", ""),
    ("event: Event Sent", "event: Event Received"),
    ("age, gte: 18}", "age, gte: 18}\n    leave: [{event: Left}]"),
    ("key: signup", "key: registration"),
]


@pytest.mark.parametrize("change", RULES, ids=str)
@pytest.mark.parametrize("version", [2, 3, 4])
def test_other_rules_need_a_higher_version(change: tuple[str, str], version: int) -> None:
    told = not_raised(acme(), acme(change, ("version: 3", f"version: {version}")))
    assert len(told) == (version <= 3)
    for line in told:
        assert line.startswith("acme/journeys/trial.yaml: ")
        assert line.endswith("raise `version` to 4")


def test_texts_may_change_as_they_are() -> None:
    words = (
        ("Trying it out", "A trial"),
        ("Developer", "Maker"),
        ("See it work", "See it run"),
        ("[ux]", "[ux, product]"),
        ("Signing up", "Joining"),
        ("label: Docs", "label: Handbook"),
    )
    assert not_raised(acme(), acme(*words)) == []
    assert not_raised(acme(), acme(*words, ("version: 3", "version: 2"))) == []


def test_a_map_that_comes_or_goes_needs_none() -> None:
    none = Contract("acme", {}, {})
    assert not_raised(None, acme()) == not_raised(none, acme()) == not_raised(acme(), none) == []
