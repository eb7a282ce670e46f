"""Versions of the contract, each with the texts of its files. They belong to the whole gateway, not to a workspace."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.contract import Contract
from gateway.errors import InvalidInput, StoreError
from gateway.store.database import Database, Document

COLLECTION = "contracts"

_NEWEST_FIRST = [("_id", -1)]
_HEAD = {"files": 0}


@dataclass(frozen=True, slots=True)
class Version:
    """One applied version. Numbers are dense from 1; `applied_at` is mongod's time in milliseconds.

    `applied_by` is what applied it (`start` or `contract apply`), `hash` that of the texts, `journeys_hash` that of
    the maps they hold. `files` is empty where only the head was read.
    """

    number: int
    name: str
    hash: str
    journeys_hash: str
    applied_at: int
    applied_by: str
    note: str = ""
    files: dict[str, str] = field(default_factory=dict, repr=False)


class VersionMoved(InvalidInput):
    """Another version counts than the one to be followed."""


class Versions:
    """A row per version, its number as `_id`: of two processes that apply at once, one gets the number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> Version | None:
        """The version that counts; None before the first."""
        row = await self._database.find_one(COLLECTION, {}, sort=_NEWEST_FIRST)
        return None if row is None else _version(row)

    async def newest_number(self) -> int:
        """Its number, 0 before the first."""
        row = await self._database.find_one(COLLECTION, {}, projection={"_id": 1}, sort=_NEWEST_FIRST)
        return 0 if row is None else int(row["_id"])

    async def get(self, number: int) -> Version | None:
        row = await self._database.find_one(COLLECTION, {"_id": number})
        return None if row is None else _version(row)

    async def heads_between(
        self, *, since: int = 0, until: int | None = None, before: int | None = None, limit: int = 0
    ) -> list[Version]:
        """Versions applied from `since` up to, but not including, `until` (ms), without their files, the newest first;
        only those with a lower number than `before`."""
        at: Document = {"$gte": since} if until is None else {"$gte": since, "$lt": until}
        wanted: Document = {"appliedAt": at} if before is None else {"appliedAt": at, "_id": {"$lt": before}}
        rows = await self._database.find(COLLECTION, wanted, projection=_HEAD, sort=_NEWEST_FIRST, limit=limit)
        return [_version(row) for row in rows]

    async def heads_after(self, number: int, *, upto: int, limit: int) -> list[Version]:
        """Versions with numbers behind `number`, `upto` at most, without their files, the oldest first."""
        wanted: Document = {"_id": {"$gt": number, "$lte": upto}}
        rows = await self._database.find(COLLECTION, wanted, projection=_HEAD, sort=[("_id", 1)], limit=limit)
        return [_version(row) for row in rows]

    async def texts(self, path: str, *, until: int) -> list[tuple[int, int, str | None]]:
        """What each version applied before `until` (ms) says in one file, as (number, applied at, text), the oldest
        first; None where it has no such file."""
        wanted = {"appliedAt": {"$lt": until}}
        projection = {"appliedAt": 1, "files": {"$elemMatch": {"path": path}}}
        rows = await self._database.find(COLLECTION, wanted, projection=projection, sort=[("_id", 1)])
        found = []
        for row in rows:
            texts = [file["text"] for file in row.get("files", ())]
            found.append((row["_id"], row["appliedAt"], texts[0] if texts else None))
        return found

    async def numbered(self, hash: str) -> int | None:
        """The newest version that says these very texts; None when none ever did."""
        row = await self._database.find_one(COLLECTION, {"hash": hash}, projection={"_id": 1}, sort=_NEWEST_FIRST)
        return None if row is None else int(row["_id"])

    async def heads(self) -> list[Version]:
        """Every version without its files, the newest first."""
        rows = await self._database.find(COLLECTION, {}, projection=_HEAD, sort=_NEWEST_FIRST)
        return [_version(row) for row in rows]

    async def apply(
        self, contract: Contract, *, now: int, by: str, note: str = "", onto: int | None = None
    ) -> tuple[Version, bool]:
        """Make `contract` the version that counts; says also whether that was new.

        The same texts as those of the current version change nothing. Whoever applies at the same time comes before
        or after, never in the same place. With `onto` it follows that version or none: raises VersionMoved.
        """
        while True:
            current = await self.newest()
            if current is not None and current.hash == contract.hash:
                return current, False
            if onto is not None and (current is None or current.number != onto):
                raise VersionMoved("Another version of the contract counts by now.", hint="Try again on top of it.")
            number = 1 if current is None else current.number + 1
            version = Version(
                number, contract.name, contract.hash, contract.journeys_hash, now, by, note, dict(contract.files)
            )
            outcome = await self._database.insert_unordered(COLLECTION, [_row(version)])
            if outcome.failed:
                raise StoreError("MongoDB refused the contract.", number=outcome.failed[0])
            if outcome.inserted:
                return version, True


def _row(version: Version) -> Document:
    return {
        "_id": version.number,
        "name": version.name,
        # A list: paths have dots, which MongoDB reads as a way into a document.
        "files": [{"path": path, "text": text} for path, text in sorted(version.files.items())],
        "hash": version.hash,
        "journeysHash": version.journeys_hash,
        "appliedAt": version.applied_at,
        "appliedBy": version.applied_by,
        "note": version.note,
    }


def _version(row: Document) -> Version:
    return Version(
        number=row["_id"],
        name=row["name"],
        hash=row["hash"],
        journeys_hash=row["journeysHash"],
        applied_at=row["appliedAt"],
        applied_by=row["appliedBy"],
        note=row.get("note", ""),
        files={file["path"]: file["text"] for file in row.get("files", ())},
    )
