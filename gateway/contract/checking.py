"""What is right in every file of a contract, and wrong or missing in all of them together.

Works on a contract that loads: it finds what would never happen (an error), what people would miss (a warning), and
what there is room for (a note).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, get_type_hints

from gateway.contract.examples import fault_of, misfits
from gateway.contract.loading import Contract
from gateway.contract.plan import EventDefinition, PropertyDefinition
from gateway.contract.shape import closest, did_you_mean
from gateway.contract.sources import Place, Source, named, shown, source_of
from gateway.model.event import Client

Severity = Literal["error", "warning", "note"]

#: Beside its properties, what an event can be told apart by.
_CLIENT = tuple(get_type_hints(Client))
_NUMBERS = ("integer", "number")


@dataclass(frozen=True, slots=True)
class ContractFinding:
    """One finding. `check` is stable and meant for programs; `fix` says what to do. Lines count from 1."""

    severity: Severity
    check: str
    file: str
    line: int
    place: str
    what: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}{' ' + self.place if self.place else ''}: " if self.file else ""
        return f"{where}{self.what}{' - ' + self.fix if self.fix else ''}"


def check_contract(contract: Contract) -> list[ContractFinding]:
    """Every finding: errors first, each kind in the order of files and lines."""
    order = {"error": 0, "warning": 1, "note": 2}
    found = dict.fromkeys(_Check(contract).findings())
    return sorted(found, key=lambda one: (order[one.severity], one.file, one.line))


class _Check:
    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.sources = {
            path: source_of(text.encode(errors="surrogatepass"), f"{contract.name}/{path}", PurePosixPath(path).stem)
            for path, text in contract.files.items()
        }
        self.by_name: dict[str, list[EventDefinition]] = {}
        for event in contract.events.values():
            self.by_name.setdefault(event.name, []).append(event)
        self.used: set[str] = set()

    def findings(self) -> Iterator[ContractFinding]:
        yield from self._examples()
        yield from self._personas()
        for path, source in self.sources.items():
            home = path.partition("/")[0]
            if home in ("journeys", "kpis", "surveys", "segments", "alerts"):
                yield from self._rules(source)
            if home in ("kpis", "events", "surveys", "segments"):
                yield from self._term(source, home)
            if home == "kpis":
                yield from self._parts(source)
        yield from self._journeys()
        yield from self._surveys()
        yield from self._properties()
        yield from self._unused()

    def _found(
        self, severity: Severity, check: str, source: Source, place: Place, what: str, fix: str
    ) -> ContractFinding:
        line, around = source.lines.get(place), place
        while line is None:
            around = around[:-1]
            line = source.lines.get(around)
        return ContractFinding(severity, check, source.file, line, named(place), what, fix)

    # -- examples and samples -------------------------------------------------------------------------------------

    def _examples(self) -> Iterator[ContractFinding]:
        for name, example in self.contract.examples.items():
            if fault := fault_of(example, self.contract.events[example.event]):
                source = self.sources[f"examples/{name}.json"]
                yield self._found("error", "example", source, ("message",), fault, "mend the example or the plan")

    def _personas(self) -> Iterator[ContractFinding]:
        for key, persona in self.contract.personas.items():
            source = self.sources[f"personas/{key}.yaml"]
            for index, message in enumerate(persona.sample):
                place: Place = ("sample", index)
                name = message.get("event") or message.get("name") or message.get("type")
                planned = self.by_name.get(name, []) if isinstance(name, str) else []
                self.used |= {event.key for event in planned}
                if not planned:
                    what = f"no event {shown(name)} is planned"
                    yield self._found("warning", "sample", source, place, what, self._meant(name))
                elif wrong := min((misfits(event, message) for event in planned), key=len):
                    what = f"the sample does not fit its plan: {', '.join(map(str, wrong))}"
                    yield self._found("error", "sample", source, place, what, "mend the sample or the plan")

    # -- rules ----------------------------------------------------------------------------------------------------

    def _rules(self, source: Source) -> Iterator[ContractFinding]:
        """Every event and property that a map, a KPI, a survey, a segment or an alert names."""
        for place, event, rule in _rules_in(source.value, ()):
            definitions = self.by_name.get(event, [])
            self.used |= {one.key for one in definitions}
            if not self.by_name:
                continue  # without a plan nothing can be said
            if not definitions:
                what = f"no event {shown(event)} is planned"
                yield self._found("error", "unplanned-event", source, place, what, self._meant(event))
                continue
            if all(one.deprecated for one in definitions):
                what = f"{shown(event)} is deprecated: {definitions[0].deprecated}"
                yield self._found("warning", "deprecated-event", source, place, what, "name what is sent instead")
            here = place[:-1]
            for index, condition in enumerate(rule.get("where", ())):
                yield from self._condition(source, (*here, "where", index), condition, definitions)
            if isinstance(rule.get("property"), str):
                wants = source.file.split("/")[1] == "kpis"
                yield from self._property(source, (*here, "property"), rule["property"], definitions, number=wants)

    def _condition(
        self, source: Source, place: Place, condition: Mapping[str, Any], definitions: list[EventDefinition]
    ) -> Iterator[ContractFinding]:
        path = condition["property"]
        yield from self._property(source, (*place, "property"), path, definitions)
        enum = {value for one in definitions if (found := _at(one, path)) is not None for value in found.enum}
        for op in ("equals", "in"):
            wanted = condition.get(op)
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if op in condition and enum and value not in enum:
                    fix = did_you_mean(value, sorted(map(str, enum)), otherwise="use one of")
                    what = f"{shown(path)} is never {shown(value)}"
                    yield self._found("error", "unplanned-value", source, (*place, op), what, fix)

    def _property(
        self, source: Source, place: Place, path: str, definitions: list[EventDefinition], *, number: bool = False
    ) -> Iterator[ContractFinding]:
        found = [one for event in definitions if (one := _at(event, path)) is not None]
        if not found:
            known = list(dict.fromkeys(one.key for event in definitions for one in event.properties))
            what = f"no property {shown(path)} is planned for {shown(definitions[0].name)}"
            yield self._found("error", "unplanned-property", source, place, what, self._property_meant(path, known))
        elif number and not any(one.type in _NUMBERS for one in found):
            what = f"{shown(path)} is no number, but {found[0].type}"
            yield self._found("error", "no-number", source, place, what, "name a property that is one")

    def _parts(self, source: Source) -> Iterator[ContractFinding]:
        """Filters and breakdowns of a KPI: of the client, of traits, or of one of its events."""
        kpi = self.contract.kpis[source.stem]
        value = source.value
        assert isinstance(value, dict)
        places: list[tuple[Place, str]] = [
            (("filters", index, "property"), one["property"]) for index, one in enumerate(value.get("filters", ()))
        ]
        places += [(("breakdowns", index), path) for index, path in enumerate(kpi.breakdowns)]
        names = [event for _, event, _ in _rules_in(value, ())]
        definitions = [event for name in names for event in self.by_name.get(name, ())]
        for place, path in places:
            first, _, rest = path.partition(".")
            if first == "client" and rest not in _CLIENT:
                what = f"nothing is known of the client's {shown(rest)}"
                fix = did_you_mean(rest, list(_CLIENT), otherwise="use one of")
                yield self._found("error", "unplanned-property", source, place, what, fix)
            elif first not in ("client", "traits") and definitions and not any(_at(one, path) for one in definitions):
                known = list(dict.fromkeys(one.key for event in definitions for one in event.properties))
                what = f"none of the KPI's events has the property {shown(path)}"
                yield self._found("error", "unplanned-property", source, place, what, self._property_meant(path, known))

    # -- one file and another -------------------------------------------------------------------------------------

    def _term(self, source: Source, home: str) -> Iterator[ContractFinding]:
        value = source.value
        assert isinstance(value, dict)
        word = value.get("term")
        if word is None and home == "kpis":
            what = "the glossary has no word for this KPI"
            yield self._found("warning", "no-term", source, (), what, "add term: the key of a term in glossary.yaml")
        elif word is not None and self.contract.term(word) is None:
            words = [*(term.name for term in self.contract.glossary.values()), *self.contract.glossary]
            meant = closest(word, words)
            fix = f"did you mean {meant!r}?" if meant else "add it to glossary.yaml"
            yield self._found("warning", "no-term", source, ("term",), f"the glossary has no term {shown(word)}", fix)

    def _journeys(self) -> Iterator[ContractFinding]:
        personas = [name for one in self.contract.personas.values() for name in (one.key, one.name)]
        for key, journey in self.contract.journeys.items():
            source = self.sources[f"journeys/{key}.yaml"]
            if personas and journey.persona not in personas:
                fix = did_you_mean(journey.persona, personas, otherwise="describe it in personas/, or use one of")
                what = f"no persona is called {shown(journey.persona)}"
                yield self._found("warning", "no-persona", source, ("persona",), what, fix)
            for index, stage in enumerate(journey.stages):
                place: Place = ("stages", index)
                if self.by_name and not any(rule.event in self.by_name for rule in stage.enter):
                    what = f"no planned event enters the stage {shown(stage.key)}"
                    fix = "plan one of its events, or name one that is planned"
                    yield self._found("error", "unreached-stage", source, (*place, "enter"), what, fix)
                if not stage.feedback:
                    what = f"nobody is asked in the stage {shown(stage.key)}"
                    yield self._found("note", "no-feedback", source, place, what, "add feedback: the keys of surveys")

    def _surveys(self) -> Iterator[ContractFinding]:
        touchpoints = list(
            dict.fromkeys(
                one.key
                for journey in self.contract.journeys.values()
                for stage in journey.stages
                for one in stage.touchpoints
            )
        )
        asked = {key for one in self.contract.journeys.values() for stage in one.stages for key in stage.feedback}
        for key, survey in self.contract.surveys.items():
            source = self.sources[f"surveys/{key}.yaml"]
            if not survey.triggers:
                yield self._found("warning", "no-trigger", source, (), "nothing triggers the survey", "add triggers")
            if key not in asked:
                what, fix = "no stage of a journey map names the survey", "add it to the feedback of a stage"
                yield self._found("note", "no-feedback", source, (), what, fix)
            for index, touchpoint in enumerate(survey.touchpoints):
                if touchpoint not in touchpoints:
                    what = f"no journey map has the touchpoint {shown(touchpoint)}"
                    fix = did_you_mean(touchpoint, touchpoints, otherwise="maps have")
                    yield self._found("warning", "no-touchpoint", source, ("touchpoints", index), what, fix)

    def _properties(self) -> Iterator[ContractFinding]:
        source = self.sources.get("properties.yaml")
        if source is None:
            return
        used: set[str] = set()
        waiting = [one.definition for event in self.contract.events.values() for one in event.properties]
        while waiting:
            one = waiting.pop()
            if one.key not in used:
                used.add(one.key)
                waiting += [inner.definition for inner in one.properties]
                waiting += [one.items] if one.items is not None and one.items.key != one.key else []
        for index, (key, definition) in enumerate(self.contract.properties.items()):
            place: Place = ("properties", index)
            if key not in used:
                what = f"no event has the property {shown(key)}"
                yield self._found("note", "unused-property", source, place, what, "add it to an event, or remove it")
            if definition.term is not None and self.contract.term(definition.term) is None:
                what = f"the glossary has no term {shown(definition.term)}"
                yield self._found("warning", "no-term", source, (*place, "term"), what, "add it to glossary.yaml")

    def _unused(self) -> Iterator[ContractFinding]:
        self.used |= {example.event for example in self.contract.examples.values()}
        wanted = {request.event for request in self.contract.requests.values()}
        for key, event in self.contract.events.items():
            if key not in self.used and event.name not in wanted and not event.deprecated:
                source = self.sources[f"events/{key}.yaml"]
                what = f"nothing uses {shown(event.name)}: no map, KPI, survey, segment, persona or example"
                yield self._found("note", "unused-event", source, (), what, "use it, or send less")

    # -- words ----------------------------------------------------------------------------------------------------

    def _meant(self, event: object) -> str:
        meant = closest(event, list(self.by_name))
        return f"did you mean {meant!r}?" if meant else "plan it: add its file to events/"

    def _property_meant(self, path: str, known: list[str]) -> str:
        meant = closest(path, known)
        return f"did you mean {meant!r}?" if meant else f"add it to the event; it has: {', '.join(known) or 'none'}"


def _at(event: EventDefinition, path: str) -> PropertyDefinition | None:
    """The planned property that the dotted path leads to."""
    found: PropertyDefinition | None = None
    properties = event.properties
    for part in path.split("."):
        found = next((one.definition for one in properties if one.key == part), None)
        if found is None:
            return None
        properties = found.properties
    return found


def _rules_in(value: object, place: Place) -> Iterator[tuple[Place, str, Mapping[str, Any]]]:
    """Every rule in a file: the place of its event's name, the name, and what stands beside it."""
    if isinstance(value, dict):
        event = value.get("event")
        if isinstance(event, str):
            yield (*place, "event"), event, value
        elif isinstance(event, dict):  # the trigger of a survey
            yield (*place, "event", "name"), event["name"], event
        for key, inner in value.items():
            yield from _rules_in(inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _rules_in(inner, (*place, index))
