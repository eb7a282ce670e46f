"""What has become of users and events in a served gateway."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from tests.flow.served import Served
from tests.pace import PATIENCE

_PERSON = "query ($id: String!) { user(by: {userId: $id}) { eventCount traits identities { type value } } }"


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the API tells, and the events behind it in their order."""

    traits: dict[str, Any]
    identities: set[str]
    events: list[Event]

    def event(self, name: str) -> Event:
        """The only event of this name."""
        (found,) = [event for event in self.events if event.name == name]
        return found


async def person(served: Served, user_id: str, events: int, *, seconds: float = PATIENCE) -> Person:
    """A user as soon as all events are derived; fails when there are not exactly so many."""
    user: dict[str, Any] | None = None
    deadline = asyncio.get_running_loop().time() + seconds
    while user is None or user["eventCount"] < events:
        assert asyncio.get_running_loop().time() < deadline, user
        await asyncio.sleep(0.1)
        user = (await served.graphql(_PERSON, id=user_id)).json()["data"]["user"]
    assert user["eventCount"] == events
    types = {"USER_ID": "userId", "ANONYMOUS_ID": "anonymousId"}
    sks = [Identity(types[one["type"]], one["value"]).sk for one in user["identities"]]  # type: ignore[arg-type]
    found = await served.gateway.events.page(Scope.system("main"), limit=1_000, sks=sks)
    assert len(found) == events
    return Person(user["traits"], {one["value"] for one in user["identities"]}, found[::-1])


async def stored(served: Served) -> list[Event]:
    """Every event there is, oldest first."""
    return (await served.gateway.events.page(Scope.system("main"), limit=2_000))[::-1]
