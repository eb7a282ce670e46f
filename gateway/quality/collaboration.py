"""All that teams do together about the contract, put together on one database."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.clock import Clock
from gateway.quality.data_requests import DataRequests
from gateway.quality.digest import Digests
from gateway.quality.history import History
from gateway.quality.proposals import Proposals
from gateway.quality.proposed import Check
from gateway.store.alerts import Alerts
from gateway.store.contracts import Versions
from gateway.store.database import Database
from gateway.store.discrepancies import Discrepancies
from gateway.store.kpi_snapshots import KpiSnapshots
from gateway.store.observations import Observations
from gateway.store.proposals import Proposals as StoredProposals
from gateway.store.requests import Requests


@dataclass(frozen=True, slots=True)
class Collaboration:
    """One per process."""

    history: History
    proposals: Proposals
    requests: DataRequests
    digests: Digests
    observations: Observations
    discrepancies: Discrepancies

    @classmethod
    def of(cls, database: Database, clock: Clock, check: Check | None = None) -> Collaboration:
        """`check` is asked before a proposal is taken, approved or applied: whether a gateway could serve it."""
        history, alerts, requests = History(Versions(database)), Alerts(database), Requests(database)
        return cls(
            history,
            Proposals(StoredProposals(database), history, clock, check),
            DataRequests(requests, alerts, clock),
            Digests(history, requests, KpiSnapshots(database), alerts, clock),
            Observations(database),
            Discrepancies(database),
        )
