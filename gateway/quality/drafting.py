"""An inferred plan as the files that people go on with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gateway.contract.plan import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.quality.inferring import Draft, of_property

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*( [A-Za-z0-9_-]+)*")
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def files_of(draft: Draft) -> dict[str, str]:
    """Texts by path: `events/<name>.1.yaml` each, and `properties.yaml` when there are any."""
    files = {f"events/{one.key}.yaml": _lines(_event(one, draft.notes.get(one.name, ()))) for one in draft.events}
    if draft.properties:
        files["properties.yaml"] = _lines(_properties(draft))
    return files


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _event(event: EventDefinition, notes: tuple[str, ...]) -> Iterator[str]:
    yield "# yaml-language-server: $schema=../../meta/event.schema.json"
    yield from (f"# TODO: {_comment(note)}" for note in notes)
    yield f"name: {_text(event.name)}"
    yield f"major: {event.major}"
    yield f"brief: {_text(event.brief)}"
    if event.type != "track":
        yield f"type: {event.type}"
    yield f"owners: [{', '.join(map(_text, event.owners))}]"
    if event.properties:
        yield "properties:"
        yield from _references(event.properties, "  ")


def _properties(draft: Draft) -> Iterator[str]:
    yield "# yaml-language-server: $schema=../meta/properties.schema.json"
    yield "# Every property once: an event says which of them it carries."
    kept = {of_property(one.key) for one in draft.properties} | {one.name for one in draft.events}
    for subject, notes in sorted(draft.notes.items()):
        if subject not in kept:
            yield from (f"# TODO: {_comment(subject)}: {_comment(note)}" for note in notes)
    yield "properties:"
    for one in draft.properties:
        yield from _property(one, draft.notes.get(of_property(one.key), ()))


def _property(one: PropertyDefinition, notes: tuple[str, ...]) -> Iterator[str]:
    yield from (f"  # TODO: {_comment(note)}" for note in notes)
    yield f"  - key: {_text(one.key)}"
    yield f"    type: {one.type}"
    yield f"    brief: {_text(one.brief)}"
    if one.privacy != "none":
        yield f"    privacy: {one.privacy}"
    if one.enum:
        yield f"    enum: [{', '.join(_quoted(str(value)) for value in one.enum)}]"
    if one.pattern is not None:
        yield f"    pattern: {_quoted(one.pattern)}"
    if one.items is not None:
        yield f"    items: {_text(one.items.key) if one.items.type == 'object' else f'{{type: {one.items.type}}}'}"
    if one.properties:
        yield "    properties:"
        yield from _references(one.properties, "      ")


def _references(properties: tuple[PlannedProperty, ...], indent: str) -> Iterator[str]:
    for one in properties:
        yield f"{indent}- {{property: {_text(one.key)}{', required: true' if one.required else ''}}}"


def _text(text: str) -> str:
    """A text as YAML has it: bare where it is a few plain words."""
    plain = _WORD.fullmatch(text) is not None and text.lower() not in _NOT_TEXT
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text)  # what JSON writes, YAML reads


def _comment(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)
