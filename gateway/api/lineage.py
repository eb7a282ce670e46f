"""Lineage: what lives on what in the contract, and which connectors get it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

import strawberry

from gateway.api.context import Context
from gateway.contract import Contract
from gateway.contract.lineage import Direction, Lineage, Node
from gateway.errors import NotFound
from gateway.plugin import Destination, Policy, Source, field

LINEAGE = Policy("contract:read")
_SOURCE = Source.loader("lineage")


@strawberry.enum(description="What a node of the lineage is.")
class LineageKind(Enum):
    """Kinds of nodes."""

    PROPERTY = strawberry.enum_value("property", description="A property of `properties.yaml`.")
    EVENT = strawberry.enum_value("event", description="An event; its key is that of its file: `order_completed.1`.")
    STAGE = strawberry.enum_value("stage", description="A stage of a journey map; its key is `map.stage`.")
    MAP = strawberry.enum_value("map", description="A journey map.")
    KPI = strawberry.enum_value("kpi", description="A KPI.")
    SURVEY = strawberry.enum_value("survey", description="A survey.")
    SEGMENT = strawberry.enum_value("segment", description="A segment.")
    ALERT = strawberry.enum_value("alert", description="An alert rule.")
    CONNECTOR = strawberry.enum_value("connector", description="A destination of events, by its name.")


@strawberry.enum(description="Which way to go through the lineage.")
class LineageDirection(Enum):
    """Directions."""

    UPSTREAM = strawberry.enum_value("upstream", description="To what it lives on: from a KPI to properties.")
    DOWNSTREAM = strawberry.enum_value("downstream", description="To what lives on it: from a property to KPIs.")


@strawberry.input(description="Something of the contract, or that lives on it.")
class LineageNodeInput:
    """Names a node."""

    kind: LineageKind = strawberry.field(description="What it is.")
    key: str = strawberry.field(description="Its key: `total`, `order_completed.1`, `purchase.cart`, `csat`.")


@strawberry.type(description="Something of the contract, or that lives on it.")
class LineageNode:
    """A node."""

    node: strawberry.Private[Node]
    lacking: strawberry.Private[bool]

    @field(source=_SOURCE, policy=LINEAGE, description="What it is.")
    def kind(self) -> LineageKind:
        return LineageKind(self.node.kind)

    @field(source=_SOURCE, policy=LINEAGE, description="Its key; of an event that is not planned, its name.")
    def key(self) -> str:
        return self.node.key

    @field(
        source=_SOURCE,
        policy=LINEAGE,
        description="Whether something reads it though the tracking plan does not have it. False without a plan.",
    )
    def missing(self) -> bool:
        return self.lacking


def lineage_of(context: Context) -> Lineage:
    """That of the contract that counts now, with the connectors of the workspace; worked out once a request."""
    contract = context.services.contract
    found = context.lineage
    if found is None or found.contract is not contract:
        found = context.lineage = Lineage(contract, tuple(_delivered(context, contract)))
    return found


def along(context: Context, node: Node, direction: Direction) -> list[LineageNode]:
    """All that is upstream or downstream of a node. Raises NotFound."""
    lineage = lineage_of(context)
    if not lineage.has(node):
        raise NotFound("The contract has no such node.", hint="An event is named by its file: order_completed.1.")
    return shown(lineage, lineage.of(node, direction))


def shown(lineage: Lineage, nodes: Iterable[Node]) -> list[LineageNode]:
    """Nodes as the API shows them."""
    return [LineageNode(node=one, lacking=lineage.missing(one)) for one in nodes]


def _delivered(context: Context, contract: Contract) -> Iterator[tuple[Node, Node]]:
    for one in context.services.plugged.by_workspace(context.scope.workspace):
        if one.kind is None or not issubclass(one.kind, Destination):
            continue
        for event in contract.events.values():
            if not one.events or event.name in one.events:
                yield Node("event", event.key), Node("connector", one.name)
