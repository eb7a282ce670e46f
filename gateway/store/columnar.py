"""The manifest of the columnar projection: which parts hold which events, how far they reach, and who may write them.

`columnar_manifest` has three kinds of rows, each with its workspace. The *head* names the generation that is read, the
one that is being built, and the writer: an owner, an epoch that every take-over raises, and until when it is believed
to live (server time). A *generation* says how far it has come: a position of the feed for each lane, and, while it is
built from `events`, where that reading is. A *part* is one Parquet file.

Parts and positions change in one transaction that also writes the head under the writer's epoch (the fence), so that a
writer that lost the workspace without knowing commits nothing. `version` grows with every change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.model.identity import LANES
from gateway.store.database import Database, DeleteOne, Document, InsertOne, Operation, Session, UpdateOne
from gateway.store.lanes import LeaseLost

COLLECTION = "columnar_manifest"

#: Positions of the feed, by lane.
Positions = tuple[int, ...]
_HEAD, _GENERATION, _PART, _ERASURE = "head", "generation", "part", "erasure"
_NONE_YET: Document = {"epoch": 0, "owner": None, "current": 0, "building": 0, "numbered": 0, "version": 0}


@dataclass(frozen=True, slots=True)
class Part:
    """One file. `first` and `last` are the least and greatest `at` (ms) in it; `names` counts its rows by event name.

    `month` (YYYY-MM, UTC) is set when all its rows are of one; `level` counts how often they were merged. A part that
    was replaced (`retired_at`, ms) is no longer read; its file goes a while later.
    """

    file: str
    generation: int
    rows: int
    bytes: int
    first: int
    last: int
    names: Mapping[str, int]
    level: int = 0
    month: str | None = None
    retired_at: int | None = None

    def rows_of(self, names: Collection[str] | None) -> int:
        """How many rows have one of these names; None: any."""
        return self.rows if names is None else sum(self.names.get(name, 0) for name in names)


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the reading of all stored events is: behind this place in their order."""

    at: int = -(2**63)
    seq: int = 0
    id: bytes = b""


@dataclass(frozen=True, slots=True)
class Generation:
    """One build of the projection. `reading` is None once all that was stored has been read.

    Events received up to `scanned` (ms) may be in parts although the feed tells of them later.
    """

    number: int
    positions: Positions = (0,) * LANES
    reading: Reading | None = None
    scanned: int = -1


@dataclass(frozen=True, slots=True)
class Head:
    """What is read, what is built, and who writes. `current` 0: nothing can be read yet. `store` names the folder that
    holds the parts. `asked`: a rebuild is wanted."""

    workspace: str
    epoch: int = 0
    owner: str | None = None
    current: int = 0
    building: int = 0
    numbered: int = 0
    version: int = 0
    store: str | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of one workspace at one moment."""

    head: Head
    generations: Mapping[int, Generation] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    erasures: tuple[ToRewrite, ...] = ()

    @property
    def current(self) -> Generation | None:
        """The generation that is read."""
        return self.generations.get(self.head.current)

    @property
    def building(self) -> Generation | None:
        return self.generations.get(self.head.building)

    def live(self, generation: int) -> list[Part]:
        """Its parts that are read."""
        return [part for part in self.parts if part.generation == generation and part.retired_at is None]


@dataclass(frozen=True, slots=True)
class ToRewrite:
    """Identities, as sent, whose rows have to leave the parts, for a round of an erasure; `rows`: how many have."""

    id: str
    erasure: str
    round: int
    sks: tuple[str, ...]
    done: bool = False
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to write a workspace's parts, as long as the epoch stands."""

    workspace: str
    owner: str
    epoch: int


@dataclass(slots=True)
class Changes:
    """What one commit writes."""

    add: list[Part] = field(default_factory=list)
    retire: list[Part] = field(default_factory=list)
    forget: list[Part] = field(default_factory=list)
    generation: Generation | None = None
    drop: list[int] = field(default_factory=list)
    head: Document = field(default_factory=dict)
    rewritten: Mapping[str, int] = field(default_factory=dict)
    done: Sequence[str] = ()


class Manifests:
    """Rows of all workspaces; parts and generations are written by whoever holds the workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, workspace: str) -> Manifest:
        """All rows as of one moment."""

        async def transact(session: Session) -> list[Document]:
            return await self._database.find(COLLECTION, {"workspace": workspace}, session=session)

        return _manifest(workspace, await self._database.with_transaction(transact))

    async def head(self, workspace: str) -> Head:
        """The head alone."""
        row = await self._database.find_one(COLLECTION, _key(workspace))
        return Head(workspace) if row is None else _head(row)

    # -- who writes ---------------------------------------------------------------------------------------------

    async def acquire(self, workspace: str, owner: str, seconds: float) -> Hold | None:
        """The right to write, under a new epoch; None while somebody else has it."""
        key = _key(workspace)
        fresh = {"kind": _HEAD, **_NONE_YET}
        await self._database.update_one(COLLECTION, key, {"$setOnInsert": fresh}, upsert=True)
        free = {"$or": [{"$in": ["$owner", [None, owner]]}, {"$lt": ["$until", "$$NOW"]}]}
        taken = {"owner": owner, "until": _until(seconds), "epoch": {"$add": ["$epoch", 1]}}
        row = await self._database.find_one_and_update(COLLECTION, {**key, "$expr": free}, [{"$set": taken}])
        return None if row is None else Hold(workspace, owner, row["epoch"])

    async def beat(self, hold: Hold, seconds: float) -> None:
        """Say that the writer lives. Raises LeaseLost."""
        done = await self._database.update_one(COLLECTION, _held(hold), [{"$set": {"until": _until(seconds)}}])
        if not done.matched:
            raise LeaseLost("Another process writes the parts now.")

    async def release(self, hold: Hold) -> None:
        """Let somebody else write at once."""
        await self._database.update_one(COLLECTION, _held(hold), {"$set": {"owner": None}})

    async def commit(self, hold: Hold, changes: Changes) -> None:
        """Write all of it or nothing, under the epoch. Raises LeaseLost, also when a part to be replaced is no longer
        there."""

        async def transact(session: Session) -> None:
            head: Document = {"$inc": {"version": 1}}
            if changes.head:
                head["$set"] = changes.head
            fenced = await self._database.update_one(COLLECTION, _held(hold), head, session=session)
            if not fenced.matched:
                raise LeaseLost("Another process writes the parts now.")
            if await self._retire(hold.workspace, changes.retire, session) < len(changes.retire):
                raise LeaseLost("A part that was to be replaced is gone.")
            operations = self._operations(hold.workspace, changes)
            await self._database.bulk_write(COLLECTION, operations, session=session)

        await self._database.with_transaction(transact)

    async def _retire(self, workspace: str, parts: Sequence[Part], session: Session) -> int:
        operations: list[Operation] = []
        for part in parts:
            found = {**_key(workspace, part.file), "retiredAt": None}
            operations.append(UpdateOne(found, {"$set": {"retiredAt": part.retired_at}}))
        return (await self._database.bulk_write(COLLECTION, operations, session=session)).matched

    def _operations(self, workspace: str, changes: Changes) -> list[Operation]:
        operations: list[Operation] = [InsertOne(_part_row(workspace, part)) for part in changes.add]
        operations += [DeleteOne(_key(workspace, part.file)) for part in changes.forget]
        if changes.generation is not None:
            row = _generation_row(workspace, changes.generation)
            operations.append(UpdateOne(_key(workspace, row.pop("_id")), {"$set": row}, upsert=True))
        operations += [DeleteOne(_key(workspace, _generation_id(number))) for number in changes.drop]
        for key, rows in changes.rewritten.items():
            operations.append(UpdateOne(_key(workspace, key), {"$inc": {"rows": rows}}))
        operations += [UpdateOne(_key(workspace, key), {"$set": {"done": True}}) for key in changes.done]
        return operations

    # -- what others ask for ------------------------------------------------------------------------------------

    async def ask_to_rebuild(self, workspace: str) -> None:
        """Have whoever writes build a new generation."""
        fresh = {"kind": _HEAD, **_NONE_YET}
        await self._database.update_one(
            COLLECTION, _key(workspace), {"$set": {"asked": True}, "$setOnInsert": fresh}, upsert=True
        )

    async def ask_to_rewrite(self, workspace: str, erasure: str, round_: int, sks: Collection[str]) -> ToRewrite | None:
        """Have rows of these identities taken out of the parts; how far that is, None where there are no parts."""
        head = await self._database.find_one(COLLECTION, _key(workspace))
        if head is None or not head["numbered"]:
            return None
        key = _key(workspace, f"erasure/{erasure}/{round_}")
        fresh: Document = {"kind": _ERASURE, "erasure": erasure, "round": round_, "sks": sorted(sks)}
        fresh |= {"done": False, "rows": 0}
        await self._database.update_one(COLLECTION, key, {"$setOnInsert": fresh}, upsert=True)
        row = await self._database.find_one(COLLECTION, key)
        return None if row is None else _to_rewrite(row)

    async def forget_rewrite(self, workspace: str, erasure: str, round_: int) -> None:
        """Its receipt has been written: nothing keeps on naming who it was."""
        key = _key(workspace, f"erasure/{erasure}/{round_}")
        await self._database.delete_many(COLLECTION, key)


def _manifest(workspace: str, rows: Sequence[Document]) -> Manifest:
    head, generations, parts, erasures = Head(workspace), {}, [], []
    for row in rows:
        match row["kind"]:
            case "head":
                head = _head(row)
            case "generation":
                generations[row["number"]] = _generation(row)
            case "erasure":
                erasures.append(_to_rewrite(row))
            case _:
                parts.append(_part(row))
    return Manifest(head, generations, tuple(sorted(parts, key=lambda part: part.file)), tuple(erasures))


def _key(workspace: str, rest: str = _HEAD) -> Document:
    return {"_id": f"{workspace}/{rest}", "workspace": workspace}


def _held(hold: Hold) -> Document:
    return {**_key(hold.workspace), "owner": hold.owner, "epoch": hold.epoch}


def _until(seconds: float) -> Document:
    return {"$add": ["$$NOW", int(seconds * 1000)]}


def _head(row: Document) -> Head:
    numbers = {name: row[name] for name in ("epoch", "owner", "current", "building", "numbered", "version")}
    return Head(row["workspace"], store=row.get("store"), asked=row.get("asked", False), **numbers)


def _generation_id(number: int) -> str:
    return f"{_GENERATION}/{number:06}"


def _generation_row(workspace: str, one: Generation) -> Document:
    reading = None if one.reading is None else [one.reading.at, one.reading.seq, one.reading.id]
    row: Document = {"_id": _generation_id(one.number), "workspace": workspace, "kind": _GENERATION}
    return row | {
        "number": one.number,
        "positions": list(one.positions),
        "reading": reading,
        "scanned": one.scanned,
    }


def _generation(row: Document) -> Generation:
    stored = row["reading"]
    reading = None if stored is None else Reading(stored[0], stored[1], bytes(stored[2]))
    return Generation(row["number"], tuple(row["positions"]), reading, row["scanned"])


def _part_row(workspace: str, part: Part) -> Document:
    return {
        **_key(workspace, part.file),
        "kind": _PART,
        "file": part.file,
        "generation": part.generation,
        "rows": part.rows,
        "bytes": part.bytes,
        "first": part.first,
        "last": part.last,
        # Pairs, because MongoDB reads dots and dollars in keys.
        "names": [[name, rows] for name, rows in sorted(part.names.items())],
        "level": part.level,
        "month": part.month,
        "retiredAt": part.retired_at,
    }


def _part(row: Document) -> Part:
    return Part(
        file=row["file"],
        generation=row["generation"],
        rows=row["rows"],
        bytes=row["bytes"],
        first=row["first"],
        last=row["last"],
        names=dict(row["names"]),
        level=row["level"],
        month=row["month"],
        retired_at=row["retiredAt"],
    )


def _to_rewrite(row: Document) -> ToRewrite:
    return ToRewrite(
        row["_id"].partition("/")[2], row["erasure"], row["round"], tuple(row["sks"]), row["done"], row["rows"]
    )


def retired(parts: Sequence[Part], now: int) -> list[Part]:
    """These parts as replaced at `now` (ms)."""
    return [replace(part, retired_at=now) for part in parts]
