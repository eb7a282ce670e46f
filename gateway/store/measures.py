"""What numbers leave out, those who deny to be counted, and events counted where rollups do not tell."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.model.consent import Purpose
from gateway.model.scope import Scope
from gateway.store.consents import COLLECTION as CONSENTS
from gateway.store.consents import Consents, Words, latest
from gateway.store.database import Database, Document
from gateway.store.events import COLLECTION as EVENTS
from gateway.store.events import escaped_path
from gateway.store.identities import IDENTITIES

PAGE = 20_000
_AT_ONCE = 5_000
_DEADLINE_MS = 10_000
_PURPOSE: Purpose = "analytics"
_NOT_DENIED: Document = {f"consent.{_PURPOSE}": {"$ne": False}}


@dataclass(frozen=True, slots=True)
class Denying:
    """Users who deny now that they are counted, and all of their identities."""

    users: frozenset[str] = frozenset()
    sks: frozenset[str] = frozenset()


class Measures:
    """Reads for KPIs; every read is limited to 10 s and raises Unavailable beyond.

    KPIs are numbers about how the product is used, the purpose `analytics`: what came in while its sender denied that
    is left out, and so is everything of users who deny it now. Of stages only the latter is known.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._consents = Consents(database)

    async def denying(self, scope: Scope) -> Denying:
        """Who denies `analytics` now: the latest word counts, under whichever identity of the user it was said."""
        denied = {f"purposes.{_PURPOSE}.granted": False, "workspace": scope.workspace}
        keys = await self._database.find(CONSENTS, denied, projection={"_id": 1}, max_time_ms=_DEADLINE_MS)
        users: set[str] = set()
        sks: set[str] = set()
        for some in _parts([row["_id"] for row in keys]):
            found = await self._identities(scope, {"_id": {"$in": some}})
            owners = await self._identities(scope, {"user": {"$in": sorted({row["user"] for row in found})}})
            words = await self._consents.of(scope.workspace, [bytes(row["_id"]) for row in owners])
            said: dict[str, list[Words]] = {}
            for row in owners:
                said.setdefault(row["user"], []).append(words.get(bytes(row["_id"]), {}))
            last = {user: latest(each).get(_PURPOSE) for user, each in said.items()}
            deny = {user for user, word in last.items() if word is not None and not word.granted}
            users |= deny
            sks |= {row["sk"] for row in owners if row["user"] in deny}
        return Denying(frozenset(users), frozenset(sks))

    async def _identities(self, scope: Scope, which: Document) -> list[Document]:
        wanted = {"workspace": scope.workspace, **which}
        return await self._database.find(IDENTITIES, wanted, projection={"sk": 1, "user": 1}, max_time_ms=_DEADLINE_MS)

    async def counted(self, scope: Scope, names: Collection[str], between: tuple[int, int]) -> dict[str, int]:
        """By name, how many events there are in [start, end) ms, whoever sent them, but those under a denial."""
        wanted = {"workspace": scope.workspace, "name": {"$in": sorted(names)}, **_NOT_DENIED}
        wanted["at"] = {"$gte": between[0], "$lt": between[1]}
        group = {"$group": {"_id": "$name", "count": {"$sum": 1}}}
        rows = await self._database.aggregate(EVENTS, [{"$match": wanted}, group], max_time_ms=_DEADLINE_MS)
        return {row["_id"]: row["count"] for row in rows}

    async def sent_by(
        self, scope: Scope, names: Collection[str], sks: Collection[str], bounds: Sequence[int]
    ) -> list[dict[str, int]]:
        """For each part between two bounds (rising ms), by name, the events of these identities but those under a
        denial."""
        found: list[dict[str, int]] = [{} for _ in bounds[1:]]
        wanted: Document = {"workspace": scope.workspace, "sk": {"$in": sorted(sks)}, **_NOT_DENIED}
        wanted |= {"at": {"$gte": bounds[0], "$lt": bounds[-1]}, "name": {"$in": sorted(names)}}
        rows = await self._database.find(EVENTS, wanted, projection={"name": 1, "at": 1}, max_time_ms=_DEADLINE_MS)
        for row in rows:
            here = found[bisect_right(bounds, row["at"]) - 1]
            here[row["name"]] = here.get(row["name"], 0) + 1
        return found


def _parts(keys: list[Any]) -> Iterator[list[Any]]:
    """What one read is asked for at a time."""
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))


def property_projection(properties: Iterable[str]) -> dict[str, int]:
    """A projection of the paths; of two where one contains the other, MongoDB accepts only the outer one."""
    paths = sorted({f"properties.{escaped_path(path)}" for path in properties})
    outer: list[str] = []
    for path in paths:
        if not any(path.startswith(f"{known}.") for known in outer):
            outer.append(path)
    return dict.fromkeys(outer, 1)
