"""Inputs to send planned events, and the messages they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graphql import (
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLString,
)

from gateway.api.planned.filters import NOTHING, nothing
from gateway.api.planned.naming import Names, place_of, stem_of, value_name
from gateway.api.planned.types import EventTypes
from gateway.api.scalars import iso
from gateway.contract import EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.plan import camel


class EventInputs:
    """Makes the inputs."""

    def __init__(self, names: Names, types: EventTypes, scalars: Mapping[str, GraphQLNamedType]) -> None:
        self._names = names
        self._types = types
        self._scalars = scalars

    def list_of(self, events: Iterable[EventDefinition]) -> GraphQLList[Any] | None:
        """The type of `TrackInput.events`; None when the plan has no track call."""
        members = {one.field_name: self._event(one) for one in events if one.type == "track"}
        if not members:
            return None
        one_of = GraphQLInputObjectType(
            "PlannedEventInput", members, description="Which planned event, and what it carries.", is_one_of=True
        )
        moment = self._scalars["DateTime"]
        assert isinstance(moment, GraphQLScalarType)
        fields = {
            "event": GraphQLInputField(GraphQLNonNull(one_of), description="What happened."),
            "timestamp": GraphQLInputField(moment, description="When it happened; as the whole input if left out."),
            "messageId": GraphQLInputField(
                GraphQLString, description="Your own id of the event, so that sending it again changes nothing."
            ),
            "userId": GraphQLInputField(GraphQLString, description="Who did it; as the whole input if left out."),
            "anonymousId": GraphQLInputField(
                GraphQLString, description="The browser or device it happened on; as the whole input if left out."
            ),
        }
        single = GraphQLInputObjectType("TrackedEventInput", fields, description="One event of the tracking plan.")
        for made in (one_of, single):
            self._names.known(made.name, made.name, "events")
            self._names.add(made)
        return GraphQLList(GraphQLNonNull(single))

    def _event(self, event: EventDefinition) -> GraphQLInputField:
        name, place = f"{stem_of(event)}PropertiesInput", place_of(event)
        if not self._names.known(name, event, place):
            fields = self._fields(event.properties, place)
            about = f"What {event.name!r} carries."
            self._names.add(GraphQLInputObjectType(name, fields or {NOTHING: nothing()}, description=about))
        return GraphQLInputField(
            self._made(name), description=self._names.about_event(event), deprecation_reason=event.deprecated
        )

    def _fields(self, properties: tuple[PlannedProperty, ...], place: str) -> dict[str, GraphQLInputField]:
        required = {one.key for one in properties if one.required}
        fields: dict[str, GraphQLInputField] = {}
        for name, definition in self._names.fields((one.definition for one in properties), place).items():
            kind = self._input(definition, place)
            about = self._names.about_property(definition)
            fields[name] = GraphQLInputField(
                GraphQLNonNull(kind) if definition.key in required else kind, description=about
            )
        return fields

    def _input(self, definition: PropertyDefinition, place: str) -> Any:
        if definition.type == "array" and definition.items is not None:
            return GraphQLList(GraphQLNonNull(self._input(definition.items, place)))
        if definition.type != "object" or not definition.properties:
            return self._types.plain(definition, place)
        name = f"{value_name(definition)}Input"
        if not self._names.known(name, (definition.key, definition.properties), place):
            fields = self._fields(definition.properties, "properties.yaml")
            about = self._names.about_property(definition)
            self._names.add(GraphQLInputObjectType(name, fields or {NOTHING: nothing()}, description=about))
        return self._made(name)

    def _made(self, name: str) -> GraphQLInputType:
        found = self._names.made[name]
        assert isinstance(found, GraphQLInputObjectType)
        return found


def sent(properties: tuple[PlannedProperty, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """What an input says, as an SDK would send it: under the names of the plan."""
    by_name = {camel(one.key): one.definition for one in properties}
    return {by_name[name].key: _sent(by_name[name], value) for name, value in given.items() if name in by_name}


def _sent(definition: PropertyDefinition, value: Any) -> Any:
    if value is None:
        return None
    if definition.type == "array" and definition.items is not None:
        return [_sent(definition.items, one) for one in value]
    if definition.type == "object" and definition.properties:
        return sent(definition.properties, value)
    return iso(value) if definition.type == "datetime" else value
