"""The schema: all nouns put together, checked, and printed as SDL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import strawberry
from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    is_introspection_type,
)
from strawberry.extensions import SchemaExtension
from strawberry.printer import print_schema
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from gateway.api.admission import Admission, Gate
from gateway.api.consistency import Told
from gateway.api.contract_changes import ContractProblem
from gateway.api.contract_query import Agreeing
from gateway.api.data_requests import Requesting
from gateway.api.deciding import Deciding
from gateway.api.deliveries import Redelivering
from gateway.api.events import UntypedEvent
from gateway.api.failures import presented
from gateway.api.flag_changes import Flagging
from gateway.api.flags import Exposing
from gateway.api.mutations import InputError
from gateway.api.mutations import Mutation as Sending
from gateway.api.observing import Observing
from gateway.api.plugins import holders, join
from gateway.api.privacy import Private
from gateway.api.proposals import Proposing
from gateway.api.query import Query as Asking
from gateway.api.scalars import SCALARS
from gateway.api.subscriptions import Subscription as Following
from gateway.contract import Contract
from gateway.plugin import GraphqlFields, check_declared


@strawberry.type(description="What can be asked.")
class Query(Asking, Agreeing):
    """The root of queries."""


@strawberry.type(description="What can be sent and decided.")
class Mutation(Sending, Deciding, Private, Exposing, Redelivering, Proposing, Requesting, Observing):
    """The root of mutations."""


@strawberry.type(description="What can be watched, over WebSocket or as an event stream.")
class Subscription(Following, Flagging):
    """The root of subscriptions."""


class Schema(strawberry.Schema):
    """A schema whose errors are masked wherever they arise."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Strawberry logs here, with the text of the query; we replace the errors in place and log what is ours."""
        errors[:] = [presented(error) for error in errors]


def build_schema(
    contract: Contract,
    extensions: Sequence[Callable[[], SchemaExtension]] = (),
    added: Sequence[GraphqlFields] = (),
) -> strawberry.Schema:
    """The schema for a contract; so far the same for all, as no event has fields of its own yet, so that a new version
    of the contract needs no new schema. `extensions` come around those of the API itself; `added` are plugins' fields.

    Raises SetupError when a field lacks source, policy or description, or is there already.
    """
    return _built(sort=False, extensions=extensions, added=added)


def _built(
    *,
    sort: bool,
    extensions: Sequence[Callable[[], SchemaExtension]] = (),
    added: Sequence[GraphqlFields] = (),
) -> Schema:
    # Sorted it is for reading only: sorting loses how Strawberry's enumerations are written.
    schema = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[UntypedEvent, InputError, ContractProblem, *holders(added)],
        extensions=[*extensions, partial(Admission, Gate()), Told],
        config=StrawberryConfig(disable_field_suggestions=True, sort_schema=sort, scalar_map=SCALARS),
    )
    join(schema._schema, added)
    check_declared(schema._schema)
    _drop_null_defaults(schema._schema)
    return schema


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """What may be left out is shown without `= null`; resolvers have the same default."""
    for kind in schema.type_map.values():
        if is_introspection_type(kind):
            continue
        given: list[GraphQLArgument | GraphQLInputField] = []
        if isinstance(kind, GraphQLInputObjectType):
            given += kind.fields.values()
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            given += (argument for one in kind.fields.values() for argument in one.args.values())
        for one in given:
            if one.default_value is None:
                one.default_value = Undefined


def print_sdl() -> str:
    """The product's own SDL, sorted: what stands in schema/api.graphql."""
    return print_schema(_built(sort=True)) + "\n"
