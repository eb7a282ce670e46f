"""The tracking plan as GraphQL: names, types, values, conditions, and what cannot become types."""

from __future__ import annotations

from typing import Any, cast

import pytest
from graphql import (
    GraphQLObjectType,
    build_client_schema,
    build_schema,
    get_introspection_query,
    graphql_sync,
    print_type,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import schema as schemas
from gateway.api.planned.filters import wanted
from gateway.api.planned.sending import sent
from gateway.api.planned.values import reader_of
from gateway.api.schema import NO_CONTRACT, Schema
from gateway.api.typescript import SCALARS, codegen_config, scalars_of
from gateway.contract import Condition, Contract, EventDefinition, PlannedProperty, PropertyDefinition, Term
from gateway.contract.finding import PlannedEvents, version_named
from gateway.errors import ContractError, Forbidden, InvalidInput
from gateway.model.scope import Scope
from gateway.plugin import marker_of


def prop(key: str, type: str = "string", required: bool = False, **more: Any) -> PlannedProperty:
    return PlannedProperty(PropertyDefinition(key, type, f"About {key}.", **more), required)  # type: ignore[arg-type]


def event(name: str, *properties: PlannedProperty, major: int = 1, **more: Any) -> EventDefinition:
    return EventDefinition(name, major, f"About {name}.", ("shop",), properties, **more)


SIZE = prop("size", enum=("s", "m"))
ITEM = prop("item", "object", properties=(prop("sku", required=True), SIZE, prop("bought_at", "datetime")))
BOUGHT = event(
    "Order Completed",
    prop("order_id", required=True),
    prop("total", "number", unit="EUR", term="value"),
    prop("count", "integer"),
    prop("stars", "integer", minimum=1, maximum=5),
    prop("gift", "boolean"),
    prop("paid_at", "datetime"),
    prop("method", enum=("card", "pay pal")),
    SIZE,
    ITEM,
    prop("items", "array", items=ITEM.definition),
    prop("tags", "array", items=PropertyDefinition("tags", "string", "A word.")),
    prop("email", privacy="personal"),
    prop("anything", "object"),
    term="value",
)
AGAIN = event("Order Completed", prop("order_id", "integer"), major=2)
EMPTY = event("Cart Viewed")
KNOWN = event("identify", prop("plan"), type="identify")
HOME = event("Home", prop("path"), type="page", deprecated="Use Start.")


def contract(*events: EventDefinition) -> Contract:
    terms = {"value": Term("value", "Order value", "What is paid.")}
    return Contract("shop", {}, {}, events={one.key: one for one in events}, glossary=terms)


def built(*events: EventDefinition) -> Schema:
    return schemas.build_schema(contract(*events))


@pytest.fixture(scope="module")
def schema() -> Schema:
    return built(BOUGHT, AGAIN, EMPTY, KNOWN, HOME)


# -- types ----------------------------------------------------------------------------------------------------------


def test_a_planned_event_has_a_type_with_typed_properties(schema: Schema) -> None:
    types = schema._schema.type_map
    kind = types["OrderCompletedEvent"]
    assert isinstance(kind, GraphQLObjectType)
    assert {one.name for one in kind.interfaces} == {"Event", "Node"}
    assert str(kind.fields["orderCompleted"].type) == "OrderCompletedProperties"
    typed = types["OrderCompletedProperties"]
    assert isinstance(typed, GraphQLObjectType)
    assert {name: str(one.type) for name, one in typed.fields.items()} == {
        "orderId": "String",
        "total": "Float",
        "count": "Long",
        "stars": "Int",
        "gift": "Boolean",
        "paidAt": "DateTime",
        "method": "String",
        "size": "SizeValue",
        "item": "ItemValue",
        "items": "[ItemValue]",
        "tags": "[String]",
        "email": "String",
        "anything": "JSON",
    }
    assert typed.fields["total"].description == "About total.\n\nUnit: EUR.\n\nOrder value: What is paid."
    assert kind.description == "About Order Completed.\n\nOrder value: What is paid."


def test_another_major_and_other_calls_have_types_of_their_own(schema: Schema) -> None:
    types = schema._schema.type_map
    assert "orderCompletedV2: OrderCompletedV2Properties" in print_type(types["OrderCompletedV2Event"])
    assert "identify: IdentifyProperties" in print_type(types["IdentifyEvent"])
    assert 'home: HomeProperties @deprecated(reason: "Use Start.")' in print_type(types["HomeEvent"])
    assert "cartViewed" not in print_type(types["CartViewedEvent"])


def test_all_that_the_interface_has_every_event_has(schema: Schema) -> None:
    shared = schema._schema.type_map["Event"].fields  # type: ignore[attr-defined]
    kind = schema._schema.type_map["OrderCompletedEvent"]
    assert isinstance(kind, GraphQLObjectType)
    assert kind.fields.keys() - shared.keys() == {"orderCompleted"}


def test_personal_data_is_for_those_who_may_see_it(schema: Schema) -> None:
    typed = schema._schema.type_map["OrderCompletedProperties"]
    assert isinstance(typed, GraphQLObjectType)
    tool = Scope("main", permissions=frozenset({"events:read"}))
    needs = {}
    for name, one in typed.fields.items():
        marker = marker_of(one)
        assert marker is not None
        needs[name] = marker.policy.missing(tool)
    assert needs.pop("email") == "the permission pii:read"
    assert set(needs.values()) == {None}


def test_inputs_ask_for_what_the_plan_requires(schema: Schema) -> None:
    types = schema._schema.type_map
    text = print_type(types["OrderCompletedPropertiesInput"])
    assert "orderId: String!" in text
    assert "items: [ItemValueInput!]" in text
    assert "paidAt: DateTime\n" in text
    assert "input PlannedEventInput @oneOf" in print_type(types["PlannedEventInput"])
    assert "home:" not in print_type(types["PlannedEventInput"])  # `track` sends track calls
    assert "_: Boolean" in print_type(types["CartViewedPropertiesInput"])


def test_conditions_are_typed(schema: Schema) -> None:
    text = print_type(schema._schema.type_map["OrderCompletedEventWhere"])
    for line in (
        "orderId: StringCondition",
        "total: FloatCondition",
        "count: LongCondition",
        "stars: IntCondition",
        "gift: BooleanCondition",
        "paidAt: StringCondition",
        "size: SizeValueCondition",
        "item: ItemValueWhere",
        "items: PresenceCondition",
    ):
        assert line in text, line
    assert "equals: SizeValue" in print_type(schema._schema.type_map["SizeValueCondition"])


def test_introspection_is_the_exported_sdl(schema: Schema) -> None:
    query = get_introspection_query(input_value_deprecation=True, specified_by_url=True, one_of=True)
    answer = graphql_sync(schema._schema, query)  # beside the gate, which wants a caller
    assert answer.errors is None
    client = build_client_schema(cast("Any", answer.data))
    exported = build_schema(schema.sdl)
    assert client.type_map.keys() == exported.type_map.keys()
    for name, kind in exported.type_map.items():
        if not name.startswith("__"):
            assert sorted(print_type(kind).splitlines()) == sorted(print_type(client.type_map[name]).splitlines()), name


def test_without_a_plan_nothing_of_it_is_there() -> None:
    sdl = schemas.print_sdl(NO_CONTRACT)
    assert not [word for word in ("EventWhere", "TrackedEvent", "where: EventWhere", "scalar Long") if word in sdl]


# -- what cannot become types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([event("Untyped")], "events/untyped.1.yaml:1: its type in the API is UntypedEvent, which the API has"),
        ([event("Message Id", prop("x"))], "its field in the API is messageId, which every event has"),
        ([event("Order Completed"), event("order_completed", type="page")], "OrderCompletedEvent, which is that of"),
        ([event("A", prop("order_id"), prop("orderId"))], "'order_id' and 'orderId' are both orderId in the API"),
        ([event("A", prop("1st"))], "no name of GraphQL can be made of '1st'"),
        (
            [event("A", prop("size", enum=("s",))), event("B", prop("size", enum=("m",)))],
            "its type in the API is SizeValue, which is that of another, too",
        ),
    ],
)
def test_what_cannot_become_types_is_refused(events: list[EventDefinition], said: str) -> None:
    plan = Contract("shop", {}, {}, events={str(number): one for number, one in enumerate(events)})
    with pytest.raises(ContractError) as refused:
        schemas.build_schema(plan)
    assert said in str(refused.value)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(ContractError) as refused:
        built(event("Untyped"), event("Message Id", prop("x")), event("A", prop("1st")))
    assert len(refused.value.problems) == 3


# -- values ---------------------------------------------------------------------------------------------------------

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.just("s"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FITS = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, float),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63,
    "boolean": lambda value: isinstance(value, bool),
    "datetime": lambda value: isinstance(value, int),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


@given(st.sampled_from(BOUGHT.properties), ANY)
def test_a_misfit_is_null_and_nothing_raises(planned: PlannedProperty, value: Any) -> None:
    definition = planned.definition
    found = reader_of(definition)(value)
    if definition.key == "anything":
        assert found is value
        return
    assert found is None or FITS[definition.type](found)
    if definition.enum:
        assert found is None or found in definition.enum
    if type(value) is str and definition.type == "string" and not definition.enum:
        assert found == value


def test_whole_numbers_keep_all_their_digits() -> None:
    count, stars = reader_of(BOUGHT.properties[2].definition), reader_of(BOUGHT.properties[3].definition)
    assert (count(2**63 - 1), count(2**63), count(3.0), count(3.5), count(True)) == (2**63 - 1, None, 3, None, None)
    assert (stars(4), stars(9), stars(2**31)) == (4, 9, None)
    from gateway.api.scalars import LONG

    assert (LONG.serialize(2**53 - 1), LONG.serialize(2**53), LONG.serialize(-(2**60))) == (
        2**53 - 1,
        "9007199254740992",
        str(-(2**60)),
    )
    assert (LONG.parse_value("9007199254740993"), LONG.parse_value(5)) == (2**53 + 1, 5)


@pytest.mark.parametrize(
    ("version", "major"),
    [(2, 2), ("2", 2), ("2.1.0", 2), ("v2", 2), (2.0, 2), ("two", None), (True, None), (None, None), ([], None)],
)
def test_the_major_that_an_event_names(version: object, major: int | None) -> None:
    assert version_named({"protocols": {"event_version": version}}) == major


def test_an_event_is_of_the_major_it_names_else_of_the_newest() -> None:
    plan = PlannedEvents([BOUGHT, AGAIN, KNOWN])
    named = {"protocols": {"event_version": 1}}
    assert plan.find("track", "Order Completed", {}) is AGAIN
    assert plan.find("track", "Order Completed", named) is BOUGHT
    assert plan.find("track", "Order Completed", {"protocols": {"event_version": 3}}) is None
    assert plan.find("page", "Order Completed", {}) is None
    assert plan.find("identify", "whatever", {}) is KNOWN


# -- conditions and messages ----------------------------------------------------------------------------------------


def test_a_where_is_conditions_of_the_contract() -> None:
    said = wanted(
        BOUGHT,
        {
            "total": {"gte": 5.0, "lt": 9.0},
            "item": {"size": {"in": ["s"]}, "sku": None},
            "gift": {"exists": False},
            "email": {"exists": True},
            "count": {"equals": None},
        },
    )
    assert said.conditions == (
        Condition("total", "gte", 5.0),
        Condition("total", "lt", 9.0),
        Condition("item.size", "in", ("s",)),
        Condition("gift", "exists", False),
        Condition("email", "exists", True),
    )
    assert said.personal == ("email",)
    with pytest.raises(Forbidden, match="email"):
        said.check(Scope("main", permissions=frozenset({"events:read"})))
    said.check(Scope("main", permissions=frozenset({"events:read", "pii:read"})))
    with pytest.raises(InvalidInput):
        wanted(BOUGHT, {"order_id": {}, "orderId": {"in": ["x"] * 101}})


def test_what_is_sent_has_the_names_of_the_plan() -> None:
    given = {"orderId": "o1", "paidAt": 0, "items": [{"sku": "a", "boughtAt": 1000, "size": "s"}], "total": None}
    assert sent(BOUGHT.properties, given) == {
        "order_id": "o1",
        "paid_at": "1970-01-01T00:00:00.000Z",
        "items": [{"sku": "a", "bought_at": "1970-01-01T00:00:01.000Z", "size": "s"}],
        "total": None,
    }


# -- code generators ------------------------------------------------------------------------------------------------


def test_every_scalar_is_mapped_to_typescript(schema: Schema) -> None:
    assert scalars_of(schema).keys() == SCALARS.keys()
    config = codegen_config(schema, source="schema.graphql", documents="src/**/*.ts", output="./src/gql/")
    for name in SCALARS:
        assert f"          {name}: {{ input: " in config
