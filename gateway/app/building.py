"""One gateway process, put together: store, clock, pipeline, hub and doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from gateway.access.callers import Callers
from gateway.access.issuers import Issuers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.app.columnar import Columnar
from gateway.app.connectors import Connectors
from gateway.app.contracts import Folder
from gateway.app.disk import DiskGuard
from gateway.app.health import Watch
from gateway.app.instances import Made, make_instances
from gateway.app.metrics import Metrics
from gateway.app.observed import ObservedDeriver, ObservedEvents, ObservedHub, ObservedIntake
from gateway.app.opening import keep_time, open_database, open_mongod
from gateway.app.plugins import in_workspaces, load_plugins
from gateway.app.roles import DUTIES, Duties
from gateway.app.spans import Spans
from gateway.clock import ServerClock, random_secret
from gateway.connectors.instances import Instance
from gateway.connectors.kpi_functions import KpiFunctions
from gateway.contract import Contract
from gateway.errors import SetupError
from gateway.feedback import Feedback
from gateway.insights.alerting import EvaluatedKpis, RuleValues, RuleWatch
from gateway.insights.asking import Questions
from gateway.insights.kpis.evaluating import Evaluator
from gateway.insights.kpis.snapshots import Snapshots
from gateway.live.consistency import Consistency
from gateway.live.hub import Hub
from gateway.model.consistency import ConsistencyToken
from gateway.model.identity import LANES
from gateway.pipeline.accounting import Accounts
from gateway.pipeline.addresses import Addresses
from gateway.pipeline.budget import Budget
from gateway.pipeline.conforming import Conforming, Modes
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.erasures import Eraser
from gateway.pipeline.intake import Intake
from gateway.pipeline.owner import Deriver
from gateway.plugin import GraphqlFields
from gateway.privacy import Privacy
from gateway.quality.auditing import Auditor
from gateway.quality.collaboration import Collaboration
from gateway.quality.gathering import Gathering
from gateway.quality.raising import AuditAlerts
from gateway.quality.tending import Tending
from gateway.settings import Settings
from gateway.store.accounting import Accounting
from gateway.store.alerts import Alerts
from gateway.store.catalog import Catalog
from gateway.store.command_failures import CommandFailures
from gateway.store.connector_states import ConnectorStates
from gateway.store.contracts import Versions
from gateway.store.database import Database
from gateway.store.derivation import DerivationStatus
from gateway.store.erasures import Erasures
from gateway.store.events import Events
from gateway.store.feed import Feed
from gateway.store.identities import Identities
from gateway.store.imports import Imports
from gateway.store.keys import Keys
from gateway.store.quarantine import Quarantine
from gateway.store.users import Journeys, Sessions, Users

#: How long the batch under way may take when the process stops.
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything one process has. Made by `open_gateway`."""

    settings: Settings
    database: Database
    contracts: Contracts
    clock: ServerClock
    events: Events
    identities: Identities
    users: Users
    sessions: Sessions
    journeys: Journeys
    columnar: Columnar
    evaluator: Evaluator
    snapshots: Snapshots
    imports: Imports
    intake: Intake
    quarantine: Quarantine
    accounting: Accounting
    derivation: DerivationStatus
    privacy: Privacy
    feedback: Feedback
    eraser: Eraser
    deriver: Deriver
    connectors: Connectors
    collaboration: Collaboration
    tending: Tending
    hub: Hub
    consistency: Consistency
    keyring: KeyRing
    tokens: Tokens
    callers: Callers
    metrics: Metrics
    spans: Spans
    watch: Watch
    disk: DiskGuard
    duties: Duties
    keeping: asyncio.Future[None] | None = None
    """Keeps the embedded mongod running; done, with the reason, when it cannot: then the process has to end."""

    @property
    def contract(self) -> Contract:
        """The contract that counts now; another one may count at the next look."""
        return self.contracts.current

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look after health and the disk in the background."""
        await self.watch.look()
        await self.disk.look()
        runs = (self.watch.run(), self.disk.run(), self.columnar.watch())
        tasks = [asyncio.create_task(run) for run in runs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)
            self.watch.close()

    @asynccontextmanager
    async def deriving(self) -> AsyncIterator[None]:
        """Derive and deliver in the background, from the lanes that no other process has; nothing in a role that does
        not derive."""
        if not self.duties.derives:
            yield
            return
        task = asyncio.create_task(self.deriver.run())
        runs = (
            *(self._audit_alerts(), self.tending.run(), self.snapshots.run(), self._watch_rules()),
            self.feedback.anonymous.run(lambda: self.contract, self.keyring.workspaces, self.deriver.owns),
            self.feedback.reacting.run(self.clock, self.keyring.workspaces, self.deriver.owns),
        )
        looking = [asyncio.create_task(run) for run in runs]
        try:
            # Inside: what is delivered is noted under the lanes that the deriver then gives back.
            async with self.connectors.running(), self.columnar.running():
                yield
        finally:
            for one in looking:
                one.cancel()
            self.deriver.stop()
            await asyncio.wait([task, *looking], timeout=STOP_SECONDS)
            task.cancel()  # a frozen MongoDB: the lease runs out by itself

    async def _audit_alerts(self) -> None:
        """Look for silence, drift and loss, as long as it is not switched off."""
        if not self.settings.audit_minutes:
            return
        alerts = AuditAlerts(
            Auditor(self.database),
            Alerts(self.database),
            Keys(self.database),
            lambda: self.contracts.current,
            self.clock,
            self.deriver.owns,
        )
        await alerts.run(self.settings.audit_minutes)

    @property
    def rule_values(self) -> RuleValues:
        """What alert rules compare."""
        return RuleValues(self.database, EvaluatedKpis(self.evaluator, lambda: self.contract), lambda: self.contract)

    async def _watch_rules(self) -> None:
        """Look at the alert rules of the contract."""
        workspaces = Keys(self.database).workspaces
        watch = RuleWatch(
            self.database,
            self.rule_values,
            lambda: self.contracts.current,
            workspaces,
            self.clock,
            self.deriver.owns,
        )
        await watch.run()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """Follow the feed for subscriptions; nothing in a role that has none."""
        if not self.duties.answers:
            yield
            return
        await self.hub.start()
        try:
            async with self.connectors.flags.following():
                yield
        finally:
            await self.hub.stop()


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    spans: Spans | None = None,
    *,
    serves: bool = False,
    instances: Mapping[str, Instance] | None = None,
) -> AsyncIterator[Gateway]:
    """Connect, prepare the database, build. `serves`: this is a start, not a command beside a running gateway.
    `instances` come beside the configured ones.

    Raises SetupError or ContractError with what to mend.
    """
    folder, plugged = Folder(settings), load_plugins(settings, refuse=serves)
    metrics, spans = Metrics(settings.role), spans or Spans()
    failures = CommandFailures(lambda command: metrics.mongo_failures.labels(command).inc())
    async with (
        open_mongod(settings) as (uri, keeping),
        open_database(settings, uri, failures) as (database, clock),
    ):
        check = partial(_build_api, added=plugged.host.graphql)
        contracts = await folder.begin(Versions(database), clock.now(), serves=serves, check=check)
        plugged = in_workspaces(plugged, settings, await Keys(database).workspaces(), refuse=serves)
        made = await make_instances(
            plugged, ConnectorStates(database), clock, instances or {}, trace=settings.trace_plugins
        )
        gateway = await _build(settings, database, contracts, clock, metrics, spans, made, check)
        keeping_time = asyncio.create_task(keep_time(database, clock))
        try:
            async with gateway.privacy.following(), gateway.keyring.following(), contracts.following():
                yield replace(gateway, keeping=keeping)
        finally:
            keeping_time.cancel()
            await gateway.connectors.close()
            await gateway.evaluator.functions.close()
            await gateway.columnar.close()
            await gateway.intake.drain()


@asynccontextmanager
async def open_spans(settings: Settings) -> AsyncIterator[Spans]:
    """Traces as they are set; what waits is sent at the end. Raises SetupError when their packages are missing."""
    if settings.traces_url is None:
        yield Spans()
        return
    try:
        from gateway.app.tracing import Traces
    except ImportError as missing:
        raise SetupError(
            f"GATEWAY_TRACES_URL is set, but the package {missing.name} is missing.",
            hint="Install it: pip install 'journey-gateway[tracing]'",
        ) from missing
    traces = Traces(settings.traces_url, settings.role)
    try:
        yield traces
    finally:
        await traces.close()


def _build_api(contract: Contract, *, added: Sequence[GraphqlFields]) -> object:
    # Imported here: most commands never build it, and it takes as long to import as all the rest.
    from gateway.api.schema import build_schema

    return build_schema(contract, added=added)


async def _build(
    settings: Settings,
    database: Database,
    contracts: Contracts,
    clock: ServerClock,
    metrics: Metrics,
    spans: Spans,
    made: Made,
    check: Callable[[Contract], object],
) -> Gateway:
    events = ObservedEvents(database, metrics, spans)
    identities, users = Identities(database), Users(database)
    sessions, journeys, keys = Sessions(database), Journeys(database), Keys(database)
    secret = await keys.server_secret(random_secret())
    keyring, tokens = KeyRing(keys, clock), Tokens(secret, clock)
    derivation = Derivation.of(database, contracts, events)
    deriver = ObservedDeriver(
        database,
        derivation,
        clock,
        lease_seconds=settings.lease_seconds,
        feed_hours=settings.feed_hours,
        metrics=metrics,
        spans=spans,
    )
    hub = ObservedHub(Feed(database), events, secret, metrics=metrics)
    quarantine, accounting, privacy = Quarantine(database), Accounting(database), Privacy(database, clock)
    intake = ObservedIntake(
        events,
        quarantine,
        clock,
        accounts=Accounts(accounting, clock),
        # One body alone is always taken.
        budget=Budget(max(settings.intake_budget_bytes, settings.max_body_bytes)),
        max_event_bytes=settings.max_event_bytes,
        max_batch_events=settings.max_batch_events,
        addresses=Addresses(settings.ip, settings.country_database),
        privacy=privacy,
        conforming=Conforming(contracts, modes_of(settings)),
        gathering=Gathering(Catalog(database), lambda: contracts.current, clock),
        metrics=metrics,
        spans=spans,
    )
    connectors = Connectors.of(made, database, intake=intake, deriver=deriver, privacy=privacy, clock=clock)
    collaboration = Collaboration.of(database, clock, check)
    tending = Tending(
        collaboration.requests,
        collaboration.digests,
        clock,
        owns=deriver.owns,
        contract=lambda: contracts.current,
        workspaces=keyring.workspaces,
    )
    disk = DiskGuard(database, intake, settings.disk_free_percent)
    watch = Watch(database, hub, deriver, DUTIES[settings.role], disk, derivation.status)
    watch.plugins = [f"{failure.plugin}: {failure.message}" for failure in connectors.plugged.failures]
    columnar = Columnar.of(settings, database, clock)
    functions = KpiFunctions(connectors.plugged.host.kpi_functions)
    evaluator = Evaluator(Questions.of(columnar.scans, database, clock), functions)
    consistency = Consistency(Feed(database), derivation.work, clock)
    snapshots = Snapshots(
        evaluator,
        clock,
        owns=deriver.owns,
        contract=lambda: (contracts.version.number, contracts.version.contract),
        workspaces=keyring.workspaces,
        derived=partial(_derived, database, consistency),
    )
    watch.snapshots = snapshots.troubles
    metrics.watch(watch.gauges)
    metrics.watch(columnar.gauges)
    metrics.tally(
        "deliveries",
        "What became of what instances of connectors were to get.",
        ("instance", "outcome"),
        connectors.tally,
    )
    return Gateway(
        settings=settings,
        database=database,
        contracts=contracts,
        clock=clock,
        events=events,
        identities=identities,
        users=users,
        sessions=sessions,
        journeys=journeys,
        columnar=columnar,
        evaluator=evaluator,
        snapshots=snapshots,
        imports=Imports(database),
        intake=intake,
        quarantine=quarantine,
        accounting=accounting,
        derivation=derivation.status,
        privacy=privacy,
        feedback=Feedback(database, events, privacy, clock, secret),
        eraser=Eraser(database, events, users, Erasures(database), privacy, clock, settings.erase_again_seconds),
        deriver=deriver,
        connectors=connectors,
        collaboration=collaboration,
        tending=tending,
        hub=hub,
        consistency=consistency,
        keyring=keyring,
        tokens=tokens,
        callers=Callers(keyring, tokens, Issuers(settings.issuers, clock, development=settings.env == "development")),
        metrics=metrics,
        spans=spans,
        watch=watch,
        disk=disk,
        duties=DUTIES[settings.role],
    )


async def _derived(database: Database, consistency: Consistency, workspace: str) -> bool:
    """Whether all that is stored by now has been derived, after a while at most."""
    at = await database.operation_time()
    return await consistency.reached(workspace, ConsistencyToken(at.time, at.inc, frozenset(range(LANES))), seconds=5)


def modes_of(settings: Settings) -> Modes:
    """What becomes of misfits, as it is set."""
    named = {(one.workspace, one.source): one.mode for one in settings.validation_modes}
    return Modes(named.pop(("*", "*"), settings.validation), named)
