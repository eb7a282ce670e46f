"""How often surveys were shown, begun, answered and dismissed, counted in the log."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.response import DISMISSED, QUESTION_ANSWERED, RESPONDED, SHOWN, SURVEYED
from gateway.model.scope import Scope
from gateway.store.database import Database, Document

_EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Heard:
    """Of some surveys: how often they were `shown`, `begun` (a question answered, whether or not the rest was too),
    answered to the end (`answered`) and `dismissed`. What was shown counts once per offer, and so does what became of
    it; events that name no offer count each."""

    shown: int = 0
    begun: int = 0
    answered: int = 0
    dismissed: int = 0


class SurveyCounts:
    """Counts of the workspace's survey events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answered(self, workspace: str, survey: str, since: int, *, at_most: int) -> int:
        """How many responses a survey has from `since` (ms) on; counted up to `at_most`."""
        wanted = {"workspace": workspace, "name": RESPONDED, "at": {"$gte": since}, "properties.survey": survey}
        return await self._database.count(_EVENTS, wanted, limit=at_most, max_time_ms=5_000)

    async def heard(self, scope: Scope, surveys: list[str], between: tuple[int, int]) -> Heard:
        """What is heard of these surveys from the first moment (ms) up to, but not including, the second."""
        wanted: Document = {
            "workspace": scope.workspace,
            "name": {"$in": list(SURVEYED)},
            "at": {"$gte": between[0], "$lt": between[1]},
            "properties.survey": {"$in": surveys},
        }
        once = {"$ifNull": ["$properties.offer", {"$ifNull": ["$properties.responseId", "$_id"]}]}
        pipeline: list[Document] = [
            {"$match": wanted},
            {"$group": {"_id": {"name": "$name", "survey": "$properties.survey", "offer": once}}},
            {"$group": {"_id": "$_id.name", "offers": {"$sum": 1}}},
        ]
        rows = await self._database.aggregate(_EVENTS, pipeline, max_time_ms=10_000)
        found = {row["_id"]: int(row["offers"]) for row in rows}
        begun, answered = found.get(QUESTION_ANSWERED, 0), found.get(RESPONDED, 0)
        return Heard(found.get(SHOWN, 0), max(begun, answered), answered, found.get(DISMISSED, 0))
