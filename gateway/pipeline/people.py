"""Everybody with all of their events in order, in bounded memory: what exports and dry runs go through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.store.exports import PAGE, Exports, Selection, patiently
from gateway.store.identities import Identities


@dataclass(frozen=True, slots=True)
class Person:
    """A user with its identities, the oldest first."""

    user: str
    identities: tuple[Identity, ...]

    @property
    def sks(self) -> list[str]:
        return [identity.sk for identity in self.identities]


class People:
    """Reads the people of a workspace by id."""

    def __init__(self, exports: Exports, identities: Identities) -> None:
        self._exports = exports
        self._identities = identities

    async def each(
        self, selection: Selection, *, seen_since: int | None = None
    ) -> AsyncIterator[tuple[Person, AsyncIterator[list[Event]]]]:
        """Everybody with their events, never none: few at a time for those with many, many for those with few.

        `seen_since` (ms): only those whose last event is not older.
        """
        scope = Scope.system(selection.workspace)
        async for page in self._exports.people(selection.workspace, seen_since=seen_since):
            for users in _groups(page):
                if len(users) == 1:
                    async for alone in self.one(selection, users[0]):
                        yield alone
                    continue
                found = await patiently(partial(self._identities.of_users, scope, users))
                people = [Person(user, tuple(identities)) for user, identities in found.items()]
                for person, events in await self._together(selection, people):
                    yield person, _once(events)

    async def one(self, selection: Selection, user: str) -> AsyncIterator[tuple[Person, AsyncIterator[list[Event]]]]:
        """This user alone, if it has events."""
        found = await patiently(partial(self._identities.of_users, Scope.system(selection.workspace), [user]))
        person = Person(user, tuple(found[user]))
        pages = self._exports.events(selection, sks=person.sks)
        first = await anext(pages, None)
        if first is not None:
            yield person, _with_first(first, pages)

    async def _together(self, selection: Selection, people: list[Person]) -> list[tuple[Person, list[Event]]]:
        """Those of the people who have events, with all of them in order."""
        owners = {sk: person for person in people for sk in person.sks}
        found: dict[Person, list[Event]] = {person: [] for person in people}
        async for events in self._exports.events(selection, sks=owners):
            for event in events:
                found[owners[event.identity.sk]].append(event)
        return [(person, events) for person, events in found.items() if events]


def _groups(page: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Consecutive users with about a page of events together; one with more stands alone."""
    group: list[str] = []
    size = 0
    for user, events in page:
        if group and size + events > PAGE:
            yield group
            group, size = [], 0
        group.append(user)
        size += events
    if group:
        yield group


async def _with_first(first: list[Event], rest: AsyncIterator[list[Event]]) -> AsyncIterator[list[Event]]:
    yield first
    async for events in rest:
        yield events


async def _once(events: list[Event]) -> AsyncIterator[list[Event]]:
    yield events
