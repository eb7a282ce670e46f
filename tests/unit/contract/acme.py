"""A small good contract `acme`, to be spoilt by tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.contract import load_contract
from gateway.errors import ContractError

JOURNEY = """\
key: trial
version: 3
name: Trying it out
persona: Developer
goal: See it work
owners: [ux]
abandonedAfter: 12h
stages:
  - key: signup
    label: Signing up
    optional: true
    enter:
      - event: Signed Up
        where:
          - {property: plan, in: [free, trial]}
          - {property: age, gte: 18}
  - key: first_event
    label: First event
    touchpoints:
      - {key: docs, label: Docs, channel: web}
    enter:
      - event: Event Sent
    completes: true
"""
FUNNEL = """\
key: activation
question: How many try it?
unit: percent
better: higher
owners: [ux]
function:
  funnel:
    window: 8w
    steps:
      - {key: signup, label: Signing up, event: Signed Up}
      - {key: sent, label: First event, event: Event Sent, where: [{property: test, exists: false}]}
"""
SCORE = """\
key: ease
question: Is it easy?
unit: percent
better: higher
owners: [ux]
function:
  satisfied:
    event: Answered
    property: score
    atLeast: 5
    lowest: 1
    highest: 7
"""


def write_acme(parent: Path) -> Path:
    """The folder `acme` in `parent`."""
    for name, text in (("journeys/trial", JOURNEY), ("kpis/activation", FUNNEL), ("kpis/ease", SCORE)):
        path = parent / "acme" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return parent / "acme"


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def problems(folder: Path) -> list[str]:
    with pytest.raises(ContractError) as raised:
        load_contract(folder)
    assert str(raised.value) == "\n".join(raised.value.problems)
    return raised.value.problems
