"""Segments: groups of users by rules of the contract, and who is in them now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import strawberry

from gateway.api.connections import DEFAULT_FIRST, After, Connection, First, Keyset, page
from gateway.api.consistency import AtLeast
from gateway.api.context import Context, Info
from gateway.api.following import follow
from gateway.api.lineage import LINEAGE, LineageNode, along
from gateway.api.maps import checked_segment
from gateway.api.nodes import Node
from gateway.api.scalars import DateTime
from gateway.api.subscriptions import Change, Resume
from gateway.api.users import User, load_user
from gateway.contract import Segment as SegmentFile
from gateway.contract.lineage import Node as LineageKey
from gateway.model.journey import UserState
from gateway.plugin import Policy, Source, attribute, field, subscription

#: What segments mean may be known to who is in one; how many and who else only to those who may see users.
SEGMENTS = Policy("journeys:read", subject=True)
MEMBERS = Policy("journeys:read")

KEYSET = Keyset("members", (str,))
_LINEAGE = Source.loader("lineage")
_FEED = Source.many("feed", "workspace, kind")
_WITHOUT = "Users who deny analytics are left out."

Key = Annotated[strawberry.ID, strawberry.argument(description="The key, as the file in the contract has it.")]


def _file(key: str) -> Source:
    return Source.contract("segments", key)


@strawberry.type(description="One page of the users of a segment, in the order of their ids.")
class SegmentUserConnection(Connection[User]):
    """A page of users."""

    total_count: int = attribute(
        source=Source.loader("segment count"), policy=MEMBERS, description="How many there are."
    )


@strawberry.type(description="A group of users: everybody for whom a rule of the contract holds now.")
class Segment(Node):
    """A segment of the contract."""

    file: strawberry.Private[SegmentFile]

    def global_id(self) -> str:
        return f"segment_{self.file.key}"

    @field(source=_file("key"), policy=SEGMENTS, description="The name programs use.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.file.key)

    @field(source=_file("name"), policy=SEGMENTS, description="The name people use.")
    def name(self) -> str:
        return self.file.name

    @field(source=_file("description"), policy=MEMBERS, description="Who they are, and what the segment is for.")
    def description(self) -> str:
        return self.file.description

    @field(source=_file("owners"), policy=MEMBERS, description="The teams that own the definition together.")
    def owners(self) -> list[str]:
        return list(self.file.owners)

    @field(source=_file("who"), policy=MEMBERS, description="Who exactly is in it, in words.")
    def definition(self) -> str:
        return self.file.definition

    @field(source=_file("who"), policy=MEMBERS, description="Of who is in it: the same rule has the same hash.")
    def hash(self) -> str:
        return self.file.hash

    @field(source=_LINEAGE, policy=LINEAGE, description="What it lives on, down to properties.", size=10)
    def lineage(self, info: Info) -> list[LineageNode]:
        return along(info.context, LineageKey("segment", self.file.key), "upstream")

    @field(
        source=Source.many("users", "segments"),
        policy=MEMBERS,
        description=f"How many users are in it, as they were folded last. {_WITHOUT}",
        weight=100,
    )
    async def count(self, info: Info) -> int:
        return await _count(info.context, self.file.key)

    @field(
        source=Source.many("users", "segments"),
        policy=MEMBERS,
        description=f"Who is in it, in the order of their ids. {_WITHOUT}",
    )
    async def users(self, info: Info, first: First = DEFAULT_FIRST, after: After = None) -> SegmentUserConnection:
        return await _members(info.context, self.file.key, first, after)


@strawberry.type(description="A user entered a segment, or left it.")
class SegmentChange(Change):
    """A change of who is in a segment."""

    @field(source=Source.document("feed", "segment"), policy=MEMBERS, description="The segment; null once it is gone.")
    def segment(self, info: Info) -> Segment | None:
        file = info.context.services.contract.segments.get(self.told("segment") or "")
        return None if file is None else Segment(file=file)

    @field(source=Source.document("feed", "entered"), policy=MEMBERS, description="True: entered; false: left.")
    def entered(self) -> bool | None:
        return self.told("entered")  # type: ignore[no-any-return]

    @field(source=Source.document("feed", "at"), policy=MEMBERS, description="When that was found.")
    def at(self) -> DateTime | None:
        at = self.told("at")
        return None if at is None else DateTime(at)

    @field(
        source=Source.one("users", "feed.user"),
        policy=MEMBERS,
        description="Who; null when there is no such user any more, because two users became one or one was erased.",
    )
    async def user(self, info: Info) -> User | None:
        return await load_user(info.context, self.told("user"))


@strawberry.type
class Grouping:
    """What can be asked of segments."""

    @field(
        source=Source.contract("segments", "*"), policy=SEGMENTS, description="Every segment of the contract.", size=10
    )
    def segments(self, info: Info) -> list[Segment]:
        return [Segment(file=one) for one in info.context.services.contract.segments.values()]

    @field(
        source=Source.contract("segments", "*"),
        policy=SEGMENTS,
        description="One segment; null when there is none of this key.",
    )
    async def segment(self, info: Info, key: Key, at_least: AtLeast = None) -> Segment | None:
        await info.context.wait_for(at_least)
        file = info.context.services.contract.segments.get(key)
        return None if file is None else Segment(file=file)


@strawberry.type
class Entering:
    """What can be watched of segments."""

    @subscription(
        source=_FEED,
        policy=MEMBERS,
        description="Each time a user enters or leaves a segment, by what they do or by time. Of users who deny "
        "analytics nothing is told.",
    )
    async def segment_changed(
        self,
        info: Info,
        key: Annotated[strawberry.ID | None, strawberry.argument(description="Only this segment.")] = None,
        after: Resume = None,
    ) -> AsyncIterator[SegmentChange]:
        if key is not None:
            checked_segment(info.context.services.contract, key, "key")
        async for news in follow(info.context, "segment", None, after, segment=key, purpose="analytics"):
            info.context.position.cursor = news.cursor
            yield SegmentChange(news=news)


async def segments_of(context: Context, state: UserState, words: Any) -> list[Segment]:
    """The segments of one user; none for somebody who denies analytics."""
    word = words.get("analytics")
    if word is not None and not word.granted:
        return []
    files = context.services.contract.segments
    return [Segment(file=files[key]) for key in state.segments if key in files]


async def _count(context: Context, key: str) -> int:
    denying = await context.services.questions.denying(context.scope)
    return await context.services.users.count_in_segment(context.scope, key, without=denying)


async def _members(context: Context, key: str, first: int | None, after: Any) -> SegmentUserConnection:
    users = context.services.users
    denying = await context.services.questions.denying(context.scope)

    async def read(limit: int, position: Any) -> list[UserState]:
        behind = None if position is None else position[0]
        return await users.in_segment(context.scope, key, limit=limit, behind=behind, without=denying)

    edges, page_info = await page(
        KEYSET, first, after, read=read, position=lambda one: (one.user,), node=lambda one: User(state=one)
    )
    count = await users.count_in_segment(context.scope, key, without=denying)
    return SegmentUserConnection(edges=edges, page_info=page_info, total_count=count)
