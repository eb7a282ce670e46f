"""Rebuild: everybody's sessions and journeys again from their events, while the gateway goes on.

Nothing is folded here: users are marked, and the owner of derivation folds them, between batches of events. What is
marked survives a stop of anybody, so that a rebuild that was interrupted is simply called again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.errors import NotFound
from gateway.model.scope import Scope
from gateway.store.exports import patiently
from gateway.store.rebuilds import Marking, Rebuilds
from gateway.store.users import Users

_PAGE = 1_000
_LOOK_SECONDS = 0.25

#: Called with how many users there are and how many of them are done.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many users were folded anew; `set_aside` are those whose events do not fold (at most a hundred ids)."""

    users: int
    resumed: bool
    set_aside: tuple[str, ...]


class Rebuilder:
    """Rebuilds the users of a workspace; somebody must derive meanwhile."""

    def __init__(self, rebuilds: Rebuilds, users: Users, clock: Clock) -> None:
        self._rebuilds = rebuilds
        self._users = users
        self._clock = clock

    async def everybody(self, workspace: str, progress: Progress) -> Rebuilt:
        """Fold every user of the workspace anew; goes on with a rebuild that was interrupted."""
        marking = await patiently(lambda: self._rebuilds.begin(workspace, self._clock.now()))
        resumed = marking.after != ""
        while not marking.whole:
            marking = await patiently(partial(self._mark_page, workspace, marking))
            progress(marking.users, 0)
        await self._wait(workspace, None, marking.users, progress)
        set_aside = await patiently(lambda: self._rebuilds.set_aside(workspace))
        await patiently(lambda: self._rebuilds.end(workspace))
        return Rebuilt(marking.users, resumed, tuple(set_aside))

    async def one(self, workspace: str, user: str, progress: Progress) -> Rebuilt:
        """Fold one user anew, under whichever id it goes now. Raises NotFound."""
        users = [await self.find(workspace, user)]
        await patiently(lambda: self._rebuilds.mark(workspace, users))
        await self._wait(workspace, users, 1, progress)
        return Rebuilt(1, False, tuple(await patiently(lambda: self._rebuilds.set_aside(workspace, users))))

    async def find(self, workspace: str, user: str) -> str:
        """The id that the user has now. Raises NotFound."""
        found = await self._users.follow(Scope.system(workspace), user)
        if found is None:
            raise NotFound(f"There is no user {user!r} in the workspace {workspace!r}.", hint="Name it by its id.")
        return found

    async def _mark_page(self, workspace: str, marking: Marking) -> Marking:
        users = await self._rebuilds.next_users(workspace, marking.after, _PAGE)
        if users:
            await self._rebuilds.mark(workspace, users)
            marked = Marking(users[-1], marking.users + len(users), whole=False)
        else:
            marked = Marking(marking.after, marking.users, whole=True)
        await self._rebuilds.reached(workspace, marked)
        return marked

    async def _wait(self, workspace: str, users: list[str] | None, total: int, progress: Progress) -> None:
        while True:
            asked = self._clock.monotonic()
            left = await patiently(lambda: self._rebuilds.count_left(workspace, users))
            progress(total, max(0, total - left))
            if not left:
                return
            # Counting many takes a while itself: a tenth of the time may go into it.
            await asyncio.sleep(max(_LOOK_SECONDS, 9 * (self._clock.monotonic() - asked)))
