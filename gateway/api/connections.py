"""Lists: Relay connections with opaque keyset cursors."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
import strawberry

from gateway.api.scalars import Cursor
from gateway.errors import InvalidInput
from gateway.plugin import ANYONE, Source, attribute, field

DEFAULT_FIRST = 20
MAX_FIRST = 100
COUNT_AT_MOST = 100_000

Row = TypeVar("Row")
Node = TypeVar("Node")

First = Annotated[int | None, strawberry.argument(description=f"How many entries, at most {MAX_FIRST}.")]
After = Annotated[
    Cursor | None, strawberry.argument(description="Go on behind this entry: `pageInfo.endCursor` of the page before.")
]


@strawberry.type(description="Where a page of a list ends, and whether more follows.")
class PageInfo:
    """One page's end."""

    has_next_page: bool = attribute(
        source=Source.parent("more"), policy=ANYONE, description="Whether more entries follow this page."
    )
    has_previous_page: bool = attribute(
        source=Source.parent("after"), policy=ANYONE, description="Whether entries come before this page."
    )
    start_cursor: Cursor | None = attribute(
        source=Source.parent("cursor"),
        policy=ANYONE,
        description="The position of the first entry; null on an empty page.",
    )
    end_cursor: Cursor | None = attribute(
        source=Source.parent("cursor"),
        policy=ANYONE,
        description="The position of the last entry, for `after`; null on an empty page. With `where` a page may look "
        "at 10,000 events and find few: then it is the position up to which it has looked.",
    )


@strawberry.type(description="One entry of a list, with its position.")
class Edge(Generic[Node]):
    """An entry."""

    cursor: Cursor = attribute(source=Source.parent("cursor"), policy=ANYONE, description="The entry's position.")
    node: Node = attribute(source=Source.parent("node"), policy=ANYONE, description="The entry itself.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[Node]):
    """A page."""

    edges: list[Edge[Node]] = attribute(
        source=Source.parent("edges"), policy=ANYONE, description="The entries with their positions.", size=1
    )
    page_info: PageInfo = attribute(
        source=Source.parent("pageInfo"), policy=ANYONE, description="Where the page ends, and whether more follows."
    )

    @field(source=Source.parent("edges"), policy=ANYONE, description="The entries without their positions.", size=1)
    def nodes(self) -> list[Node]:
        return [edge.node for edge in self.edges]


@dataclass(frozen=True, slots=True)
class Keyset:
    """The cursors of one kind of list. `parts` are the types of a position: int, str or bytes."""

    name: str
    parts: tuple[type, ...]

    def write(self, position: Sequence[int | str | bytes]) -> Cursor:
        plain = [part.hex() if isinstance(part, bytes) else part for part in position]
        return Cursor(base64.urlsafe_b64encode(orjson.dumps([self.name, *plain])).decode().rstrip("="))

    def read(self, cursor: Cursor | None) -> Any:
        """The position as a tuple, None without a cursor. Raises InvalidInput."""
        if cursor is None:
            return None
        try:
            name, *plain = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if name != self.name or len(plain) != len(self.parts):
                raise ValueError
            return tuple(_part(kind, value) for kind, value in zip(self.parts, plain, strict=True))
        except (ValueError, TypeError, binascii.Error):
            raise InvalidInput(
                "`after` is not a position in this list.",
                hint="Pass `pageInfo.endCursor` of the page before as it came.",
                path="after",
            ) from None


def _part(kind: type, value: object) -> int | str | bytes:
    if kind is int and type(value) is int and -(2**63) <= value < 2**63:
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is bytes and isinstance(value, str) and len(value) == 32:
        return bytes.fromhex(value)
    raise ValueError


def checked_first(first: int | None) -> int:
    """`first`, if a page may have so many entries. Raises InvalidInput."""
    if first is None:
        return DEFAULT_FIRST
    if not 0 <= first <= MAX_FIRST:
        raise InvalidInput(
            f"`first` is {first}; a page has 0 to {MAX_FIRST} entries.",
            hint="Ask for the next page with `after`.",
            path="first",
        )
    return first


def newest(rows: Iterable[Row], position: Callable[[Row], Any], limit: int, before: Any) -> list[Row]:
    """A page of rows that are in memory already."""
    found = sorted((row for row in rows if before is None or position(row) < before), key=position, reverse=True)
    return found[:limit]


async def page(
    keyset: Keyset,
    first: int | None,
    after: Cursor | None,
    *,
    read: Callable[[int, Any], Awaitable[list[Row]]],
    position: Callable[[Row], Sequence[int | str | bytes]],
    node: Callable[[Row], Node],
) -> tuple[list[Edge[Node]], PageInfo]:
    """One page: `read` gets a limit and a position (None: from the start). Raises InvalidInput."""
    limit, behind = checked_first(first), keyset.read(after)
    # One more than asked for tells whether another page follows.
    rows = await read(limit + 1, behind)
    edges = [Edge(cursor=keyset.write(position(row)), node=node(row)) for row in rows[:limit]]
    return edges, PageInfo(
        has_next_page=len(rows) > limit,
        has_previous_page=after is not None,  # the entry whose position it is
        start_cursor=edges[0].cursor if edges else None,
        end_cursor=edges[-1].cursor if edges else None,
    )
