"""How alert rules stand, one row each: changed by compare-and-set, in the transaction that tells of the change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.model.identity import digest
from gateway.model.scope import Scope
from gateway.store.database import Database, Document, Session

COLLECTION = "alert_states"


@dataclass(frozen=True, slots=True)
class RuleState:
    """A row: which rule, by its hash, and how it stands since when (ms), as of the last look."""

    key: str
    rule: str
    phase: str = "ok"
    since: int | None = None
    looked_at: int | None = None
    value: float | None = None
    n: int = 0


class AlertStates:
    """Rows of all workspaces."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, scope: Scope) -> dict[str, RuleState]:
        """Those of a workspace, by key."""
        rows = await self._database.find(COLLECTION, {"workspace": scope.workspace}, max_time_ms=5000)
        return {row["key"]: _state(row) for row in rows}

    async def begin(self, workspace: str, key: str, rule: str) -> None:
        """Make the row of a rule that has none; of several that do so at the same moment one does."""
        fresh = {**_id(workspace, key), **_document(RuleState(key, rule))}
        await self._database.insert_unordered(COLLECTION, [fresh])

    async def change(self, workspace: str, old: RuleState, new: RuleState, session: Session) -> bool:
        """Put the new state in the place of the old; whether that was still there."""
        wanted = {**_id(workspace, old.key), "rule": old.rule, "lookedAt": old.looked_at, "phase": old.phase}
        result = await self._database.update_one(COLLECTION, wanted, {"$set": _document(new)}, session=session)
        return result.matched == 1

    async def remove(self, workspace: str, old: RuleState, session: Session) -> bool:
        """Forget a rule; whether it still stood so."""
        wanted = {**_id(workspace, old.key), "rule": old.rule, "lookedAt": old.looked_at, "phase": old.phase}
        return await self._database.delete_many(COLLECTION, wanted, session=session) == 1


def _id(workspace: str, key: str) -> dict[str, Any]:
    return {"_id": digest(workspace, "alert rule", key), "workspace": workspace}


def _document(state: RuleState) -> Document:
    return {
        "key": state.key,
        "rule": state.rule,
        "phase": state.phase,
        "since": state.since,
        "lookedAt": state.looked_at,
        "value": state.value,
        "n": state.n,
    }


def _state(row: Document) -> RuleState:
    return RuleState(row["key"], row["rule"], row["phase"], row["since"], row["lookedAt"], row["value"], row["n"])
