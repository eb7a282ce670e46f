"""The types of planned events and of what they carry. Every field of theirs may be null: a misfit is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLFloat,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLScalarType,
    GraphQLString,
)

from gateway.api.clients import EVENTS, PERSONAL
from gateway.api.planned.naming import Names, has_enum_type, place_of, stem_of, value_name
from gateway.api.planned.values import is_int, reader_of
from gateway.api.scalars import LONG
from gateway.contract import EventDefinition, PropertyDefinition
from gateway.contract.finding import NAMELESS
from gateway.plugin import Marker, Policy, Source
from gateway.plugin.fields import described, extensions_of

_SCALARS = {"string": GraphQLString, "number": GraphQLFloat, "boolean": GraphQLBoolean}


class EventTypes:
    """Makes the types; `scalars` are those of the schema they are for."""

    def __init__(self, names: Names, scalars: Mapping[str, GraphQLNamedType]) -> None:
        self._names = names
        self._scalars = scalars

    def event(
        self, event: EventDefinition, interfaces: list[GraphQLInterfaceType], shared: Mapping[str, GraphQLField]
    ) -> None:
        """The type of one planned event: what every event has, and one field with its properties."""
        if self._names.known(event.type_name, event, place_of(event)):
            return
        fields = dict(shared)
        if event.field_name in fields:
            self._names.refuse_field(event)
        elif event.properties:
            fields[event.field_name] = self._properties_of(event)
        self._names.add(
            GraphQLObjectType(
                event.type_name, fields, interfaces=interfaces, description=self._names.about_event(event)
            )
        )

    def _properties_of(self, event: EventDefinition) -> GraphQLField:
        place, name = place_of(event), f"{stem_of(event)}Properties"
        carried = "traits" if event.type in NAMELESS else "properties"
        if not self._names.known(name, event, place):
            kind = GraphQLObjectType(
                name,
                self._fields((one.definition for one in event.properties), place, carried),
                description=f"What {event.name!r} carries, as the plan has it. What does not fit is null, and stays in "
                f"`{carried}`.",
            )
            self._names.add(kind)
        made = self._names.made[name]
        assert isinstance(made, GraphQLObjectType)
        return _field(
            made,
            lambda source, _: getattr(source.event, carried),
            Source.document("events", carried),
            EVENTS,
            f"What it carries, typed; what is not planned is in `{carried}` only.",
            deprecated=event.deprecated,
        )

    def _fields(self, properties: Iterable[PropertyDefinition], place: str, path: str) -> dict[str, GraphQLField]:
        return {
            name: self._property(definition, place, f"{path}.{definition.key}")
            for name, definition in self._names.fields(properties, place).items()
        }

    def _property(self, definition: PropertyDefinition, place: str, path: str) -> GraphQLField:
        key, read = definition.key, reader_of(definition)
        return _field(
            self.output(definition, place),
            lambda source, _: read(source.get(key)),
            Source.document("events", path),
            policy_of(definition),
            self._names.about_property(definition),
        )

    def output(self, definition: PropertyDefinition, place: str) -> GraphQLOutputType:
        """The type of a property's values, null allowed."""
        if definition.type == "array" and definition.items is not None:
            return GraphQLList(self.output(definition.items, place))
        if definition.type == "object" and definition.properties:
            return self._object(definition)
        return self.plain(definition, place)

    def plain(self, definition: PropertyDefinition, place: str) -> GraphQLScalarType | GraphQLEnumType:
        """The type of a value without parts: a scalar, or the enumeration of the values that are planned."""
        if has_enum_type(definition):
            return self._enum(definition, place)
        if definition.type == "integer":
            return GraphQLInt if is_int(definition) else LONG
        found = _SCALARS.get(definition.type) or self._scalars["DateTime" if definition.type == "datetime" else "JSON"]
        assert isinstance(found, GraphQLScalarType)
        return found

    def _enum(self, definition: PropertyDefinition, place: str) -> GraphQLEnumType:
        name = value_name(definition)
        if not self._names.known(name, (definition.key, definition.enum), place):
            values = {str(value): GraphQLEnumValue(value, f"Sent as `{value}`.") for value in definition.enum}
            self._names.add(GraphQLEnumType(name, values, description=self._names.about_property(definition)))
        found = self._names.made[name]
        assert isinstance(found, GraphQLEnumType)
        return found

    def _object(self, definition: PropertyDefinition) -> GraphQLObjectType:
        name, place = value_name(definition), "properties.yaml"
        if not self._names.known(name, (definition.key, definition.properties), place):
            fields = self._fields((one.definition for one in definition.properties), place, definition.key)
            self._names.add(GraphQLObjectType(name, fields, description=self._names.about_property(definition)))
        found = self._names.made[name]
        assert isinstance(found, GraphQLObjectType)
        return found


def policy_of(definition: PropertyDefinition) -> Policy:
    """Who may read a property: personal and sensitive ones as the JSON of all of them."""
    held = definition.items if definition.type == "array" else None
    personal = definition.privacy != "none" or (held is not None and held.privacy != "none")
    return PERSONAL if personal else EVENTS


def _field(
    kind: GraphQLOutputType,
    resolve: Callable[[Any, GraphQLResolveInfo[Any]], object],
    source: Source,
    policy: Policy,
    description: str,
    deprecated: str | None = None,
) -> GraphQLField:
    return GraphQLField(
        kind,
        resolve=resolve,
        description=described(description, policy),
        deprecation_reason=deprecated,
        extensions=extensions_of(Marker(source, policy)),
    )
