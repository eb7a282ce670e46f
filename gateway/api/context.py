"""What resolvers work with: the services of the process, and one caller's view of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import strawberry

from gateway.access.callers import Callers
from gateway.api.loaders import Loaders
from gateway.clock import Clock
from gateway.contract import Contract
from gateway.errors import Forbidden, Unauthenticated
from gateway.live.hub import Hub
from gateway.model.scope import Scope
from gateway.pipeline.intake import Intake
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.measures import Measures
from gateway.store.users import Journeys, Sessions, Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the API works with; one per process."""

    contract: Contract
    events: Events
    identities: Identities
    users: Users
    sessions: Sessions
    journeys: Journeys
    measures: Measures
    intake: Intake
    hub: Hub
    callers: Callers
    clock: Clock


class Context:
    """One caller. Loaders remember what they read: `renewed` starts afresh for the next operation or message."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.authorization: str | None = None
        self.connection_params: dict[str, Any] | None = None  # set by Strawberry from connection_init
        self._scope: Scope | None = None
        self._loaders: Loaders | None = None

    @property
    def scope(self) -> Scope:
        if self._scope is None:
            raise Unauthenticated("Nobody has signed in yet.")
        return self._scope

    @property
    def load(self) -> Loaders:
        if self._loaders is None:
            self._loaders = Loaders(self.services, self.scope)
        return self._loaders

    async def admit(self, authorization: str | None) -> None:
        """Take on the caller behind the header. Raises Denied."""
        self._scope = await self.services.callers.scope_of(authorization)
        self.authorization = authorization
        self._loaders = None
        await self.check_visitor()

    async def check(self) -> None:
        """Whether the credential still opens what it did. Raises Denied."""
        await self.services.callers.scope_of(self.authorization)
        await self.check_visitor()

    def renewed(self) -> Context:
        """The same caller with nothing remembered."""
        fresh = Context(self.services)
        fresh.authorization, fresh._scope = self.authorization, self._scope
        return fresh

    def forget(self) -> None:
        """Read everything anew from here on."""
        self._loaders = None

    async def subject_user(self) -> str | None:
        """The id of the user an end user's token opens; None before its first event is derived."""
        assert self.scope.subject is not None
        return await self.load.user_ids.load(self.scope.subject)

    async def may_see(self, user: str | None) -> bool:
        """Whether what belongs to this user may be shown: to everyone but subjects, who see only their own."""
        return self.scope.subject is None or (user is not None and user == await self.subject_user())

    async def check_visitor(self) -> None:
        """A visitor's token opens its subject only while nobody is known behind it."""
        if not self.scope.visitor:
            return
        self.forget()
        user = await self.subject_user()
        known = [] if user is None else await self.load.identities.load(user)
        if any(identity.type == "userId" for identity in known):
            raise Forbidden(
                "This visitor has signed in since; the visitor token no longer opens anything.",
                hint="Use a token for the userId.",
            )


Info: TypeAlias = strawberry.Info[Context, None]
