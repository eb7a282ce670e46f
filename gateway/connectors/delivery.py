"""Delivery as one process does it: a runner for each instance, over the lanes of derivation that the process owns."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from gateway.clock import Clock
from gateway.connectors.instances import Instance
from gateway.connectors.limits import Patience
from gateway.connectors.news import News
from gateway.connectors.pieces import Loader
from gateway.connectors.replaying import Replayer
from gateway.connectors.runner import Ours, Runner
from gateway.privacy import Privacy
from gateway.store.alerts import Alerts
from gateway.store.database import Database
from gateway.store.lanes import Lease

log = logging.getLogger("gateway.connectors")

#: What may become of what is to be delivered.
OUTCOMES = ("delivered", "duplicate", "skipped", "withheld", "gone", "retried", "dead")


class Delivery:
    """Delivers to the instances that take anything. `lease` tells which lanes of derivation are this process's: they
    are delivered from here too, under their epochs."""

    def __init__(
        self,
        database: Database,
        instances: Mapping[str, Instance],
        privacy: Privacy,
        clock: Clock,
        *,
        lease: Callable[[], Lease | None],
        patience: Patience | None = None,
    ) -> None:
        self._lease = lease
        alerts = Alerts(database)
        loader = Loader(database, privacy, alerts)
        news = {workspace: News(database, workspace) for workspace in {one.workspace for one in instances.values()}}
        self.runners = {
            name: Runner(database, one, news[one.workspace], loader, alerts, clock, patience or Patience(), self._ours)
            for name, one in instances.items()
            if one.delivers
        }
        self._replayer = Replayer(database, self.runners.keys(), clock, self._ours)

    def wake(self) -> None:
        """There may be something new in the feed."""
        for runner in self.runners.values():
            runner.wake()

    def counts(self) -> dict[str, Counter[str]]:
        """By instance, what became of what was to be delivered since the start, in the words of OUTCOMES."""
        return {name: runner.counts for name, runner in self.runners.items()}

    def stop(self) -> None:
        """Finish the turns in hand and return from `run`."""
        self._replayer.stop()
        for runner in self.runners.values():
            runner.stop()

    async def run(self) -> None:
        """Deliver until stopped."""
        if not self.runners:
            return
        tasks = [asyncio.create_task(self._replayer.run())]
        tasks += [asyncio.create_task(runner.run()) for runner in self.runners.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ours(self) -> Ours:
        lease = self._lease()
        if lease is None:
            return Ours({}, {})
        lanes = dict(lease.lanes)
        return Ours(
            {lane: held.epoch for lane, held in lanes.items()}, {lane: held.head for lane, held in lanes.items()}
        )
