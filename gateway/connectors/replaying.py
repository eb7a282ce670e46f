"""Replays from the log: pages of stored events become rows that their lanes' owners send behind what is live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

from gateway.clock import Clock
from gateway.connectors.runner import Ours
from gateway.errors import GatewayError
from gateway.model.event import Event
from gateway.model.identity import lane_of, user_id_of
from gateway.model.scope import Scope
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.lane_items import LaneItem, LaneItems
from gateway.store.lanes import LeaseLost
from gateway.store.replays import Replay, Replays

log = logging.getLogger("gateway.connectors")

#: Rows of one replay that wait to be sent at a time.
_OUTSTANDING = 1_000
_PAGE = 500
_LOOK_SECONDS = 1.0


class Replayer:
    """Carries on the replays whose lanes are this process's."""

    def __init__(self, database: Database, instances: Collection[str], clock: Clock, ours: Callable[[], Ours]) -> None:
        self._replays = Replays(database)
        self._items = LaneItems(database)
        self._events = Events(database)
        self._identities = Identities(database)
        self._instances = instances
        self._clock = clock
        self._ours = ours
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Replay until stopped."""
        while not self._stopping.is_set():
            try:
                more = await self._look()
            except LeaseLost:
                more = False
            except GatewayError as error:
                log.warning("replays wait", extra={"reason": error.code})
                more = False
            except Exception:
                log.exception("replaying failed; trying again")
                more = False
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._stopping.wait()

    async def _look(self) -> bool:
        epochs = self._ours().epochs
        more = False
        for lane, one in await self._replays.running(epochs) if epochs else ():
            if one.instance not in self._instances:
                continue  # it is not configured here: it waits
            if await self._items.outstanding(one.workspace, one.id, at_most=_OUTSTANDING) < _OUTSTANDING:
                more = await self._page(one, epochs[lane]) or more
        return more

    async def _page(self, one: Replay, epoch: int) -> bool:
        scope = Scope.system(one.workspace)
        sks = None if one.user is None else await sks_of(self._identities, scope, one.user)
        events = await self._events.between(scope, one.from_, one.to, behind=one.behind, sks=sks, limit=_PAGE)
        items = await self._items_of(one, scope, events)
        done = len(events) < _PAGE
        behind = events[-1].order if events else one.behind
        moved = replace(one, behind=behind, count=one.count + len(items), running=not done)
        await self._replays.go_on(moved, epoch, items)
        return not done

    async def _items_of(self, one: Replay, scope: Scope, events: list[Event]) -> list[LaneItem]:
        users = await self._identities.users_of(scope, {event.identity for event in events})
        now = self._clock.now()
        items = []
        for event in events:
            user = users.get(event.identity) or user_id_of(one.workspace, event.identity)
            key = event.id.hex()
            items.append(
                LaneItem(
                    key=key,
                    lane=lane_of(one.workspace, user),
                    queue=f"replay {one.id} {key}",  # of its own: nothing waits behind it
                    user=user,
                    seq=event.at,
                    kind="event",
                    about={"event": event.id, "name": event.name, "at": event.at},
                    since=now,
                    due_at=event.at,  # in the past: what happened first is due first
                    replay=one.id,
                )
            )
        return items


async def sks_of(identities: Identities, scope: Scope, user: str) -> list[str]:
    """The identities of a user as events carry them."""
    return [one.sk for one in (await identities.of_users(scope, [user]))[user]]
