"""What plugs into one process: the configured connectors, and what runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.app.instances import Made
from gateway.clock import Clock
from gateway.connectors.delivery import OUTCOMES, Delivery
from gateway.connectors.enriching import Enrichments
from gateway.connectors.instances import Instance
from gateway.connectors.pulling import Pulls
from gateway.connectors.webhooks import Webhooks
from gateway.flags import Flags
from gateway.pipeline.intake import Intake
from gateway.pipeline.owner import Deriver
from gateway.plugin import Enricher
from gateway.plugin.configuring import Plugged
from gateway.privacy import Privacy
from gateway.store.alerts import Alerts
from gateway.store.connector_states import ConnectorStates
from gateway.store.database import Database

#: How long what is being delivered holds up a process that stops: its lanes are waited for.
_FINISH_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Connectors:
    """One process's plugins and instances, with delivery, webhooks, pulls and enrichers."""

    plugged: Plugged
    instances: Mapping[str, Instance]
    delivery: Delivery
    webhooks: Webhooks
    pulls: Pulls
    enrichments: Mapping[str, Enrichments]
    flags: Flags

    @classmethod
    def of(
        cls,
        made: Made,
        database: Database,
        *,
        intake: Intake,
        deriver: Deriver,
        privacy: Privacy,
        clock: Clock,
    ) -> Connectors:
        """All that was made; what is delivered and pulled here goes by the lanes of derivation that are ours."""
        instances = made.instances
        delivery = Delivery(database, instances, privacy, clock, lease=lambda: deriver.lease)
        deriver.told = delivery.wake
        pulls = Pulls(instances, intake, ConnectorStates(database), clock, owns=deriver.owns, alerts=Alerts(database))
        enrichments = {
            name: Enrichments(one, clock) for name, one in instances.items() if isinstance(one.connector, Enricher)
        }
        webhooks = Webhooks(instances, intake, pulls.hint)
        return cls(made.plugged, instances, delivery, webhooks, pulls, enrichments, Flags(made.providers))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver and pull in the background. What is under way when the process stops is finished if it is quick;
        what is not noted then is delivered again, under the same keys, by whoever takes the lanes over."""
        tasks = [asyncio.create_task(self.delivery.run()), asyncio.create_task(self.pulls.run())]
        try:
            yield
        finally:
            self.delivery.stop()
            tasks[1].cancel()
            await asyncio.wait(tasks, timeout=_FINISH_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_FINISH_SECONDS)

    def tally(self) -> Iterator[tuple[tuple[str, str], float]]:
        """What became of deliveries in this process since its start, by instance and outcome; nothing is left out, so
        that a first failure shows as a growth."""
        for name, counts in self.delivery.counts().items():
            for outcome in OUTCOMES:
                yield (name, outcome), float(counts[outcome])

    async def close(self) -> None:
        """Close every instance."""
        await asyncio.gather(*(one.close() for one in self.enrichments.values()))
        await asyncio.gather(*(one.close() for one in self.instances.values()))
