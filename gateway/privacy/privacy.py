"""Privacy as one process knows it: who is suppressed, who consented to what, and the one question about both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.model.consent import Purpose
from gateway.model.event import Event
from gateway.model.identity import Identity, key_of
from gateway.model.scope import Scope
from gateway.privacy.consented import Consented
from gateway.privacy.suppressed import Suppressed
from gateway.store.consents import Consents, Word, keys_of, latest
from gateway.store.database import Database
from gateway.store.identities import Identities
from gateway.store.suppressions import Suppressions

log = logging.getLogger("gateway.privacy")

#: So late at most another process knows who was suppressed in this one.
NOTICE_SECONDS = 1.0


class Privacy:
    """One per process. `unsaid`: what holds for a purpose about which somebody has said nothing."""

    def __init__(self, database: Database, clock: Clock, *, unsaid: bool = True) -> None:
        self.suppressions = Suppressions(database)
        self.suppressed = Suppressed(self.suppressions)
        self.consents = Consents(database)
        self.consented = Consented(self.consents, clock)
        self._identities = Identities(database)
        self.unsaid = unsaid

    async def allows(self, event: Event, purpose: Purpose) -> bool:
        """Whether an event may be used for a purpose now. Raises Unavailable.

        Not when its sender has been erased, had denied it when the event came in, or whoever the sender is now has
        denied it since. A later consent does not reach back to events that came in under a denial.
        """
        workspace, stamp = event.workspace, event.consent or {}
        if self.suppressed.has(workspace, event.identity) or stamp.get(purpose) is False:
            return False
        now = (await self.words(workspace, event.identity)).get(purpose)
        if now is not None:
            return now.granted
        return stamp.get(purpose, self.unsaid)

    async def allowed(
        self, workspace: str, asked: Sequence[tuple[Event | None, str]], purpose: Purpose | None
    ) -> list[bool]:
        """The same for many at once, each with its user: for what is no event only what the user says counts, and
        without a purpose only erasure. Raises Unavailable."""
        gone = [self._is_gone(workspace, event, user) for event, user in asked]
        if purpose is None or not (self._said(asked) or await self.consented.anybody(workspace)):
            return [not one and (purpose is None or self.unsaid) for one in gone]
        users = {user for (_, user), erased in zip(asked, gone, strict=True) if not erased}
        identities = await self._identities.of_users(Scope.system(workspace), users)
        keys = {user: keys_of(workspace, of) for user, of in identities.items()}
        own = {user: [*keys[user]] for user in users}
        for event, user in asked:
            if event is not None and user in own:
                own[user] += keys_of(workspace, [event.identity])
        said = await self.consents.of(workspace, {key for of in own.values() for key in of})
        words = {user: latest(said[key] for key in of if key in said) for user, of in own.items()}
        return [
            not erased and self._grants(event, words[user].get(purpose), purpose)
            for (event, user), erased in zip(asked, gone, strict=True)
        ]

    def _is_gone(self, workspace: str, event: Event | None, user: str) -> bool:
        if not self.suppressed:
            return False
        return self.suppressed.user([user]) or (event is not None and self.suppressed.has(workspace, event.identity))

    @staticmethod
    def _said(asked: Sequence[tuple[Event | None, str]]) -> bool:
        return any(event is not None and event.consent for event, _ in asked)

    def _grants(self, event: Event | None, now: Word | None, purpose: Purpose) -> bool:
        stamp = {} if event is None else event.consent or {}
        if stamp.get(purpose) is False:
            return False
        return now.granted if now is not None else stamp.get(purpose, self.unsaid)

    async def words(self, workspace: str, identity: Identity) -> dict[str, Word]:
        """The latest word about each purpose of the user behind an identity, under whichever identity it was said."""
        scope = Scope.system(workspace)
        user = await self._identities.user_of(scope, identity)
        known = [] if user is None else (await self._identities.of_users(scope, [user]))[user]
        return await self.words_of(workspace, [identity, *known])

    async def words_of(self, workspace: str, identities: Collection[Identity]) -> dict[str, Word]:
        """The latest word about each purpose, under whichever of these identities it was said."""
        return (await self.words_of_each(workspace, [identities]))[0]

    async def words_of_each(self, workspace: str, several: Sequence[Collection[Identity]]) -> list[dict[str, Word]]:
        """The same for several users at once."""
        keys = [keys_of(workspace, identities) for identities in several]
        found = await self.consents.of(workspace, {key for mine in keys for key in mine})
        return [latest(found[key] for key in mine if key in found) for mine in keys]

    async def erased_by(self, workspace: str, keys: Collection[bytes]) -> str | None:
        """The erasure that one of these keys is suppressed for."""
        return next(iter((await self.suppressions.among(workspace, keys)).values()), None)

    def keys(self, workspace: str, identities: Collection[Identity]) -> list[bytes]:
        """What suppressions know identities by."""
        return [key_of(workspace, identity.sk) for identity in identities]

    # -- what other processes change ----------------------------------------------------------------------------

    async def look(self) -> None:
        """Take over what has changed. Raises Unavailable."""
        await self.suppressed.look()
        await self.consented.look()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """As long as this is open: notice within a second what any process changes. Raises Unavailable at first."""
        await self.look()
        stop = asyncio.Event()
        task = asyncio.create_task(self._follow(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _follow(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(NOTICE_SECONDS):
                    await stop.wait()
            try:
                await self.look()
            except Unavailable:
                pass  # the next look may reach it; without MongoDB nothing is taken in either
            except Exception as error:
                log.warning("suppressions cannot be read", extra={"error": type(error).__name__})
