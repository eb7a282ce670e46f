"""Everything with an id that is good everywhere: the interface, and how ids are written and read."""

from __future__ import annotations

import re
from typing import Annotated

import strawberry

from gateway.errors import InvalidInput
from gateway.plugin import ANYONE, Source, field

_FORMS = {
    "user": r"[0-9a-f]{32}",
    "event": r"[0-9a-f]{32}",
    "session": r"[0-9a-f]{32}\.[0-9a-f]{32}",
    "journey": r"[0-9a-f]{32}\.[\w-]{1,64}\.[1-9][0-9]{0,9}",
    "map": r"[a-z][a-z0-9_]{0,63}",
    "stage": r"[a-z][a-z0-9_]{0,63}\.[a-z][a-z0-9_]{0,63}",
    "segment": r"[a-z][a-z0-9_]{0,63}",
    "kpi": r"[a-z][a-z0-9_]{0,63}",
    "quarantined": r"[0-9a-f]{32}",
    "erasure": r"[0-9a-f]{32}",
    "delivery": r"[0-9a-f]{32}",
    "alert": r"[0-9a-f]{32}",
    "rule": r"[a-z][a-z0-9_]{0,63}",
    "response": r"[0-9a-f]{32}",
    "followup": r"[0-9a-f]{32}",
    "proposal": r"[0-9a-f]{32}",
    "request": r"[0-9a-f]{32}",
    "discrepancy": r"[0-9a-f]{32}",
    "observation": r"[0-9a-f]{32}",
}
_ID = re.compile("|".join(f"(?P<{kind}>{kind}_{form})" for kind, form in _FORMS.items()), re.ASCII)

AnyId = Annotated[strawberry.ID, strawberry.argument(description="The id, as another answer gave it.")]


@strawberry.interface(description="Anything that has an id of its own and can be asked for by it.")
class Node:
    """`global_id` is the kind and the id in the store."""

    @field(
        source=Source.document("*", "_id"),
        policy=ANYONE,
        description="The id; it stays good for asking, even when users become one.",
    )
    def id(self) -> strawberry.ID:
        return strawberry.ID(self.global_id())

    def global_id(self) -> str:
        raise NotImplementedError


def split_id(given: str, *kinds: str) -> tuple[str, str]:
    """Kind and store id of a global id. Raises InvalidInput unless it is of one of `kinds` (none named: of any)."""
    match = _ID.fullmatch(given)
    kind = match.lastgroup if match else None
    if kind is None or (kinds and kind not in kinds):
        forms = " or ".join(f"{kind}_…" for kind in kinds or _FORMS)
        raise InvalidInput("This is not an id of that kind.", hint=f"It begins with {forms}.", path="id")
    return kind, given[len(kind) + 1 :]
