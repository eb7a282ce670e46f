"""Puts the plan into a schema that is just built: types for its events, and what stands open for them in inputs.

They are graphql-core's own: to make them by Strawberry costs several times as much (tests/scale/test_schema_swap.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import (
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    get_named_type,
    introspection_types,
    validate_schema,
)

from gateway.api.events import UntypedEvent
from gateway.api.planned.filters import EventFilters
from gateway.api.planned.naming import Names
from gateway.api.planned.plan import PLAN, Plan
from gateway.api.planned.sending import EventInputs
from gateway.api.planned.types import EventTypes
from gateway.contract import Contract
from gateway.contract.finding import PlannedEvents
from gateway.errors import ContractError

#: Scalars that stand where generated inputs go: `gateway.api.scalars`.
_OPEN = ("EventWhere", "TrackedEvents")


def grafted(schema: GraphQLSchema, contract: Contract) -> GraphQLSchema:
    """The schema with the plan of the contract in it; the types of `schema` are then the new one's.

    Raises ContractError with everything that keeps the plan from becoming types.
    """
    events = sorted(contract.events.values(), key=lambda one: (one.field_name, one.major))
    names = Names(contract, schema.type_map.keys())
    types = EventTypes(names, schema.type_map)
    filters, inputs = EventFilters(names, types), EventInputs(names, types, schema.type_map)
    untyped = schema.type_map["UntypedEvent"]
    assert isinstance(untyped, GraphQLObjectType)
    for event in events:
        types.event(event, list(untyped.interfaces), untyped.fields)
    where = {event.field_name: filters.event(event) for event in events}
    listed = inputs.list_of(events)
    if names.problems:
        raise ContractError(sorted(set(names.problems)))
    one_of = _where(where)
    _open(schema, {"EventWhere": one_of, "TrackedEvents": listed})
    plan = Plan(PlannedEvents(events), {event.field_name: event for event in events})
    for name in ("Node", "Event"):
        _resolve(schema.type_map[name], plan)
    kept = [kind for name, kind in schema.type_map.items() if name not in _OPEN and name not in introspection_types]
    arguments = schema.to_kwargs()
    arguments["types"] = (*kept, *names.made.values())
    arguments["extensions"] = {**schema.extensions, PLAN: plan}
    try:
        made = GraphQLSchema(**arguments)
        errors: list[GraphQLError] = validate_schema(made)
    except (TypeError, GraphQLError) as error:
        raise ContractError([f"{contract.name}: the API cannot be built with it: {error}"]) from error
    if errors:
        raise ContractError([f"{contract.name}: the API cannot be built with it: {error.message}" for error in errors])
    return made


def _where(members: Mapping[str, GraphQLInputField]) -> GraphQLInputObjectType | None:
    if not members:
        return None
    about = "Events of one planned type, by conditions on what they carry."
    return GraphQLInputObjectType("EventWhere", dict(members), description=about, is_one_of=True)


def _open(schema: GraphQLSchema, made: Mapping[str, GraphQLInputType | None]) -> None:
    """Give what stands open its type; where the plan makes none, take it away."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInputObjectType):
            _fill(kind.fields, made)
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for one in kind.fields.values():
                _fill(one.args, made)


def _fill(given: dict[str, Any], made: Mapping[str, GraphQLInputType | None]) -> None:
    for name, one in list(given.items()):
        stands = getattr(get_named_type(one.type), "name", "")
        if stands not in made:
            continue
        if (kind := made[stands]) is None:
            del given[name]
        else:
            one.type = kind


def _resolve(interface: GraphQLNamedType, plan: Plan) -> None:
    """Let the interface tell planned events by the plan, and everything else as before."""
    assert isinstance(interface, GraphQLInterfaceType)
    otherwise = interface.resolve_type
    assert otherwise is not None

    def resolve(value: Any, info: GraphQLResolveInfo[Any], kind: GraphQLInterfaceType) -> Any:
        return plan.type_name(value.event) if isinstance(value, UntypedEvent) else otherwise(value, info, kind)

    interface.resolve_type = resolve  # type: ignore[assignment]
