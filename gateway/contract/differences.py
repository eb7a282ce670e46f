"""What one version of a contract says otherwise than another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.contract.hashing import content_hash
from gateway.contract.journeys import JourneyMap
from gateway.contract.loading import Contract

#: What of a map is for people alone: nobody stands elsewhere when it changes.
_TEXTS = frozenset({
    "version", "name", "persona", "goal", "owners", "owner", "pain_points", "touchpoints", "label", "emotion",
    "feedback",
})  # fmt: skip


DifferenceKind = Literal[
    "map", "kpi", "segment", "alert", "rule", "event", "property", "survey", "persona", "term", "purpose", "request",
    "example",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """Something defined that is there in one version only, or is not the same in both."""

    kind: DifferenceKind
    key: str
    change: Literal["added", "removed", "changed"]


def differences(before: Contract | None, after: Contract) -> list[Difference]:
    """Maps first, each kind by key. Comments and the order of keys make no difference."""
    old = before if before is not None else Contract("none", {}, {})
    return [
        *_between("map", old.journeys, after.journeys),
        *_between("kpi", old.kpis, after.kpis),
        *_between("segment", old.segments, after.segments),
        *_between("alert", old.alerts, after.alerts),
        *_between("rule", old.rules, after.rules),
        *_between("event", old.events, after.events),
        *_between("property", old.properties, after.properties),
        *_between("survey", old.surveys, after.surveys),
        *_between("persona", old.personas, after.personas),
        *_between("term", old.glossary, after.glossary),
        *_between("purpose", old.consent, after.consent),
        *_between("request", old.requests, after.requests),
        *_between("example", old.examples, after.examples),
    ]


def not_raised(before: Contract | None, after: Contract) -> list[str]:
    """A line for each map whose stages or rules have changed and whose version was not raised."""
    old = before.journeys if before is not None else {}
    return [
        f"{after.name}/journeys/{key}.yaml: its stages or rules are not those of version {old[key].version}, which "
        f"counts - raise `version` to {old[key].version + 1}"
        for key, journey in sorted(after.journeys.items())
        if key in old and journey.version <= old[key].version and _rules(journey) != _rules(old[key])
    ]


def _rules(journey: JourneyMap) -> str:
    return content_hash(journey, without=_TEXTS)


def _between(kind: DifferenceKind, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[Difference]:
    for key in sorted({*before, *after}):
        if key not in before:
            yield Difference(kind, key, "added")
        elif key not in after:
            yield Difference(kind, key, "removed")
        elif before[key] != after[key]:
            yield Difference(kind, key, "changed")
