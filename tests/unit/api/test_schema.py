"""The schema as it is published, and that it does not build with a field nobody declared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import strawberry
from graphql import GraphQLInterfaceType, GraphQLObjectType, build_schema, get_named_type, lexicographic_sort_schema
from graphql.utilities import find_schema_changes, print_schema

from gateway.api.schema import print_sdl
from gateway.errors import SetupError
from gateway.model.scope import Scope
from gateway.plugin import ANYONE, Policy, Source, attribute, check_declared, field

PUBLISHED = Path(__file__).parents[3] / "schema" / "api.graphql"


def test_the_published_schema_is_the_one_that_is_served() -> None:
    assert PUBLISHED.read_text() == print_sdl(), "run `make schema`, and tell the readers of CHANGELOG.md what changes"


def test_the_published_schema_is_valid_and_sorted() -> None:
    schema = build_schema(PUBLISHED.read_text())
    assert find_schema_changes(schema, lexicographic_sort_schema(schema)) == []
    assert [line for line in print_schema(schema).splitlines() if line.startswith("type ")] == sorted(
        line for line in PUBLISHED.read_text().splitlines() if line.startswith("type ")
    )


def test_everything_with_an_id_is_a_node_and_every_list_has_pages() -> None:
    schema = build_schema(PUBLISHED.read_text())
    node = schema.type_map["Node"]
    for name, kind in schema.type_map.items():
        if isinstance(kind, GraphQLObjectType) and "id" in kind.fields:
            assert node in kind.interfaces, name
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field_name, one in kind.fields.items():
                if get_named_type(one.type).name.endswith("Connection"):
                    assert {"first", "after"} <= one.args.keys(), f"{name}.{field_name}"


def test_every_mutation_takes_one_input_and_answers_with_errors() -> None:
    mutations = build_schema(PUBLISHED.read_text()).mutation_type
    assert mutations is not None
    for name, one in mutations.fields.items():
        assert list(one.args) == ["input"], name
        payload = get_named_type(one.type)
        assert payload.name == f"{name[0].upper()}{name[1:]}Payload"
        assert isinstance(payload, GraphQLObjectType)
        assert str(payload.fields["errors"].type) == "[UserError!]!"


def test_a_mutation_answers_with_nothing_that_a_visitor_must_not_know() -> None:
    """Its answer is told even if the visitor became somebody meanwhile: gateway/api/telling.py."""
    schema = build_schema(PUBLISHED.read_text())
    assert schema.mutation_type is not None
    found, waiting = set[str](), [get_named_type(one.type) for one in schema.mutation_type.fields.values()]
    while waiting:
        kind = waiting.pop()
        if kind.name not in found and isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            found.add(kind.name)
            waiting += [get_named_type(one.type) for one in kind.fields.values()]
            waiting += schema.get_possible_types(kind) if isinstance(kind, GraphQLInterfaceType) else ()
    assert found
    assert not {"User", "Event", "Journey", "Session", "Node", "Query"} & found


def test_of_a_message_everything_but_the_cursor_may_be_missing() -> None:
    schema = build_schema(PUBLISHED.read_text())
    for name, kind in schema.type_map.items():
        if isinstance(kind, GraphQLObjectType) and name.endswith("Change"):
            required = [field_name for field_name, one in kind.fields.items() if str(one.type).endswith("!")]
            assert required == ["cursor"], name


# -- markers ------------------------------------------------------------------------------------------------------


def built(kind: type) -> None:
    check_declared(strawberry.Schema(query=kind)._schema)


def test_a_schema_with_all_declared_builds() -> None:
    @strawberry.type(description="Questions.")
    class Query:
        plain: str = attribute(source=Source.parent("x"), policy=ANYONE, description="A value.")

        @field(source=Source.loader("x"), policy=ANYONE, description="A field.")
        def one(self, of: Annotated[int, strawberry.argument(description="Which.")]) -> str:
            return "x"

    built(Query)


def test_a_field_without_a_marker_stops_the_schema() -> None:
    @strawberry.type(description="Questions.")
    class Query:
        secret: str = strawberry.field(description="A field.", default="x")

    with pytest.raises(SetupError, match=r"Query\.secret: neither source nor policy"):
        built(Query)


@strawberry.type(description="Inside.")
class Inner:
    """A type with a field that nobody declared."""

    secret: str = strawberry.field(description="A value.", default="x")


@strawberry.type(description="Questions.")
class Outer:
    """A type that declares all."""

    @field(source=Source.parent("x"), policy=ANYONE, description="A list.")
    def inner(self) -> list[Inner]:
        return []


def test_a_field_of_a_type_deep_inside_stops_it_too() -> None:
    with pytest.raises(SetupError, match=r"Inner\.secret: neither source nor policy"):
        built(Outer)


def test_what_has_no_description_stops_the_schema() -> None:
    @strawberry.type
    class Query:
        @field(source=Source.loader("x"), policy=ANYONE, description="")
        def one(self, of: int) -> str:
            return "x"

    with pytest.raises(SetupError) as stopped:
        built(Query)
    message = str(stopped.value)
    for what in ("Query: no", "Query.one: no", "Query.one(of:): no"):
        assert f"{what} description" in message


# -- policies -----------------------------------------------------------------------------------------------------


def test_a_policy_names_a_permission_that_exists_and_opens_to_somebody() -> None:
    with pytest.raises(SetupError, match="no permission 'journeys:raed'"):
        Policy("journeys:raed")
    with pytest.raises(SetupError, match="somebody"):
        Policy()


def test_a_policy_says_what_a_caller_lacks() -> None:
    from gateway.model.identity import Identity

    nobody = Scope("w")
    reader = Scope("w", permissions=frozenset({"journeys:read"}))
    trusted = Scope("w", permissions=frozenset({"journeys:read", "pii:read"}))
    subject = Scope("w", subject=Identity("userId", "ann"))
    personal = Policy("journeys:read", subject=True, pii=True)
    assert ANYONE.missing(nobody) is None
    assert Policy("journeys:read").missing(nobody) == "the permission journeys:read"
    assert Policy("journeys:read").missing(subject) == "the permission journeys:read"
    assert Policy("journeys:read").missing(reader) is None
    assert personal.missing(reader) == "the permission pii:read"
    assert personal.missing(trusted) is None
    assert personal.missing(subject) is None
    assert Policy(subject=True).missing(trusted) == "the token of an end user"
    assert Policy(anyone=True, pii=True).missing(reader) == "the permission pii:read"
