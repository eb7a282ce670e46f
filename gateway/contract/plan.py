"""The tracking plan: which events are planned, and what each may carry."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.contract.hashing import ONLY_IF_SAID

PropertyType = Literal["string", "integer", "number", "boolean", "datetime", "array", "object"]
#: What a property tells of a person: nothing, something that points to them, or something that could harm them.
PrivacyClass = Literal["none", "personal", "sensitive"]
#: What intake does with a misfit: note it, tell the sender as well, or keep it apart until it is mended.
Mode = Literal["observe", "warn", "quarantine"]

JsonSchema = dict[str, Any]

#: Names that the API gives to fields and types of its own: no event may be called so.
RESERVED_FIELDS = frozenset({
    "anonymousId", "at", "client", "consent", "context", "flags", "id", "messageId", "name", "originalTimestamp",
    "properties", "receivedAt", "sentAt", "source", "timestamp", "traits", "type", "user", "userId",
})  # fmt: skip
RESERVED_TYPES = frozenset({"QuarantinedEvent", "UntypedEvent"})


@dataclass(frozen=True, slots=True)
class PropertyDefinition:
    """One property, the same wherever it is used. `key` is its name as it is sent.

    `items` is what an array holds, `properties` what an object holds. `enum` empty: any value of the type.
    """

    key: str
    type: PropertyType
    brief: str
    privacy: PrivacyClass = "none"
    enum: tuple[str | int | float, ...] = field(default=(), metadata=ONLY_IF_SAID)
    pattern: str | None = field(default=None, metadata=ONLY_IF_SAID)
    minimum: float | None = field(default=None, metadata=ONLY_IF_SAID)
    maximum: float | None = field(default=None, metadata=ONLY_IF_SAID)
    max_length: int | None = field(default=None, metadata=ONLY_IF_SAID)
    items: PropertyDefinition | None = field(default=None, metadata=ONLY_IF_SAID)
    properties: tuple[PlannedProperty, ...] = field(default=(), metadata=ONLY_IF_SAID)
    unit: str | None = field(default=None, metadata=ONLY_IF_SAID)
    term: str | None = field(default=None, metadata=ONLY_IF_SAID)

    def json_schema(self) -> JsonSchema:
        """What a value has to be, as JSON Schema 2020-12."""
        schema: JsonSchema = {"type": "string" if self.type == "datetime" else self.type, "description": self.brief}
        if self.type == "datetime":
            schema["format"] = "date-time"
        said = {
            "enum": list(self.enum) or None,
            "pattern": self.pattern,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "maxLength": self.max_length,
        }
        schema |= {keyword: value for keyword, value in said.items() if value is not None}
        if self.items is not None:
            schema["items"] = self.items.json_schema()
        if self.properties:
            schema |= _object_schema(self.properties)
        return schema


@dataclass(frozen=True, slots=True)
class PlannedProperty:
    """A property as one event or object carries it."""

    definition: PropertyDefinition
    required: bool = False

    @property
    def key(self) -> str:
        return self.definition.key

    def json_schema(self) -> JsonSchema:
        """What its value has to be. Null in one that may be left out is as good as left out."""
        schema = self.definition.json_schema()
        if self.required:
            return schema
        schema["type"] = [schema["type"], "null"]
        return schema | {"enum": [*schema["enum"], None]} if "enum" in schema else schema


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """One planned event in one major version. A new major may break with the old one; both are then planned.

    `type` is the call that sends it. `mode` None: as the workspace says. `deprecated` says what to use instead.
    """

    name: str
    major: int
    brief: str
    owners: tuple[str, ...]
    properties: tuple[PlannedProperty, ...] = ()
    type: Literal["track", "page", "screen", "identify", "group"] = "track"
    mode: Mode | None = field(default=None, metadata=ONLY_IF_SAID)
    term: str | None = field(default=None, metadata=ONLY_IF_SAID)
    deprecated: str | None = field(default=None, metadata=ONLY_IF_SAID)

    @property
    def key(self) -> str:
        """The stem of its file: `order_completed.1`."""
        return f"{'_'.join(words_of(self.name)).lower()}.{self.major}"

    @property
    def type_name(self) -> str:
        """Of its GraphQL type: `OrderCompletedEvent`, `OrderCompletedV2Event`."""
        return f"{''.join(word[:1].upper() + word[1:] for word in words_of(self.name))}{self._version}Event"

    @property
    def field_name(self) -> str:
        """Of the GraphQL field with its typed properties: `orderCompleted`, `orderCompletedV2`."""
        return camel(self.name) + self._version

    @property
    def _version(self) -> str:
        return "" if self.major == 1 else f"V{self.major}"

    def json_schema(self) -> JsonSchema:
        """What its properties have to be, as JSON Schema 2020-12. What is not planned may stand beside them."""
        return {"title": self.name, "description": self.brief, "type": "object", **_object_schema(self.properties)}


def words_of(name: str) -> list[str]:
    """`Order Completed`, `order_completed` and `orderCompleted` alike: Order, Completed."""
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)


def camel(name: str) -> str:
    """A name as GraphQL fields are written: `order_id` is `orderId`."""
    first, *others = words_of(name) or [""]
    return first.lower() + "".join(word[:1].upper() + word[1:].lower() for word in others)


def _object_schema(properties: tuple[PlannedProperty, ...]) -> JsonSchema:
    schema: JsonSchema = {"properties": {one.key: one.json_schema() for one in properties}}
    required = [one.key for one in properties if one.required]
    return {**schema, "required": required} if required else schema
