"""`segments/<key>.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.contract.durations import parse_duration
from gateway.contract.personas import Persona
from gateway.contract.reading.checks import check_duration, check_key, check_known, mappings
from gateway.contract.reading.rules import build_condition, build_rule
from gateway.contract.rules import Condition, kind_of
from gateway.contract.segments import (
    CLIENT_FIELDS,
    AllOf,
    AnyOf,
    Did,
    InJourney,
    NotOf,
    OfPersona,
    OfTrait,
    OnClient,
    Rule,
    Segment,
)
from gateway.contract.sources import Place, Source

#: How deep rules may stand in rules, and how many there may be of them.
DEEPEST = 6
MOST_RULES = 50


def check_segment(source: Source) -> None:
    """Report keys, durations, fields of clients, and rules that nobody could follow."""
    check_key(source)
    value = source.value
    if not isinstance(value, dict):
        return
    found = list(rules_at(value.get("who"), ("who",)))
    if len(found) > MOST_RULES:
        what = f"has {len(found)} rules"
        source.report(("who",), what, f"write at most {MOST_RULES}; several segments can be put together by who asks")
    for place, rule, depth in found:
        if depth == DEEPEST + 1:
            source.report(place, "stands too deep", f"write at most {DEEPEST} levels of all, any and not")
        for name in ("did", "didNot"):
            if isinstance(said := rule.get(name), dict):
                check_duration(source, (*place, name, "within"), said.get("within"))
        if isinstance(client := rule.get("client"), dict):
            check_known(source, (*place, "client", "property"), client.get("property"), CLIENT_FIELDS, "client")


def rules_at(value: object, place: Place, depth: int = 1) -> Iterator[tuple[Place, dict[str, Any], int]]:
    """Every rule in a file of any shape, with its place and how deep it stands."""
    if not isinstance(value, dict):
        return
    yield place, value, depth
    for name in ("all", "any"):
        for index, inner in mappings(value.get(name)):
            yield from rules_at(inner, (*place, name, index), depth + 1)
    yield from rules_at(value.get("not"), (*place, "not"), depth + 1)


def build_segment(content: dict[str, Any], personas: Mapping[str, Persona]) -> Segment:
    """What a file without a problem says."""
    return Segment(
        key=content["key"],
        name=content["name"],
        description=content["description"].strip(),
        owners=tuple(content["owners"]),
        rule=_rule(f"{content['key']}.who", content["who"], personas),
        term=content.get("term"),
    )


def _rule(place: str, content: dict[str, Any], personas: Mapping[str, Persona]) -> Rule:
    ((name, said),) = content.items()
    match name:
        case "all" | "any":
            rules = tuple(_rule(f"{place}.{name}[{index}]", one, personas) for index, one in enumerate(said))
            return AllOf(rules) if name == "all" else AnyOf(rules)
        case "not":
            return NotOf(_rule(f"{place}.not", said, personas))
        case "did":
            return _did(place, said)
        case "didNot":
            return NotOf(_did(place, said))
        case "trait":
            return OfTrait(build_condition(said))
        case "client":
            return OnClient(build_condition(said))
        case "persona":
            return OfPersona(said, _traits(personas[said]))
        case _:
            return InJourney(said["map"], said.get("stage"), said.get("status"))


def _did(place: str, said: dict[str, Any]) -> Did:
    within = parse_duration(said["within"]) if "within" in said else None
    return Did(build_rule(place, said), int(said.get("atLeast", 1)), within)


def _traits(persona: Persona) -> tuple[Condition, ...]:
    return tuple(Condition(name, "equals", value) for name, value in persona.traits if kind_of(value) is not None)
