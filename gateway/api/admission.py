"""The gate every operation passes: tokens, shape, validation, policy, cost. What a text says is found out once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    get_operation_ast,
    parse,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document

from gateway.api.context import Context
from gateway.api.limits import MAX_TOKENS, check_cost, check_numbers, check_shape
from gateway.api.policy import Requirements, refusals, requirements
from gateway.errors import GatewayError, InvalidInput

CACHED_TEXTS = 256
_LARGEST_CACHED = 20_000


@dataclass(slots=True)
class _Known:
    """A parsed text, why it is refused for everybody, and the policies of its operations."""

    document: DocumentNode
    refused: list[GraphQLError] | None = None
    needed: dict[str | None, Requirements] | None = None


class Gate:
    """What is known of the texts seen last; one per schema."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def read(self, text: str) -> _Known:
        """The text, parsed. Raises GraphQLError."""
        known = self._known.get(text)
        if known is None:
            known = _Known(parse(text, max_tokens=MAX_TOKENS))
            if len(text) <= _LARGEST_CACHED:
                self._known[text] = known
                if len(self._known) > CACHED_TEXTS:
                    self._known.popitem(last=False)
        else:
            self._known.move_to_end(text)
        return known

    def judge(self, known: _Known, schema: GraphQLSchema, rules: tuple[type[ASTValidationRule], ...]) -> None:
        """Find out whether the text is refused for everybody."""
        if known.refused is not None:
            return
        try:
            check_shape(known.document)
            check_numbers(known.document)
            known.refused = validate_document(schema, known.document, rules)
        except GatewayError as error:
            known.refused = [_wrapped(error)]
        known.needed = {}

    def needed(self, known: _Known, schema: GraphQLSchema, operation: OperationDefinitionNode) -> Requirements:
        """The policies of a valid text's operation."""
        assert known.needed is not None
        name = operation.name.value if operation.name else None
        if name not in known.needed:
            known.needed[name] = requirements(schema, known.document, operation)
        return known.needed[name]


class Admission(SchemaExtension):
    """Lets an operation pass the gate, or gives the reasons why not."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._text: _Known | None = None

    def on_operation(self) -> Iterator[None]:
        # Operations of one WebSocket share their caller, but not what they have read.
        self.execution_context.context = cast("Context", self.execution_context.context).renewed()
        yield

    def on_parse(self) -> Iterator[None]:
        execution = self.execution_context
        if execution.query:
            execution.parse_options = {"max_tokens": MAX_TOKENS}
            try:
                self._text = self._gate.read(execution.query)
            except GraphQLError:
                pass  # Strawberry finds the same, and tells it over HTTP and WebSocket alike
            else:
                execution.graphql_document = self._text.document
        yield

    def on_validate(self) -> Iterator[None]:
        execution = self.execution_context
        schema, known = execution.schema._schema, self._text
        assert known is not None  # there is no validation without parsing
        self._gate.judge(known, schema, execution.validation_rules)
        execution.pre_execution_errors = list(known.refused or ()) or self._refused_for_caller(known, schema)
        yield

    def _refused_for_caller(self, known: _Known, schema: GraphQLSchema) -> list[GraphQLError]:
        execution = self.execution_context
        operations = [one for one in known.document.definitions if isinstance(one, OperationDefinitionNode)]
        # Strawberry's own `operation_name` is the first one's where none was given: by GET that could be a mutation.
        if execution._provided_operation_name is None and len(operations) > 1:
            return [_wrapped(InvalidInput("The text has several operations.", hint="Say which in `operationName`."))]
        operation = get_operation_ast(known.document, execution.operation_name)
        assert operation is not None  # Strawberry has looked it up to find its type
        scope = cast("Context", execution.context).scope
        refused: list[GraphQLError] = [
            _wrapped(error) for error in refusals(self._gate.needed(known, schema, operation), scope)
        ]
        if not refused:
            try:
                check_cost(schema, known.document, operation, execution.variables or {})
            except GatewayError as error:
                refused = [_wrapped(error)]
        return refused


def _wrapped(error: GatewayError) -> GraphQLError:
    return GraphQLError(error.message, original_error=error)
