"""The schema: all nouns put together, checked, and printed as SDL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

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
    lexicographic_sort_schema,
    print_schema,
)
from strawberry.exceptions import StrawberryException
from strawberry.extensions import SchemaExtension
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from gateway.api.admission import Admission, Gate
from gateway.api.answering import Answering
from gateway.api.consistency import Told
from gateway.api.contract_changes import ContractProblem
from gateway.api.contract_news import Agreed
from gateway.api.contract_query import Agreeing
from gateway.api.data_requests import Requesting
from gateway.api.deciding import Deciding
from gateway.api.deliveries import Redelivering
from gateway.api.events import UntypedEvent
from gateway.api.failures import presented
from gateway.api.flag_changes import Flagging
from gateway.api.flags import Exposing
from gateway.api.follow_ups import FollowingUp, LookingAfter
from gateway.api.kpi_changes import Measuring
from gateway.api.mutations import InputError
from gateway.api.mutations import Mutation as Sending
from gateway.api.observing import Observing
from gateway.api.planned.grafting import grafted
from gateway.api.plugins import holders, join
from gateway.api.privacy import Private
from gateway.api.proposals import Proposing
from gateway.api.query import Query as Asking
from gateway.api.scalars import SCALARS
from gateway.api.segments import Entering
from gateway.api.subscriptions import Subscription as Following
from gateway.api.survey_news import Offering
from gateway.api.survey_previews import Previewing
from gateway.contract import Contract
from gateway.errors import SetupError
from gateway.plugin import GraphqlFields, check_declared

_ONE_OF = "directive @oneOf on INPUT_OBJECT\n\n"
#: Without a tracking plan no type is generated.
NO_CONTRACT = Contract("none", {}, {})


@strawberry.type(description="What can be asked.")
class Query(Asking, Agreeing, Previewing, FollowingUp):
    """The root of queries."""


@strawberry.type(description="What can be sent and decided.")
class Mutation(
    Sending, Deciding, Private, Exposing, Redelivering, Proposing, Requesting, Observing, Answering, LookingAfter
):
    """The root of mutations."""


@strawberry.type(description="What can be watched, over WebSocket or as an event stream.")
class Subscription(Following, Flagging, Entering, Agreed, Measuring, Offering):
    """The root of subscriptions."""


class Schema(strawberry.Schema):
    """A schema whose errors are masked wherever they arise."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Strawberry logs here, with the text of the query; we replace the errors in place and log what is ours."""
        errors[:] = [presented(error) for error in errors]

    @cached_property
    def sdl(self) -> str:
        """All of it as text, sorted."""
        made = lexicographic_sort_schema(self._schema)
        for kind in made.type_map.values():
            if isinstance(kind, GraphQLInputObjectType):
                kind.is_one_of = _is_one_of(kind)
        # As introspection shows it, but for directives that come with GraphQL itself.
        return f"{_ONE_OF}{print_schema(made)}\n"

    def _extend_introspection(self) -> None:
        # Strawberry's knows only its own inputs.
        kind = self._schema.type_map["__Type"]
        assert isinstance(kind, GraphQLObjectType)
        kind.fields["isOneOf"].resolve = _one_of_shown


def build_schema(
    contract: Contract,
    extensions: Sequence[Callable[[], SchemaExtension]] = (),
    added: Sequence[GraphqlFields] = (),
) -> Schema:
    """The schema for a contract, with the types of its tracking plan. `extensions` come around those of the API itself;
    `added` are plugins' fields. What is remembered of queries is remembered with it: a new schema begins afresh.

    Raises SetupError when a field lacks source, policy or description, or is there already; ContractError when the
    plan cannot become types.
    """
    try:
        schema = Schema(
            query=Query,
            mutation=Mutation,
            subscription=Subscription,
            types=[UntypedEvent, InputError, ContractProblem, *holders(added)],
            extensions=[*extensions, partial(Admission, Gate()), Told],
            config=StrawberryConfig(disable_field_suggestions=True, scalar_map=SCALARS),
        )
    except (StrawberryException, TypeError) as error:
        if not added:
            raise
        whose = ", ".join(one.plugin or one.prefix for one in added)
        said = f"What plugins add ({whose}) does not fit into the schema: {_first_line(error)}"
        raise SetupError(said, hint="Rename it; `journey-gateway plugin check` says whose it is.") from error
    join(schema._schema, added)
    schema._schema = grafted(schema._schema, contract)
    schema._schema._strawberry_schema = schema  # type: ignore[attr-defined]
    check_declared(schema._schema)
    _drop_null_defaults(schema._schema)
    return schema


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]


def _is_one_of(kind: object) -> bool:
    definition = getattr(kind, "extensions", {}).get("strawberry-definition")
    return bool(getattr(kind, "is_one_of", False) or getattr(definition, "is_one_of", False))


def _one_of_shown(kind: object, _: object) -> bool | None:
    return _is_one_of(kind) if isinstance(kind, GraphQLInputObjectType) else None


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


def print_sdl(contract: Contract = NO_CONTRACT, added: Sequence[GraphqlFields] = ()) -> str:
    """The SDL for a contract, sorted; without one the product's own: what stands in schema/api.graphql."""
    return build_schema(contract, added=added).sdl
