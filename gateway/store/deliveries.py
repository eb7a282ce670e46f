"""How far delivery has come: a fenced cursor over the feed for each instance and lane, and the state of each instance.

A cursor belongs to whoever owns its lane of derivation: it is claimed under the epoch of that lane, which every
take-over raises, and written only under it. So delivery needs no leases of its own, and what a process that lost a
lane has sent meanwhile it cannot note: it comes again, under the same keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.model.identity import LANES
from gateway.store.database import Database, Document, Session, UpdateOne
from gateway.store.lane_items import DEAD, ITEMS, Changes, LaneItems
from gateway.store.lanes import COLLECTION as LANES_COLLECTION
from gateway.store.lanes import FEED, LeaseLost, feed_id

CURSORS = "delivery_cursors"
DESTINATIONS = "destinations"
_REPLAYS = "replays"

#: `delivering`; `broken`: nothing gets through, one probe at a time; `paused`: its credentials are refused.
State = Literal["delivering", "broken", "paused"]


@dataclass(frozen=True, slots=True)
class Position:
    """One cursor as its owner knows it: all feed rows up to `seq` are done; the last event of them was received at `at`
    (ms).

    `log` is how far a reading of stored events has come that replaces feed rows which are gone: those received from
    `log` on and before `log_until` (ms) are still to be looked at. None: there is none.
    """

    epoch: int
    seq: int
    at: int
    log: int | None = None
    log_until: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one instance over all processes. Times in ms. `since` is when this state began."""

    workspace: str
    instance: str
    connector: str
    kinds: tuple[str, ...]
    erases: bool
    fingerprint: str
    state: State = "delivering"
    since: int = 0
    until: int = 0
    code: str = ""
    reason: str = ""
    hint: str = ""


class Deliveries:
    """Cursors and states of all instances."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.items = LaneItems(database)

    # -- cursors ------------------------------------------------------------------------------------------------

    async def begin(self, workspace: str, instance: str, now: int) -> None:
        """Cursors of an instance that is new: it gets what happens from now on."""
        heads = await self._database.find(LANES_COLLECTION, {"_id": {"$in": list(range(LANES))}}, projection={"seq": 1})
        operations = []
        for row in heads:
            lane = row["_id"]
            fresh = {"instance": instance, "lane": lane, "epoch": -1, "seq": row["seq"], "at": now}
            operations.append(UpdateOne(_key(workspace, instance, lane), {"$setOnInsert": fresh}, upsert=True))
        await self._database.bulk_write(CURSORS, list(operations))

    async def claim(self, workspace: str, instance: str, epochs: Mapping[int, int]) -> dict[int, Position]:
        """Cursors of these lanes, by the epochs under which their lanes are ours; those that are not are left out."""
        claims = [
            UpdateOne({**_key(workspace, instance, lane), "epoch": {"$lt": epoch}}, {"$set": {"epoch": epoch}})
            for lane, epoch in epochs.items()
        ]
        await self._database.bulk_write(CURSORS, list(claims))
        rows = await self._cursors(workspace, instance, epochs)
        return {row["lane"]: _position(row) for row in rows if row["epoch"] == epochs[row["lane"]]}

    async def settle(
        self,
        workspace: str,
        instance: str,
        moves: Mapping[int, Position],
        changes: Changes | None = None,
        *,
        session: Session | None = None,
    ) -> None:
        """Move cursors, and write what did not go through, in one step under their epochs. Raises LeaseLost."""
        if changes is None or not changes:
            await self._move(workspace, instance, moves, session)
            return

        async def transact(session: Session) -> None:
            await self._move(workspace, instance, moves, session)
            await self.items.write(workspace, instance, changes, session)

        await self._database.with_transaction(transact)

    async def floors(self, lanes: Collection[int]) -> dict[int, int]:
        """The oldest feed position that is kept, by lane."""
        rows = await self._database.find(LANES_COLLECTION, {"_id": {"$in": list(lanes)}}, projection={"floor": 1})
        return {row["_id"]: row["floor"] for row in rows}

    async def behind(self, workspace: str, now: int) -> dict[str, tuple[int, float]]:
        """How many feed rows (of every kind and workspace) lie before each instance, and the age in seconds of the
        oldest."""
        rows = await self._database.find(LANES_COLLECTION, {"_id": {"$in": list(range(LANES))}}, projection={"seq": 1})
        heads = {row["_id"]: row["seq"] for row in rows}
        found: dict[str, tuple[int, float]] = {}
        for row in await self._database.find(CURSORS, {"workspace": workspace}):
            count, age = found.get(row["instance"], (0, 0.0))
            if (more := heads[row["lane"]] - row["seq"]) > 0:
                next_id = feed_id(row["lane"], row["seq"])
                wanted = {"_id": {"$gt": next_id, "$lte": feed_id(row["lane"], heads[row["lane"]])}}
                oldest = await self._database.find_one(FEED, wanted, projection={"writtenAt": 1}, sort=[("_id", 1)])
                written = now if oldest is None else oldest["writtenAt"]
                count, age = count + more, max(age, (now - written) / 1000)
            found[row["instance"]] = (count, age)
        return found

    async def _cursors(self, workspace: str, instance: str, lanes: Iterable[int]) -> list[Document]:
        keys = [_key(workspace, instance, lane)["_id"] for lane in lanes]
        return await self._database.find(CURSORS, {"workspace": workspace, "_id": {"$in": keys}})

    async def _move(
        self, workspace: str, instance: str, moves: Mapping[int, Position], session: Session | None
    ) -> None:
        operations = []
        for lane, position in moves.items():
            found = {**_key(workspace, instance, lane), "epoch": position.epoch}
            row = {"seq": position.seq, "at": position.at, "log": position.log, "logUntil": position.log_until}
            operations.append(UpdateOne(found, {"$set": row, "$inc": {"fenced": 1}}))
        done = await self._database.bulk_write(CURSORS, list(operations), session=session)
        if done.matched < len(moves):
            raise LeaseLost("Another process delivers from a lane now.")

    async def forget(self, workspace: str, instance: str) -> dict[str, int]:
        """Take away all that is kept for an instance: rows deleted, by collection. A running one loses its cursors."""
        wanted = {"workspace": workspace, "instance": instance}

        async def transact(session: Session) -> dict[str, int]:
            places = (DESTINATIONS, CURSORS, ITEMS, DEAD, _REPLAYS)
            return {place: await self._database.delete_many(place, wanted, session=session) for place in places}

        return await self._database.with_transaction(transact)

    # -- states -------------------------------------------------------------------------------------------------

    async def declare(self, one: Standing) -> Standing:
        """Note what an instance is. A pause under another configuration ends."""
        key = _name(one.workspace, one.instance)
        fixed = {"connector": one.connector, "kinds": list(one.kinds), "erases": one.erases, "instance": one.instance}
        fresh = {"state": "delivering", "since": one.since, "until": 0, "code": "", "reason": "", "hint": ""}
        await self._database.update_one(DESTINATIONS, key, {"$set": fixed, "$setOnInsert": fresh}, upsert=True)
        changed = {**key, "fingerprint": {"$ne": one.fingerprint}}
        await self._database.update_one(DESTINATIONS, changed, {"$set": {**fresh, "fingerprint": one.fingerprint}})
        found = await self.standing(one.workspace, one.instance)
        return found or one

    async def standing(self, workspace: str, instance: str) -> Standing | None:
        """The state of one instance."""
        row = await self._database.find_one(DESTINATIONS, _name(workspace, instance))
        return None if row is None else _standing(row)

    async def standings(self, workspace: str) -> list[Standing]:
        """The states of all instances of a workspace that were ever declared, by name."""
        rows = await self._database.find(DESTINATIONS, {"workspace": workspace}, sort=[("_id", 1)])
        return [_standing(row) for row in rows]

    async def stop(self, one: Standing) -> None:
        """It is broken or paused, until it is asked again at `until` (ms)."""
        row: Document = {"state": one.state, "since": one.since, "until": one.until}
        row |= {"code": one.code, "reason": one.reason, "hint": one.hint}
        await self._database.update_one(DESTINATIONS, _name(one.workspace, one.instance), {"$set": row})

    async def resume(self, one: Standing, now: int) -> Standing:
        """It delivers again."""
        fresh = replace(one, state="delivering", since=now, until=0, code="", reason="", hint="")
        await self.stop(fresh)
        return fresh

    async def may_probe(self, one: Standing, now: int, until: int) -> bool:
        """Whether it is this process that may ask once whether it is well again; the next may at `until` (ms)."""
        wanted = {**_name(one.workspace, one.instance), "state": {"$ne": "delivering"}, "until": {"$lte": now}}
        done = await self._database.update_one(DESTINATIONS, wanted, {"$set": {"until": until}})
        return done.modified == 1


def _key(workspace: str, instance: str, lane: int) -> Document:
    return {"_id": f"{workspace}/{instance}/{lane:02}", "workspace": workspace}


def _name(workspace: str, instance: str) -> Document:
    return {"_id": f"{workspace}/{instance}", "workspace": workspace}


def _position(row: Document) -> Position:
    return Position(row["epoch"], row["seq"], row["at"], row.get("log"), row.get("logUntil", 0))


def _standing(row: Document) -> Standing:
    return Standing(
        workspace=row["workspace"],
        instance=row["instance"],
        connector=row["connector"],
        kinds=tuple(row["kinds"]),
        erases=row["erases"],
        fingerprint=row.get("fingerprint", ""),
        state=row["state"],
        since=row["since"],
        until=row["until"],
        code=row["code"],
        reason=row["reason"],
        hint=row["hint"],
    )
