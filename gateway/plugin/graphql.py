"""What resolvers of a plugin's GraphQL fields work with.

A resolver runs in its plugin's thread and has some seconds: when it raises, hangs or blocks, its field is null, with an
error, and the rest of the query is answered. So every field that a plugin adds to `Query` and `User` may be null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NewType, Protocol, cast

import strawberry

#: The API's scalar: milliseconds since 1970 UTC inside, ISO 8601 outside.
DateTime = NewType("DateTime", int)


@dataclass(frozen=True, slots=True)
class Enriched:
    """What an enricher knows of one user. `missing`: it is not there; `unavailable`: nothing is known, none answers.

    `fields` are those of `Found`; `fetched_at` is milliseconds since 1970 UTC.
    """

    status: Literal["fresh", "stale", "missing", "unavailable"]
    fields: Mapping[str, Any] = field(default_factory=dict)
    fetched_at: int | None = None


class Resolving(Protocol):
    """`info.context` as a plugin's resolver may use it."""

    async def enriched(self, connector: str, user: str) -> Enriched | None:
        """What the caller's workspace's first instance of an enricher knows of a user; None when it has no instance.

        `connector` is the name in its manifest. Raises Forbidden for a user that is not the caller's to see.
        """
        ...


class _State(Protocol):
    @property
    def user(self) -> str: ...


class _User(Protocol):
    @property
    def state(self) -> _State: ...


def user_of(parent: object) -> str:
    """The gateway's id (as `Message.user`) of the user that a field of `GraphqlFields.user` stands in: its `self`."""
    return cast("_User", parent).state.user


async def enriched(info: strawberry.Info[Any, Any], connector: str, user: str) -> Enriched | None:
    """What an enricher knows of a user: `await enriched(info, "acme", user_of(self))`; see `Resolving`."""
    context: Resolving = info.context
    return await context.enriched(connector, user)
