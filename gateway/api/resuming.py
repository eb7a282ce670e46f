"""What stands in the text of an operation before it runs: its kind, and where a subscription goes on."""

from __future__ import annotations

from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    NamedTypeNode,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    VariableDefinitionNode,
    VariableNode,
    get_operation_ast,
    parse,
    print_ast,
)

from gateway.api.limits import MAX_TOKENS
from gateway.api.requests import Operation

_AFTER = "after"
_VARIABLE = "lastEventId"


def kind_of(operation: Operation) -> OperationType | None:
    """Query, mutation or subscription; None when the text does not say."""
    _, node = _read(operation)
    return None if node is None else node.operation


def resumed(schema: GraphQLSchema, operation: Operation, cursor: str) -> Operation:
    """The operation, going on behind `cursor`; as it is when it is no subscription that can.

    A client that comes again sends the same text and the id of the last event it saw, which is never older than the
    `after` it began with.
    """
    document, node = _read(operation)
    if document is None or node is None or node.operation is not OperationType.SUBSCRIPTION:
        return operation
    field = node.selection_set.selections[0]
    root = schema.subscription_type
    if len(node.selection_set.selections) != 1 or not isinstance(field, FieldNode) or root is None:
        return operation
    if field.name.value not in root.fields or _AFTER not in root.fields[field.name.value].args:
        return operation
    given = next((one.value for one in field.arguments or () if one.name.value == _AFTER), None)
    if isinstance(given, VariableNode):
        return _with(operation, operation.query, {given.name.value: cursor})
    others = [one for one in field.arguments or () if one.name.value != _AFTER]
    name = NameNode(value=_VARIABLE)
    argument = ArgumentNode(name=NameNode(value=_AFTER), value=VariableNode(name=name))
    definition = VariableDefinitionNode(
        variable=VariableNode(name=name), type=NamedTypeNode(name=NameNode(value="Cursor")), directives=()
    )
    changed = _copy(
        node,
        variable_definitions=(*(node.variable_definitions or ()), definition),
        selection_set=_copy(node.selection_set, selections=(_copy(field, arguments=(*others, argument)),)),
    )
    definitions = tuple(changed if one is node else one for one in document.definitions)
    return _with(operation, print_ast(DocumentNode(definitions=definitions)), {_VARIABLE: cursor})


def _read(operation: Operation) -> tuple[DocumentNode | None, OperationDefinitionNode | None]:
    try:
        document = parse(operation.query, max_tokens=MAX_TOKENS)
    except GraphQLError:
        return None, None
    return document, get_operation_ast(document, operation.operation_name)


def _copy(node: Any, **changes: object) -> Any:
    return type(node)(**{key: getattr(node, key) for key in node.keys} | changes)


def _with(operation: Operation, query: str, variables: dict[str, str]) -> Operation:
    return Operation(
        query=query,
        variables={**(operation.variables or {}), **variables},
        operation_name=operation.operation_name,
        extensions=operation.extensions,
    )
