"""What resolvers work with: the services of the process, and one caller's view of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import strawberry

from gateway.access.callers import Callers
from gateway.access.grant import Grant
from gateway.api.loaders import Loaders
from gateway.clock import Clock
from gateway.connectors.asking import Asking
from gateway.connectors.enriching import Enrichments
from gateway.contract import Contract
from gateway.contract.lineage import Lineage
from gateway.errors import Forbidden, Unauthenticated
from gateway.feedback import Feedback
from gateway.flags import Flags
from gateway.insights.alerting import Values
from gateway.insights.asking import Questions
from gateway.insights.kpis.evaluating import Evaluator
from gateway.live.consistency import Consistency
from gateway.live.hub import Hub
from gateway.model.consistency import ConsistencyToken
from gateway.model.scope import Scope
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.erasures import Eraser
from gateway.pipeline.intake import Intake
from gateway.plugin import Enriched
from gateway.plugin.configuring import Plugged
from gateway.privacy import Privacy
from gateway.quality.auditing import Auditor
from gateway.quality.collaboration import Collaboration
from gateway.quality.definitions import Definitions
from gateway.store.accounting import Accounting
from gateway.store.alert_states import AlertStates
from gateway.store.alerts import Alerts
from gateway.store.catalog import Catalog
from gateway.store.derivation import DerivationStatus
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.kpi_snapshots import KpiSnapshots
from gateway.store.quarantine import Quarantine
from gateway.store.users import Journeys, Sessions, Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the API works with; one per process."""

    contracts: Contracts
    events: Events
    identities: Identities
    users: Users
    sessions: Sessions
    journeys: Journeys
    intake: Intake
    quarantine: Quarantine
    accounting: Accounting
    derivation: DerivationStatus
    hub: Hub
    consistency: Consistency
    callers: Callers
    clock: Clock
    privacy: Privacy
    eraser: Eraser
    flags: Flags
    feedback: Feedback
    plugged: Plugged
    alerts: Alerts
    catalog: Catalog
    auditor: Auditor
    asking: Asking
    collaboration: Collaboration
    questions: Questions
    evaluator: Evaluator
    snapshots: KpiSnapshots
    definitions: Definitions
    alert_states: AlertStates
    #: What alert rules compare.
    rule_values: Values
    #: The enrichers of this process, by the name of the instance.
    enrichments: Mapping[str, Enrichments] = field(default_factory=dict)

    @property
    def contract(self) -> Contract:
        """The contract that counts now: `contract apply` changes it under running subscriptions."""
        return self.contracts.current


@dataclass(slots=True)
class Position:
    """How far the subscription of a context has come."""

    cursor: str | None = None


class Context:
    """One caller. Loaders remember what they read: `renewed` starts afresh for the next operation or message."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.authorization: str | None = None
        self.connection_params: dict[str, Any] | None = None  # set by Strawberry from connection_init
        #: Why the answer may not show yet what `atLeast` asked for; told in its extensions.
        self.behind = False
        #: Where the loaders belong; set for resolvers that run in another thread.
        self.home: asyncio.AbstractEventLoop | None = None
        self.position = Position()  # shared with those renewed from this one
        self._grant: Grant | None = None
        self._loaders: Loaders | None = None
        #: That of the contract, once somebody has asked.
        self.lineage: Lineage | None = None

    @classmethod
    def within(cls, services: Services, workspace: str) -> Context:
        """The gateway itself, for what it works out on its own account."""
        made = cls(services)
        made._grant = Grant(Scope.system(workspace))
        return made

    @property
    def grant(self) -> Grant:
        if self._grant is None:
            raise Unauthenticated("Nobody has signed in yet.")
        return self._grant

    @property
    def scope(self) -> Scope:
        return self.grant.scope

    @property
    def load(self) -> Loaders:
        if self._loaders is None:
            self._loaders = Loaders(self.services, self.scope)
        return self._loaders

    async def admit(self, authorization: str | None) -> None:
        """Take on the caller behind the header. Raises Denied."""
        self._grant = await self.services.callers.grant_of(authorization)
        self.authorization = authorization
        self._loaders = None
        self._check_erased()
        await self.check_visitor()

    async def check_credential(self) -> None:
        """Whether the credential has neither expired nor been revoked; asks no database but for keys. Raises Denied."""
        self._grant = await self.services.callers.grant_of(self.authorization)
        self._check_erased()

    async def wait_for(self, token: str | None) -> None:
        """Until derivation has come as far as a consistency token says, for a while. Raises InvalidInput."""
        if token is not None:
            wanted = ConsistencyToken.decode(token)
            if not await self.services.consistency.reached(self.scope.workspace, wanted):
                self.behind = True
            self.forget()

    def seconds_left(self) -> float | None:
        """Until the credential expires, by the gateway's clock; None when no end is set."""
        end = self.grant.expires_at
        return None if end is None else max(0.0, (end - self.services.clock.now()) / 1000)

    def renewed(self) -> Context:
        """The same caller with nothing remembered."""
        fresh = Context(self.services)
        fresh.authorization, fresh._grant = self.authorization, self._grant
        fresh.position = self.position
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

    async def enriched(self, connector: str, user: str) -> Enriched | None:
        """gateway.plugin.Resolving: may be asked from a plugin's thread. Raises Forbidden."""
        if self.home is None or self.home is asyncio.get_running_loop():
            return await self._enriched(connector, user)
        asked = asyncio.run_coroutine_threadsafe(self._enriched(connector, user), self.home)
        return await asyncio.wrap_future(asked)

    async def _enriched(self, connector: str, user: str) -> Enriched | None:
        instances = self.services.plugged.by_workspace(self.scope.workspace)
        names = [one.name for one in instances if one.use == connector and one.name in self.services.enrichments]
        if not names:
            return None
        if not await self.may_see(user):
            raise Forbidden("This user is not the caller's to see.", hint="Ask for the user the field stands in.")
        state = await self.load.users.load(user)
        if state is None:  # merged since, or gone
            moved = await self.services.users.follow(self.scope, user)
            state = None if moved is None else await self.load.users.load(moved)
        if state is None:
            return Enriched("missing")
        identities = await self.load.identities.load(state.user)
        known = [(identity.type, identity.value) for identity in identities]
        return await self.services.enrichments[names[0]].of(known, state.traits)

    def _check_erased(self) -> None:
        if self.services.privacy.suppressed.has(self.scope.workspace, self.scope.subject):
            raise Forbidden("This user's data was erased; the token opens nothing.", hint="Mint no further ones.")

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
