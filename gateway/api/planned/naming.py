"""What the API calls what the plan describes, each name once; and what it says of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TypeVar

from graphql import GraphQLNamedType

from gateway.contract import Contract, EventDefinition, PropertyDefinition
from gateway.contract.plan import camel, words_of

Made = TypeVar("Made", bound=GraphQLNamedType)

_NAME = re.compile("_?[A-Za-z][A-Za-z0-9_]*")
_NO_ENUM_VALUES = frozenset({"true", "false", "null"})


class Names:
    """The types of one schema by name, and every name that cannot be given: a plan is refused with all of them."""

    def __init__(self, contract: Contract, taken: Collection[str]) -> None:
        self._contract = contract
        self._taken = frozenset(taken)
        self._definitions: dict[str, object] = {}
        self.made: dict[str, GraphQLNamedType] = {}
        self.problems: list[str] = []

    def known(self, name: str, definition: object, place: str) -> bool:
        """Whether there is a type of this name for this definition already. What is there for another is a problem."""
        before = self._definitions.setdefault(name, definition)
        if name in self._taken:
            self._refuse(place, f"its type in the API is {name}, which the API has already", "give it another name")
            self._taken -= {name}  # told once
        elif before != definition:
            self._refuse(place, f"its type in the API is {name}, which is that of another, too", "rename one of them")
        return name in self.made

    def add(self, made: Made) -> Made:
        """Keep a type."""
        self.made[made.name] = made
        return made

    def fields(self, properties: Iterable[PropertyDefinition], place: str) -> dict[str, PropertyDefinition]:
        """The properties by the names that the API gives them."""
        found: dict[str, PropertyDefinition] = {}
        for one in properties:
            name = camel(one.key)
            if not _NAME.fullmatch(name):
                self._refuse(place, f"no name of GraphQL can be made of {one.key!r}", "begin it with a letter")
            elif found.setdefault(name, one) is not one:
                self._refuse(place, f"{found[name].key!r} and {one.key!r} are both {name} in the API", "rename one")
        return found

    def refuse_field(self, event: EventDefinition) -> None:
        """An event that is called as a field that every event has."""
        self._refuse(place_of(event), f"its field in the API is {event.field_name}, which every event has", "rename it")

    def _refuse(self, place: str, what: str, fix: str) -> None:
        self.problems.append(f"{self._contract.name}/{place}:1: {what} - {fix}")

    # -- what it says --------------------------------------------------------------------------------------------

    def about_event(self, event: EventDefinition) -> str:
        """Its brief and its word of the glossary."""
        return self._told(event.brief, event.term, "")

    def about_property(self, definition: PropertyDefinition) -> str:
        """Its brief, its unit and its word of the glossary."""
        unit = f"Unit: {definition.unit}." if definition.unit else ""
        return self._told(definition.brief, definition.term, unit)

    def _told(self, brief: str, word: str | None, more: str) -> str:
        term = self._contract.term(word)
        said = "" if term is None else f"{term.name}: {term.definition}"
        return "\n\n".join(part for part in (brief.strip(), more, said) if part)


def place_of(event: EventDefinition) -> str:
    """The event's file."""
    return f"events/{event.key}.yaml"


def stem_of(event: EventDefinition) -> str:
    """What the names of all its types begin with: `OrderCompleted`, `OrderCompletedV2`."""
    return event.type_name.removesuffix("Event")


def value_name(definition: PropertyDefinition) -> str:
    """What the names of all types of a property's values begin with: `PaymentMethodValue`."""
    return f"{''.join(word[:1].upper() + word[1:].lower() for word in words_of(definition.key))}Value"


def has_enum_type(definition: PropertyDefinition) -> bool:
    """Whether its values are names of GraphQL; others stay text."""
    return bool(definition.enum) and all(
        isinstance(value, str) and value not in _NO_ENUM_VALUES and _NAME.fullmatch(value) for value in definition.enum
    )
