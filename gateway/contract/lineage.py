"""Lineage: from a property over the events that carry it to the stages, maps, KPIs, surveys, segments and alerts that
live on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gateway.contract.alerts import AlertRule, OnDrift, OnKpi, OnSilence
from gateway.contract.functions import (
    Ces,
    Function,
    Nps,
    PluginFunction,
    PropertyStatistic,
    Ratio,
    Satisfied,
    StageMetric,
    Sum,
    rules_of,
)
from gateway.contract.kpis import Kpi
from gateway.contract.loading import Contract
from gateway.contract.paths import ITEMS, parts_of
from gateway.contract.plan import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.rules import EventRule
from gateway.contract.segments import InJourney, Segment, event_rules_of, rules_within
from gateway.contract.surveys import OnEvent, OnStage, OnTaskCompleted, Survey

NodeKind = Literal["property", "event", "stage", "map", "kpi", "survey", "segment", "alert", "connector"]
Direction = Literal["upstream", "downstream"]

#: How many nodes one answer holds at most.
MOST_NODES = 1_000

#: What a condition of a KPI calls the survey whose answers it counts.
_SURVEY = "survey"
#: What is said of the sender and of the user stands beside the properties.
_BESIDE = frozenset({"client", "traits"})


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """Something of the contract, or that lives on it. An event's key is that of its file (`order_completed.1`), or its
    name when it is not planned; a stage's is `map.stage`."""

    kind: NodeKind
    key: str

    def __str__(self) -> str:
        return f"{'KPI' if self.kind == 'kpi' else self.kind} {self.key}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What somebody reads: events of this name and, unless it is None, a property of them (a dotted path)."""

    event: str
    property: str | None = None


@dataclass(frozen=True)
class Lineage:
    """What lives on what, in one contract. `more` are edges that no file tells of, such as to connectors."""

    contract: Contract
    more: tuple[tuple[Node, Node], ...] = ()
    _down: dict[Node, dict[Node, None]] = field(init=False, repr=False, compare=False, default_factory=dict)
    _up: dict[Node, dict[Node, None]] = field(init=False, repr=False, compare=False, default_factory=dict)
    #: Which event carries which property: said of both, but no way from one to what reads the other.
    _carried: dict[Node, dict[Node, None]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for event in self.contract.events.values():
            for key in _keys_within(event.properties):
                self._carries(Node("event", event.key), Node("property", key))
        for reader, readings in self.readings.items():
            for reading in readings:
                for node in self._nodes_of(reading):
                    self._edge(node, reader)
        for start, end in (*self._between(), *self.more):
            self._edge(start, end)

    @cached_property
    def readings(self) -> Mapping[Node, tuple[Reading, ...]]:
        """What every stage, map, KPI, survey, segment and alert reads by itself."""
        found: dict[Node, tuple[Reading, ...]] = {}
        for one in self.contract.journeys.values():
            for stage in one.stages:
                found[Node("stage", f"{one.key}.{stage.key}")] = _read((*stage.enter, *stage.leave))
            found[Node("map", one.key)] = _read(one.restart)
        for kpi in self.contract.kpis.values():
            found[Node("kpi", kpi.key)] = readings_of(kpi)
        for survey in self.contract.surveys.values():
            rules = [trigger.rule for trigger in survey.triggers if isinstance(trigger, OnEvent)]
            found[Node("survey", survey.key)] = _read(rules)
        for segment in self.contract.segments.values():
            found[Node("segment", segment.key)] = _read(event_rules_of(segment))
        for alert in self.contract.alerts.values():
            found[Node("alert", alert.key)] = _looked_at(alert)
        return found

    def of(self, node: Node, direction: Direction) -> list[Node]:
        """All that lives on the node, or all that it lives on, the nearest first; at most MOST_NODES."""
        edges = self._down if direction == "downstream" else self._up
        found = dict(self._beside(node, direction))
        ahead = [*edges.get(node, ())]
        while ahead and len(found) < MOST_NODES:
            found |= dict.fromkeys(one for one in ahead if one != node)
            ahead = [far for one in ahead for far in edges.get(one, ()) if far not in found and far != node]
        return [*found][:MOST_NODES]

    def has(self, node: Node) -> bool:
        """Whether the contract or something that lives on it has such a node."""
        return node in self._down or node in self._up or node in self._carried or self._is_known(node)

    def missing(self, node: Node) -> bool:
        """Whether something reads it though the plan does not have it."""
        if node.kind not in ("event", "property") or not self.contract.events:
            return False
        return not self._is_known(node)

    def broken(self, kpi: Kpi) -> str | None:
        """Why the KPI cannot be trusted: what it reads and the plan does not have; None without a plan."""
        if not self.contract.events:
            return None
        lacking = [f"the KPI reads {said}" for said in self._lacking(readings_of(kpi))]
        for one in _measured(kpi.function):
            within = [node for node in self._up.get(one, ()) if node.kind == "stage"] if one.kind == "map" else []
            for node in (one, *within):
                readings = self.readings.get(node, ())
                lacking += [f"{node}, which it measures, reads {said}" for said in self._lacking(readings)]
        return "; ".join(dict.fromkeys(lacking)) or None

    def planned(self, name: str) -> list[EventDefinition]:
        """Every major of the event of this name."""
        return self._named.get(name, [])

    @cached_property
    def _named(self) -> dict[str, list[EventDefinition]]:
        found: dict[str, list[EventDefinition]] = {}
        for event in self.contract.events.values():
            found.setdefault(event.name, []).append(event)
        return found

    def _lacking(self, readings: Iterable[Reading]) -> Iterator[str]:
        for reading in readings:
            planned = self.planned(reading.event)
            if not planned:
                yield f"the event {reading.event!r}, which is not planned"
            elif reading.property is not None and not any(
                at_path(event.properties, reading.property) for event in planned
            ):
                yield f"the property {reading.property!r} of {reading.event!r}, which is not planned"

    def _nodes_of(self, reading: Reading) -> Iterator[Node]:
        planned = self.planned(reading.event)
        if reading.property is None:
            yield from (Node("event", event.key) for event in planned)
            if not planned:
                yield Node("event", reading.event)
            return
        keys = [one.key for event in planned for one in at_path(event.properties, reading.property)]
        yield from (Node("property", key) for key in dict.fromkeys(keys or [reading.property]))

    def _between(self) -> Iterator[tuple[Node, Node]]:
        for one in self.contract.journeys.values():
            for stage in one.stages:
                here = Node("stage", f"{one.key}.{stage.key}")
                yield here, Node("map", one.key)
                yield from ((here, Node("survey", key)) for key in stage.feedback)
        for kpi in self.contract.kpis.values():
            yield from ((one, Node("kpi", kpi.key)) for one in _measured(kpi.function))
            yield from ((Node("survey", key), Node("kpi", kpi.key)) for key in self._surveys_of(kpi))
        for survey in self.contract.surveys.values():
            yield from ((one, Node("survey", survey.key)) for one in _waited_for(survey))
        for segment in self.contract.segments.values():
            yield from ((one, Node("segment", segment.key)) for one in _stood_in(segment))
        for alert in self.contract.alerts.values():
            yield from ((one, Node("alert", alert.key)) for one in _compared(alert))

    def _surveys_of(self, kpi: Kpi) -> Iterator[str]:
        for rule in rules_of(kpi.function):
            for condition in (*rule.where, *kpi.filters):
                if condition.property == _SURVEY and condition.op in ("equals", "in"):
                    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
                    yield from (str(value) for value in values if value in self.contract.surveys)

    def _beside(self, node: Node, direction: Direction) -> Mapping[Node, None]:
        shows = {"property": "downstream", "event": "upstream"}.get(node.kind)
        return self._carried.get(node, {}) if shows == direction else {}

    def _is_known(self, node: Node) -> bool:
        contract = self.contract
        match node.kind:
            case "property":
                return node.key in contract.properties or node in self._carried
            case "event":
                return node.key in contract.events
            case "stage":
                key, _, stage = node.key.partition(".")
                return key in contract.journeys and any(one.key == stage for one in contract.journeys[key].stages)
            case "map":
                return node.key in contract.journeys
            case "kpi":
                return node.key in contract.kpis
            case "survey":
                return node.key in contract.surveys
            case "segment":
                return node.key in contract.segments
            case "alert":
                return node.key in contract.alerts
            case _:
                return False

    def _edge(self, start: Node, end: Node) -> None:
        self._down.setdefault(start, {})[end] = None
        self._up.setdefault(end, {})[start] = None

    def _carries(self, event: Node, carried: Node) -> None:
        self._carried.setdefault(event, {})[carried] = None
        self._carried.setdefault(carried, {})[event] = None


def readings_of(kpi: Kpi) -> tuple[Reading, ...]:
    """The events that a KPI counts, and the properties of them that it looks at."""
    rules = rules_of(kpi.function)
    found = [*_read(rules), *_values(kpi.function)]
    for rule in rules:
        found += [Reading(rule.event, one.property) for one in kpi.filters if _is_property(one.property)]
    return tuple(dict.fromkeys(found))


def at_path(properties: Iterable[PlannedProperty], path: str) -> tuple[PropertyDefinition, ...]:
    """The definitions that a dotted path leads through, `[]` behind a list to what it holds (`products[].color`); none
    when it leads nowhere that is planned.

    What an object holds that does not say what it holds is taken to be there.
    """
    found: list[PropertyDefinition] = []
    within = tuple(properties)
    for name in parts_of(path):
        if found and found[-1].type == "object" and not found[-1].properties:
            break
        if name == ITEMS:
            definition = found[-1].items if found else None
        else:
            definition = next((one.definition for one in within if one.key == name), None)
        if definition is None:
            return ()
        found.append(definition)
        within = definition.properties
    return tuple(found)


def _read(rules: Iterable[EventRule]) -> tuple[Reading, ...]:
    found: list[Reading] = []
    for rule in rules:
        found.append(Reading(rule.event))
        found += [Reading(rule.event, one.property) for one in rule.where if _is_property(one.property)]
    return tuple(dict.fromkeys(found))


def _values(function: Function) -> Iterator[Reading]:
    match function:
        case Sum() | PropertyStatistic() | Satisfied() | Nps() | Ces():
            yield Reading(function.rule.event, function.property)
        case PluginFunction(property=path) if path is not None:
            yield from (Reading(rule.event, path) for rule in function.rules)
        case Ratio():
            yield from _values(function.part)
            yield from _values(function.whole)


def _measured(function: Function) -> Iterator[Node]:
    if isinstance(function, StageMetric):
        stage = function.stage
        yield Node("map", function.map) if stage is None else Node("stage", f"{function.map}.{stage}")


def _waited_for(survey: Survey) -> Iterator[Node]:
    for trigger in survey.triggers:
        if isinstance(trigger, OnStage):
            yield Node("stage", f"{trigger.map}.{trigger.stage}")
        elif isinstance(trigger, OnTaskCompleted):
            yield Node("map", trigger.map)
    yield from (Node("survey", one.survey) for one in survey.targeting.answered)
    if survey.targeting.segment is not None:
        yield Node("segment", survey.targeting.segment)


def _stood_in(segment: Segment) -> Iterator[Node]:
    for rule in rules_within(segment.rule):
        if isinstance(rule, InJourney):
            yield Node("map", rule.map) if rule.stage is None else Node("stage", f"{rule.map}.{rule.stage}")


def _looked_at(alert: AlertRule) -> tuple[Reading, ...]:
    match alert.watched:
        case OnSilence(event):
            return (Reading(event),)
        case OnDrift(event, property_):
            return (Reading(event), Reading(event, property_))
    return ()


def _compared(alert: AlertRule) -> Iterator[Node]:
    if isinstance(alert.watched, OnKpi):
        yield Node("kpi", alert.watched.kpi)
        if alert.watched.segment is not None:
            yield Node("segment", alert.watched.segment)


def _keys_within(properties: Iterable[PlannedProperty]) -> Iterator[str]:
    for one in properties:
        yield from _keys_of(one.definition)


def _keys_of(definition: PropertyDefinition) -> Iterator[str]:
    if definition.key:
        yield definition.key
    yield from _keys_within(definition.properties)
    if definition.items is not None:
        yield from _keys_of(definition.items)


def _is_property(path: str) -> bool:
    return path.partition(".")[0] not in _BESIDE
