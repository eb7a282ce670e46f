"""What one operation may cost, said before anything runs.

Two walks over the operation, each fragment once however often it is spread: `check_shape` counts what stands in the
text and needs no types, so that it runs before validation (which itself is quadratic in places); `check_cost`
multiplies the sizes of lists, with the variables of this request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FloatValueNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    Visitor,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
    visit,
)

from gateway.api.connections import MAX_FIRST
from gateway.errors import InvalidInput
from gateway.plugin import marker_of

MAX_TOKENS = 2_000
MAX_DEPTH = 15
MAX_FIELDS = 1_000
MAX_ALIASES = 100
MAX_DIRECTIVES = 50
MAX_FRAGMENTS_DEEP = 50
MAX_COST = 20_000
MAX_DIGITS = 400
"""Of a number in the text; the largest float has 309. Python refuses to read integers of some thousands."""

_LIST_SIZE = 5
_INTROSPECTION_COST = 2_000
_SIZES = ("first", "points")
#: An argument that looks at many objects to find few.
_SEARCH, _SEARCH_COST = "where", 500
_LONG_NUMBER = re.compile(rf"[0-9]{{{MAX_DIGITS}}}")


class QueryLimit(InvalidInput):
    """An operation that asks for too much."""

    code = "QUERY_LIMIT"


@dataclass(frozen=True, slots=True)
class _Shape:
    """Counts with fragments spread out; of introspection the depth is not counted, graphql-core limits it."""

    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0

    def beside(self, other: _Shape) -> _Shape:
        return _Shape(
            max(self.depth, other.depth),
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.directives + other.directives,
        )


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """The document's fragments by name."""
    return {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}


def operations_of(document: DocumentNode) -> list[OperationDefinitionNode]:
    """The document's operations."""
    return [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]


def check_shape(document: DocumentNode) -> None:
    """Raise QueryLimit when an operation is too deep or too long. The document need not be valid."""
    shapes = _Shapes(fragments_of(document))
    for operation in operations_of(document):
        shape = shapes.of(operation.selection_set, 0)
        directives = shape.directives + len(operation.directives or ())
        for what, found, limit in (
            ("levels", shape.depth, MAX_DEPTH),
            ("fields", shape.fields, MAX_FIELDS),
            ("aliases", shape.aliases, MAX_ALIASES),
            ("directives", directives, MAX_DIRECTIVES),
        ):
            if found > limit:
                raise QueryLimit(
                    f"The query has more than {limit:,} {what}, fragments spread out.", hint="Ask in several requests."
                )


def check_numbers(document: DocumentNode) -> None:
    """Raise InvalidInput when a number in the text is too long to be read."""
    # Digits in texts are no numbers: looked at closely only where there are that many at all.
    if document.loc is not None and _LONG_NUMBER.search(document.loc.source.body):
        visit(document, _Numbers())


class _Numbers(Visitor):
    def enter_int_value(self, node: IntValueNode, *_: object) -> None:
        self._check(node)

    def enter_float_value(self, node: FloatValueNode, *_: object) -> None:
        self._check(node)

    @staticmethod
    def _check(node: IntValueNode | FloatValueNode) -> None:
        if len(node.value) > MAX_DIGITS:
            raise InvalidInput(
                f"The number {node.value[:20]}… has more than {MAX_DIGITS} digits.", hint="No value is that large."
            )


class _Shapes:
    """Walks selection sets; remembers each fragment's shape."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._known: dict[str, _Shape] = {}

    def of(self, selections: SelectionSetNode, nested: int) -> _Shape:
        if nested > MAX_FRAGMENTS_DEEP:
            raise QueryLimit(f"Fragments are nested deeper than {MAX_FRAGMENTS_DEEP}.", hint="Spread them flatter.")
        total = _Shape()
        for node in selections.selections:
            inner = _Shape()
            if isinstance(node, FieldNode):
                if node.selection_set is not None:
                    inner = self.of(node.selection_set, nested)
                depth = 0 if node.name.value.startswith("__") else inner.depth + 1
                inner = _Shape(depth, inner.fields + 1, inner.aliases + (node.alias is not None), inner.directives)
            elif isinstance(node, InlineFragmentNode):
                inner = self.of(node.selection_set, nested + 1)
            elif isinstance(node, FragmentSpreadNode):
                inner = self._fragment(node.name.value, nested + 1)
            total = total.beside(inner).beside(_Shape(directives=len(node.directives or ())))
        return total

    def _fragment(self, name: str, nested: int) -> _Shape:
        if name not in self._known:
            # A fragment inside itself adds nothing here; validation refuses it.
            self._known[name] = _Shape()
            if name in self._fragments:
                self._known[name] = self.of(self._fragments[name].selection_set, nested)
        return self._known[name]


def check_cost(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> None:
    """Raise QueryLimit when the lists of a valid operation multiply to too many objects."""
    root = schema.get_root_type(operation.operation)
    assert root is not None
    cost = _Costs(schema, fragments_of(document), variables).of(operation.selection_set, root)
    if cost > MAX_COST:
        raise QueryLimit(
            f"The query may have to read {min(cost, 10**9):,} objects; the limit is {MAX_COST:,}.",
            hint="Ask for fewer entries with `first`, or for fewer lists within lists.",
        )


class _Costs:
    """Counts objects: a list counts its entries as often as it may have some."""

    def __init__(
        self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._known: dict[str, int] = {}

    def of(self, selections: SelectionSetNode, parent: GraphQLNamedType) -> int:
        total = 0
        for node in selections.selections:
            if isinstance(node, FieldNode):
                total += self._field(node, parent)
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                inside = parent if condition is None else self._schema.type_map[condition.name.value]
                total += self.of(node.selection_set, inside)
            elif isinstance(node, FragmentSpreadNode):
                total += self._fragment(node.name.value)
        return total

    def _fragment(self, name: str) -> int:
        if name not in self._known:
            fragment = self._fragments[name]
            inside = self._schema.type_map[fragment.type_condition.name.value]
            self._known[name] = self.of(fragment.selection_set, inside)
        return self._known[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType) -> int:
        name = node.name.value
        if name in ("__schema", "__type"):
            return _INTROSPECTION_COST
        field: GraphQLField | None = getattr(parent, "fields", {}).get(name)
        if field is None:
            return 0
        marker = marker_of(field)
        kind = get_named_type(field.type)
        cost = marker.weight if marker and marker.weight is not None else int(is_composite_type(kind))
        if any(given.name.value == _SEARCH for given in node.arguments or ()):
            cost += _SEARCH_COST
        if node.selection_set is None:
            return cost
        inner = self.of(node.selection_set, kind)
        sized = next((argument for argument in _SIZES if argument in field.args), None)
        if sized is not None:
            return cost + self._size(node, sized, field) * inner
        size = 1
        if is_list_type(get_nullable_type(field.type)):
            size = marker.size if marker and marker.size is not None else _LIST_SIZE
        return size * (cost + inner)

    def _size(self, node: FieldNode, argument: str, field: GraphQLField) -> int:
        """How many entries are asked for; more than a page holds is refused when the field is resolved."""
        value: Any = field.args[argument].default_value
        for given in node.arguments or ():
            if given.name.value == argument:
                if isinstance(given.value, IntValueNode):
                    value = int(given.value.value)
                elif isinstance(given.value, VariableNode):
                    value = self._variables.get(given.value.name.value, MAX_FIRST)
        return min(value, MAX_FIRST) if isinstance(value, int) and value >= 0 else MAX_FIRST
