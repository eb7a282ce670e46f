"""Visits of the stages of one journey map, and its runs: what friction and stage metrics are worked out from."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.errors import TooLarge
from gateway.model.scope import Scope
from gateway.store.database import Database, Document
from gateway.store.measures import Measures
from gateway.store.users import JOURNEYS

MOST_RUNS = 200_000
_PAGE = 2_000
_DEADLINE_MS = 10_000
_FIELDS = ("user", "status", "visits.stage", "visits.entered_at", "visits.left_at")
_OF_RUN = (*_FIELDS, "startedAt", "lastAt")


@dataclass(slots=True)
class VisitRows:
    """One row per visit: the user's id, the number of the run, the stage's key, ms of entering and leaving (-1: not
    yet), and the run's status. Visits of a run come one after the other."""

    user: list[str] = field(default_factory=list)
    run: list[int] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)
    entered: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    status: list[str] = field(default_factory=list)


async def stage_visits(database: Database, scope: Scope, map_key: str, between: tuple[int, int]) -> VisitRows:
    """Of the runs that began in [start, end) ms, without users who deny `analytics`. Raises TooLarge, Unavailable."""
    denying = (await Measures(database).denying(scope)).users
    found, runs, last = VisitRows(), 0, ""
    while True:
        wanted: Document = {"workspace": scope.workspace, "map": map_key, "_id": {"$gt": last}}
        wanted["startedAt"] = {"$gte": between[0], "$lt": between[1]}
        rows = await database.find(
            JOURNEYS, wanted, projection=_FIELDS, sort=[("_id", 1)], limit=_PAGE, max_time_ms=_DEADLINE_MS
        )
        for row in rows:
            if row["user"] not in denying:
                _add(found, runs, row)
                runs += 1
        if runs > MOST_RUNS:
            raise TooLarge(
                f"More than {MOST_RUNS:,} runs through this map began in the range.", hint="Ask for a shorter range."
            )
        if len(rows) < _PAGE:
            return found
        last = rows[-1]["_id"]


def _add(found: VisitRows, run: int, row: Document) -> None:
    for visit in row["visits"]:
        found.user.append(row["user"])
        found.run.append(run)
        found.stage.append(visit["stage"])
        found.entered.append(visit["entered_at"])
        found.left.append(-1 if visit["left_at"] is None else visit["left_at"])
        found.status.append(row["status"])


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run through a map: the user's id, its status, ms of its first and last event, and its visits as (stage's key,
    ms of entering, of leaving or None)."""

    user: str
    status: str
    started: int
    last: int
    visits: tuple[tuple[str, int, int | None], ...]


async def runs_within(database: Database, scope: Scope, map_key: str, between: tuple[int, int]) -> list[RunRow]:
    """The runs that may have begun, or entered a stage, in [start, end) ms: those that were under way then. Without
    users who deny `analytics`. Raises TooLarge, Unavailable."""
    denying = (await Measures(database).denying(scope)).users
    found: list[RunRow] = []
    last = ""
    while True:
        wanted: Document = {"workspace": scope.workspace, "map": map_key, "_id": {"$gt": last}}
        wanted |= {"startedAt": {"$lt": between[1]}, "lastAt": {"$gte": between[0]}}
        rows = await database.find(
            JOURNEYS, wanted, projection=_OF_RUN, sort=[("_id", 1)], limit=_PAGE, max_time_ms=_DEADLINE_MS
        )
        found += [_run(row) for row in rows if row["user"] not in denying]
        if len(found) > MOST_RUNS:
            raise TooLarge(
                f"More than {MOST_RUNS:,} runs through this map were under way in the range.",
                hint="Ask for a shorter range.",
            )
        if len(rows) < _PAGE:
            return found
        last = rows[-1]["_id"]


def _run(row: Document) -> RunRow:
    visits = tuple((visit["stage"], visit["entered_at"], visit["left_at"]) for visit in row["visits"])
    return RunRow(row["user"], row["status"], row["startedAt"], row["lastAt"], visits)
