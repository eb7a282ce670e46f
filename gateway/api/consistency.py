"""`atLeast`: a query that shows what its sender was told is stored, and an answer that says so when it cannot yet."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry.extensions import SchemaExtension

AtLeast = Annotated[
    str | None,
    strawberry.argument(
        description="A `consistencyToken` that sending events gave: the answer waits, for at most two seconds, until "
        "those events have been derived. Only the field that has it waits. If they have not been by then, it says "
        '`"consistency": {"reached": false}` in its extensions and shows what there is.'
    ),
]


class Told(SchemaExtension):
    """Says in an answer's extensions that it may be older than `atLeast` asked for."""

    def get_results(self) -> dict[str, Any]:
        behind = getattr(self.execution_context.context, "behind", False)
        return {"consistency": {"reached": False}} if behind else {}
