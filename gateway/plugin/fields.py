"""Field markers: what every GraphQL field declares besides its type.

`source` says where the value comes from, `policy` who may ask for it, and both are checked: a schema with a field
that declares neither, or without a description, does not build. Methods are marked with `field`, plain values with
`attribute`, live updates with `subscription`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    is_introspection_type,
    is_specified_scalar_type,
)
from strawberry.types.field import StrawberryField

from gateway.errors import SetupError
from gateway.model.scope import PERMISSIONS, Scope

Resolver = TypeVar("Resolver", bound=Callable[..., Any])

_MARKER = "gateway"
_PERSONAL = "Personal data: needs `pii:read`, except with a user's own token."


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's value comes from. `place` is a collection, a kind of contract file or a loader's name."""

    kind: Literal["document", "one", "many", "loader", "contract", "parent"]
    place: str
    key: str = ""

    @classmethod
    def document(cls, collection: str, key: str) -> Source:
        """A key of the document behind the object."""
        return cls("document", collection, key)

    @classmethod
    def one(cls, collection: str, by: str) -> Source:
        """One other document, found by a key."""
        return cls("one", collection, by)

    @classmethod
    def many(cls, collection: str, by: str) -> Source:
        """Other documents, found by a key."""
        return cls("many", collection, by)

    @classmethod
    def loader(cls, name: str) -> Source:
        """Code that asks the store its own way."""
        return cls("loader", name)

    @classmethod
    def contract(cls, kind: str, key: str) -> Source:
        """A key of a contract file: `journeys` or `kpis`."""
        return cls("contract", kind, key)

    @classmethod
    def parent(cls, key: str) -> Source:
        """A part of the object it stands in, which has been read already."""
        return cls("parent", "", key)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may ask for a field: everybody with a credential, those with a permission, subjects; any that is named.

    `subject`: an end user's token opens it; that it opens one user only is the repositories' work. `pii`: it holds
    personal data, so that callers who are not the subject need `pii:read` too.
    """

    permission: str | None = None
    subject: bool = False
    pii: bool = False
    anyone: bool = False

    def __post_init__(self) -> None:
        if self.permission is not None and self.permission not in PERMISSIONS:
            raise SetupError(f"There is no permission {self.permission!r}.", hint=f"Known: {', '.join(PERMISSIONS)}.")
        if not (self.permission or self.subject or self.anyone):
            raise SetupError("A policy must open its field to somebody.")

    def missing(self, scope: Scope) -> str | None:
        """What this caller lacks, in words; None when the field is open to it."""
        if scope.subject is not None and self.subject:
            return None
        if not self.anyone:
            if self.permission is None:
                return "the token of an end user"
            if not scope.may(self.permission):
                return f"the permission {self.permission}"
        return "the permission pii:read" if self.pii and not scope.may("pii:read") else None


#: Opens a field to every caller with a credential.
ANYONE = Policy(anyone=True)


@dataclass(frozen=True, slots=True)
class Marker:
    """What a field declares. For a list without `first`, `size` is the usual number of its entries, and `weight`
    what computing the field costs: both in objects, for the limit on the cost of a query."""

    source: Source
    policy: Policy
    size: int | None = None
    weight: int | None = None


def field(
    *,
    source: Source,
    policy: Policy,
    description: str,
    name: str | None = None,
    size: int | None = None,
    weight: int | None = None,
) -> Callable[[Resolver], Resolver]:
    """Mark a method as a GraphQL field; it stays a method for type checkers."""
    made = _made(Marker(source, policy, size, weight), description, name)
    return cast("Callable[[Resolver], Resolver]", made)


def attribute(
    *, source: Source, policy: Policy, description: str, name: str | None = None, size: int | None = None
) -> Any:
    """Mark an annotated attribute as a GraphQL field."""
    return _made(Marker(source, policy, size), description, name)


def subscription(*, source: Source, policy: Policy, description: str) -> Callable[[Resolver], Resolver]:
    """Mark an asynchronous generator as a GraphQL subscription."""
    made = _made(Marker(source, policy), description, None, is_subscription=True)
    return cast("Callable[[Resolver], Resolver]", made)


def _made(marker: Marker, description: str, name: str | None, *, is_subscription: bool = False) -> Any:
    return strawberry.field(
        name=name,
        description=described(description, marker.policy),
        is_subscription=is_subscription,
        metadata={_MARKER: marker},
    )


def extensions_of(marker: Marker) -> dict[str, Any]:
    """What a field that is made without Strawberry declares, as its `extensions`."""
    return {_MARKER: marker}


def described(description: str, policy: Policy) -> str:
    """A field's description, with what its policy adds to it."""
    return f"{description} {_PERSONAL}" if policy.pii else description


def marker_of(field: GraphQLField) -> Marker | None:
    """What a field of a built schema declares."""
    definition = field.extensions.get("strawberry-definition")
    declared = definition.metadata if isinstance(definition, StrawberryField) else field.extensions
    found = declared.get(_MARKER)
    return found if isinstance(found, Marker) else None


def check_declared(schema: GraphQLSchema) -> None:
    """Raise SetupError that names every field without source and policy, and whatever lacks a description."""
    problems = [problem for kind in schema.type_map.values() for problem in _undeclared(kind)]
    if problems:
        raise SetupError(
            "The GraphQL schema is not complete:\n" + "\n".join(sorted(problems)) + "\n",
            hint="Give every field source=, policy= and description= (gateway.plugin.fields).",
        )


def _undeclared(kind: GraphQLNamedType) -> Iterator[str]:
    if is_introspection_type(kind) or is_specified_scalar_type(kind):
        return
    if not kind.description:
        yield f"{kind.name}: no description"
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        for name, one in kind.fields.items():
            if marker_of(one) is None:
                yield f"{kind.name}.{name}: neither source nor policy"
            if not one.description:
                yield f"{kind.name}.{name}: no description"
            for argument, given in one.args.items():
                if not given.description:
                    yield f"{kind.name}.{name}({argument}:): no description"
    elif isinstance(kind, GraphQLInputObjectType):
        for name, given in kind.fields.items():
            if not given.description:
                yield f"{kind.name}.{name}: no description"
    elif isinstance(kind, GraphQLEnumType):
        for name, value in kind.values.items():
            if not value.description:
                yield f"{kind.name}.{name}: no description"
