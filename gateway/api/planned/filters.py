"""`where`: events of one planned type, by conditions on their properties that mean what they mean in the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLString,
)

from gateway.api.planned.naming import Names, place_of, stem_of, value_name
from gateway.api.planned.types import EventTypes, policy_of
from gateway.api.scalars import LONG
from gateway.contract import Condition, EventDefinition, PropertyDefinition
from gateway.contract.finding import NAMELESS
from gateway.contract.plan import camel
from gateway.contract.rules import OPERATORS
from gateway.errors import Forbidden, InvalidInput
from gateway.model.scope import Scope

#: More values than this one `in` may not have.
MAX_VALUES = 100
#: GraphQL has no empty types.
NOTHING = "_"

_SAME = ("equals", "in", "exists")
_DESCRIPTIONS = {
    "equals": "It is this value.",
    "in": f"It is one of these values, at most {MAX_VALUES}.",
    "gt": "It is greater.",
    "gte": "It is greater or equal.",
    "lt": "It is less.",
    "lte": "It is less or equal.",
    "exists": "True: it was sent, be it as null. False: it was not.",
}
_TEXT_ORDER = " Text is compared as it was sent, by its code points; so are times."


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: those of one planned type whose properties, or traits, meet all conditions."""

    event: EventDefinition
    conditions: tuple[Condition, ...] = ()
    #: The properties among them that hold personal data, dotted.
    personal: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name that such events are stored under."""
        return self.event.type if self.event.type in NAMELESS else self.event.name

    @property
    def carried(self) -> str:
        """Where what the conditions are about is stored."""
        return "traits" if self.event.type in NAMELESS else "properties"

    def check(self, scope: Scope) -> None:
        """Raise Forbidden for whoever may not read what is asked about: an answer would tell it."""
        if self.personal and scope.subject is None and not scope.may("pii:read"):
            raise Forbidden(
                f"To filter by {', '.join(self.personal)} needs the permission pii:read.",
                hint="Use a credential that has it, or leave the condition out.",
            )


class EventFilters:
    """Makes the inputs."""

    def __init__(self, names: Names, types: EventTypes) -> None:
        self._names = names
        self._types = types

    def event(self, event: EventDefinition) -> GraphQLInputField:
        """The member of `EventWhere` for one event."""
        name, place = f"{stem_of(event)}EventWhere", place_of(event)
        if not self._names.known(name, event, place):
            fields = self._fields(tuple(one.definition for one in event.properties), place)
            about = f"Which {event.name!r}; all conditions hold."
            self._names.add(GraphQLInputObjectType(name, fields or {NOTHING: nothing()}, description=about))
        return GraphQLInputField(self._made(name), description=self._names.about_event(event))

    def _fields(self, properties: tuple[PropertyDefinition, ...], place: str) -> dict[str, GraphQLInputField]:
        return {
            name: GraphQLInputField(self._condition(definition, place), description=definition.brief)
            for name, definition in self._names.fields(properties, place).items()
            if "." not in definition.key  # a condition would read it as a way into an object
        }

    def _condition(self, definition: PropertyDefinition, place: str) -> GraphQLInputType:
        if definition.type == "object" and definition.properties:
            name = f"{value_name(definition)}Where"
            if not self._names.known(name, (definition.key, definition.properties), place):
                fields = self._fields(tuple(one.definition for one in definition.properties), "properties.yaml")
                about = "Conditions on the parts of an object; all hold."
                self._names.add(GraphQLInputObjectType(name, fields or {NOTHING: nothing()}, description=about))
            return self._made(name)
        if definition.type in ("array", "object"):
            return self._operators("PresenceCondition", GraphQLBoolean, ("exists",))
        if definition.type == "datetime":
            return self._operators("StringCondition", GraphQLString, OPERATORS)
        kind = self._types.plain(definition, place)
        if isinstance(kind, GraphQLEnumType):
            return self._operators(f"{kind.name}Condition", kind, _SAME)
        if kind is GraphQLBoolean:
            return self._operators("BooleanCondition", kind, ("equals", "exists"))
        return self._operators(_CONDITIONS[kind.name], kind, OPERATORS)

    def _operators(
        self, name: str, kind: GraphQLScalarType | GraphQLEnumType, operators: tuple[str, ...]
    ) -> GraphQLInputObjectType:
        if not self._names.known(name, name, "properties.yaml"):
            types: dict[str, GraphQLInputType] = {
                "in": GraphQLList(GraphQLNonNull(kind)),
                "exists": GraphQLBoolean,
            }
            fields = {one: GraphQLInputField(types.get(one, kind), description=_DESCRIPTIONS[one]) for one in operators}
            more = _TEXT_ORDER if kind is GraphQLString else ""
            about = f"Conditions on a value; all hold, and what is left out does not filter.{more}"
            self._names.add(GraphQLInputObjectType(name, fields, description=about))
        return self._made(name)

    def _made(self, name: str) -> GraphQLInputObjectType:
        found = self._names.made[name]
        assert isinstance(found, GraphQLInputObjectType)
        return found


_CONDITIONS = {
    GraphQLString.name: "StringCondition",
    GraphQLFloat.name: "FloatCondition",
    GraphQLInt.name: "IntCondition",
    LONG.name: "LongCondition",
}


def nothing() -> GraphQLInputField:
    """Stands where the plan gives an event no properties."""
    return GraphQLInputField(GraphQLBoolean, description="Nothing: the plan says of no properties. Write {}.")


def wanted(event: EventDefinition, given: Mapping[str, Any]) -> Wanted:
    """What a member of `EventWhere` says. Raises InvalidInput."""
    personal: list[str] = []
    conditions = tuple(_conditions(tuple(one.definition for one in event.properties), given, "", personal))
    return Wanted(event, conditions, tuple(dict.fromkeys(personal)))


def _conditions(
    properties: tuple[PropertyDefinition, ...], given: Mapping[str, Any], before: str, personal: list[str]
) -> Iterator[Condition]:
    by_name = {camel(one.key): one for one in properties}
    for name, said in given.items():
        definition = by_name.get(name)
        if definition is None or said is None:
            continue
        path = f"{before}{definition.key}"
        if said and policy_of(definition).pii:
            personal.append(path)
        if definition.type == "object" and definition.properties:
            yield from _conditions(tuple(one.definition for one in definition.properties), said, f"{path}.", personal)
            continue
        for op in OPERATORS:
            value = said.get(op)
            if value is None:
                continue
            if op == "in":
                value = tuple(value)
                if len(value) > MAX_VALUES:
                    raise InvalidInput(f"`in` has {len(value)} values; {MAX_VALUES} are the most.", path="where")
            yield Condition(path, op, value)
