"""Who may ask for what, decided before anything runs: each selected field's policy against the caller's scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from gateway.api.limits import fragments_of
from gateway.errors import Forbidden
from gateway.model.scope import Scope
from gateway.plugin import Policy, marker_of

_SHOWN = 10

#: Policies by field, such as `User.traits`.
Requirements = Mapping[str, Policy]


def requirements(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Requirements:
    """The policies of all fields that a valid operation selects, whatever @skip and @include will say."""
    root = schema.get_root_type(operation.operation)
    assert root is not None
    walk = _Walk(schema, fragments_of(document))
    return dict(walk.of(operation.selection_set, root))


def refusals(needed: Requirements, scope: Scope) -> list[Forbidden]:
    """One error for each field that the scope does not open; the first ten."""
    found: list[Forbidden] = []
    for name, policy in needed.items():
        lacking = policy.missing(scope)
        if lacking is not None and len(found) < _SHOWN:
            found.append(
                Forbidden(f"{name} needs {lacking}.", hint="Use a credential that has it, or leave the field out.")
            )
    return found


class _Walk:
    """Visits every selection once."""

    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._schema = schema
        self._fragments = fragments
        self._seen: set[str] = set()

    def of(self, selections: SelectionSetNode, parent: GraphQLNamedType) -> Iterator[tuple[str, Policy]]:
        for node in selections.selections:
            if isinstance(node, FieldNode):
                yield from self._field(node, parent)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inside = parent if condition is None else self._schema.type_map[condition.name.value]
                yield from self.of(node.selection_set, inside)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in self._seen:
                self._seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                yield from self.of(fragment.selection_set, self._schema.type_map[fragment.type_condition.name.value])

    def _field(self, node: FieldNode, parent: GraphQLNamedType) -> Iterator[tuple[str, Policy]]:
        field: GraphQLField | None = getattr(parent, "fields", {}).get(node.name.value)
        if field is None:
            return  # __typename, __schema and __type are open
        marker = marker_of(field)
        assert marker is not None  # the schema does not build otherwise
        yield f"{parent.name}.{node.name.value}", marker.policy
        if node.selection_set is not None:
            yield from self.of(node.selection_set, get_named_type(field.type))
