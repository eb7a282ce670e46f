"""What can be asked of how the contract is changed together; a part of the root of queries."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, First
from gateway.api.context import Info
from gateway.api.contract_changes import READ, ContractVersionConnection, version_page
from gateway.api.data_requests import DataRequestConnection, DataRequestStatus, request_by, request_page
from gateway.api.lineage import LINEAGE, LineageDirection, LineageNode, LineageNodeInput, along
from gateway.api.observations import observation_by
from gateway.api.observing import DiscrepancyConnection, discrepancy_by, discrepancy_page
from gateway.api.proposals import ProposalConnection, ProposalStatus, proposal_by, proposal_page
from gateway.api.scalars import DateTime
from gateway.contract.lineage import Direction, Node, NodeKind
from gateway.plugin import Source, field

#: What a caller needs for a node of each kind, and who finds it.
NEEDED = dict.fromkeys(("proposal", "request", "discrepancy", "observation"), READ)
FINDERS = {
    "proposal": proposal_by,
    "request": request_by,
    "discrepancy": discrepancy_by,
    "observation": observation_by,
}


@strawberry.type(description="What can be asked of how the contract is changed together.")
class Agreeing:
    """Queries about the contract."""

    @field(
        source=Source.loader("lineage"),
        policy=LINEAGE,
        size=20,
        description="What lives on something of the contract, or what it lives on, the nearest first; at most 1,000. "
        "From a property: the events that carry it and what reads it. From a KPI: its events and properties.",
    )
    def lineage(
        self,
        info: Info,
        node: Annotated[LineageNodeInput, strawberry.argument(description="From where.")],
        direction: Annotated[LineageDirection, strawberry.argument(description="Which way.")],
    ) -> list[LineageNode]:
        kind, way = cast("NodeKind", node.kind.value), cast("Direction", direction.value)
        return along(info.context, Node(kind, node.key), way)

    @field(
        source=Source.many("contracts", "appliedAt"),
        policy=READ,
        description="The versions of the contract, the newest first: when, by what and why, and what each changed. "
        "They count for all workspaces.",
    )
    async def contract_changes(
        self,
        info: Info,
        since: Annotated[
            DateTime | None, strawberry.argument(description="Those applied at or after this moment.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> ContractVersionConnection:
        return await version_page(info.context, since, first, after)

    @field(
        source=Source.many("proposals", "workspace"),
        policy=READ,
        description="Proposals to change the contract, the newest first.",
    )
    async def proposals(
        self,
        info: Info,
        status: Annotated[
            ProposalStatus | None, strawberry.argument(description="Only those with this status.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> ProposalConnection:
        return await proposal_page(info.context, status, first, after)

    @field(
        source=Source.many("requests", "workspace"),
        policy=READ,
        description="Requests for data, the newest first: those asked for here, and those in files of the contract.",
    )
    async def data_requests(
        self,
        info: Info,
        status: Annotated[
            DataRequestStatus | None, strawberry.argument(description="Only those with this status.")
        ] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> DataRequestConnection:
        return await request_page(info.context, status, first, after)

    @field(
        source=Source.many("discrepancies", "workspace"),
        policy=READ,
        description="Numbers that somebody did not believe, the newest first.",
    )
    async def discrepancies(
        self,
        info: Info,
        kpi: Annotated[strawberry.ID | None, strawberry.argument(description="Only those of this KPI.")] = None,
        first: First = DEFAULT_FIRST,
        after: After = None,
    ) -> DiscrepancyConnection:
        return await discrepancy_page(info.context, kpi, first, after)
