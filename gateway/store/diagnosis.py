"""What stands between the gateway and a MongoDB, in an operator's words. It writes one row, and takes it away again."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC

from gateway.clock import Clock, random_id
from gateway.errors import GatewayError, SetupError, StoreError, Unavailable
from gateway.model.finding import Finding
from gateway.store.collections import COLLECTIONS
from gateway.store.contracts import Version, Versions
from gateway.store.database import Database, DeleteOne, Document, Driver, InsertOne, connect
from gateway.store.derivation import DerivationStatus
from gateway.store.disk import free_percent
from gateway.store.unreachable import why_unreachable

PROBE = "imports"
"""A collection that has no indexes and that every gateway has: the row of a check does not disturb there."""
_WORKSPACE = "doctor"
_COUNTED = 10_000
_LATELY_MS = 7 * 86_400_000
_NO_SUCH_COLLECTION = 26
_NOT_AUTHORIZED = "refused the credentials"
_CHANGE_SECONDS = 5.0
_SKEW_MS = 2_000

_TESTED = (6, 0)
_FIXED = {(8, 2): 3, (8, 0): 17, (7, 0): 28, (6, 0): 27, (5, 0): 32, (4, 4): 30}
"""The first release of each line without CVE-2025-14847, which hands the server's memory to anybody who connects."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which MongoDB to look at, and what is expected of it."""

    uri: str
    database: str
    driver: Driver = "pymongo"
    embedded: bool = False
    production: bool = False
    contract: str | None = None
    """The hash of the contract folder, unless it does not load."""
    disk_free_percent: float = 5.0


async def examine(target: Target, clock: Clock) -> AsyncGenerator[Finding, None]:
    """Every finding, in the order in which one needs the other; what can no longer be checked is left out."""
    try:
        database = connect(target.uri, target.database, driver=target.driver)
    except SetupError as error:
        yield Finding("mongodb.reachable", "fail", error.message.rstrip("."), error.hint)
        return
    try:
        try:
            asked = clock.now()
            hello = await database.hello()
            answered = clock.now()
        except GatewayError as error:
            yield await why_unreachable(target.uri, error)
            return
        yield Finding("mongodb.reachable", "ok", f"answers at {', '.join(_members(hello, target.uri))}")
        yield _clock(hello, (asked + answered) / 2)
        async for finding in _usable(database, hello, target, clock):
            yield finding
    finally:
        await database.close()


async def _usable(database: Database, hello: Document, target: Target, clock: Clock) -> AsyncGenerator[Finding, None]:
    try:
        build = await database.admin({"buildInfo": 1})
        yield judge_version(str(build["version"]), embedded=target.embedded, local=_local(hello, target.uri))
        replica_set = _replica_set(hello, production=target.production)
        yield replica_set
        if replica_set.state == "fail":
            return
        for finding in await _writes(database, clock):
            yield finding
        newest = await Versions(database).newest()
        if newest is not None:
            yield _contract(newest, target)
            yield await _derivation(DerivationStatus(database), clock.now())
        yield _disk(await free_percent(database), target.disk_free_percent)
        yield await _indexes(database)
    except GatewayError as error:
        yield Finding("mongodb.permissions", "fail", error.message.rstrip("."), _permission(error, target.database))


async def _derivation(status: DerivationStatus, now: int) -> Finding:
    """Whether everybody's events fold, and whether derivation lost its place in the oplog of late."""
    check = "derivation"
    aside = await status.count_set_aside(at_most=_COUNTED)
    lost = [one for one in await status.incidents(limit=1) if one.ended_at is None or now - one.started_at < _LATELY_MS]
    if lost and lost[0].ended_at is None:
        said = "its place in MongoDB's oplog was lost, and not everything is derived again yet"
        return Finding(check, "warn", said, "Keep a gateway running that derives (`serve`); it makes up for it.")
    if aside:
        most = "at least " if aside == _COUNTED else ""
        said = f"{most}{aside:,} user{'' if aside == 1 else 's'} set aside, whose events do not fold"
        fix = "The gateway's log has the ids and the fault; `journey-gateway rebuild` tries them again."
        return Finding(check, "warn", said, fix)
    if lost:
        said = "its place in MongoDB's oplog was lost within the last week; everything was derived again"
        return Finding(check, "warn", said, "Give MongoDB a larger oplog: replSetResizeOplog.")
    return Finding(check, "ok", "everybody's events fold")


def _contract(newest: Version, target: Target) -> Finding:
    """Whether the stored contract is that of the folder."""
    said = f"version {newest.number} counts"
    if target.contract is None or target.contract == newest.hash:
        return Finding("contract.version", "ok", said if target.contract is None else f"{said}, as the folder has it")
    if not target.production:
        return Finding("contract.version", "ok", f"{said}; the folder differs, and the next start applies it")
    fix = "Run `journey-gateway contract apply`, or bring the folder up to date."
    return Finding("contract.version", "warn", f"the folder differs from version {newest.number}, which counts", fix)


def judge_version(version: str, *, embedded: bool, local: bool) -> Finding:
    """Whether this version of MongoDB is one to run."""
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    line, patch = (numbers[0], numbers[1]), numbers[2]
    newest = max(_FIXED)
    vulnerable = patch < _FIXED[line] if line in _FIXED else line < newest
    if embedded:
        return Finding(
            "mongodb.version",
            "warn",
            f"{version}, started by the gateway: for development on this machine only",
            "In production set GATEWAY_MONGO_URI to a replica set of MongoDB 8.0.17 or newer.",
        )
    if vulnerable and not local:
        return Finding(
            "mongodb.version",
            "warn",
            f"{version} discloses memory to anybody who can connect (CVE-2025-14847)",
            f"Upgrade to {line[0]}.{line[1]}.{_FIXED[line]}." if line in _FIXED else "Upgrade to 8.0.17 or newer.",
        )
    if line < _TESTED:
        return Finding(
            "mongodb.version", "warn", f"{version} is older than any the gateway is tested with", "Upgrade to 8.0.17."
        )
    return Finding("mongodb.version", "ok", version)


def _replica_set(hello: Document, *, production: bool) -> Finding:
    check = "mongodb.replica_set"
    if hello.get("msg") == "isdbgrid":
        return Finding(check, "ok", "a sharded cluster")
    if "setName" not in hello:
        return Finding(
            check,
            "fail",
            "MongoDB runs as a standalone server; the gateway needs a replica set (one member is enough)",
            "Start mongod with --replSet rs0 and run rs.initiate() once.",
        )
    members = len(hello.get("hosts", [])) + len(hello.get("passives", []))
    said = (
        f"{hello['setName']}, {members} member{'s' if members != 1 else ''}, primary {hello.get('primary', 'unknown')}"
    )
    if not hello.get("isWritablePrimary"):
        return Finding(
            check,
            "fail",
            f"{hello['setName']}: the member that answers is not the primary",
            "Name the set in GATEWAY_MONGO_URI (?replicaSet=…) instead of directConnection=true.",
        )
    if production and members < 3:
        return Finding(
            check, "warn", said, "Add members until there are three: with fewer, one that is lost stops all writes."
        )
    return Finding(check, "ok", said)


async def _writes(database: Database, clock: Clock) -> list[Finding]:
    """Write a row as events are written, see it come by on a change stream, take it away."""
    row = {"_id": f"doctor-{random_id()}", "workspace": _WORKSPACE}
    found: list[Finding] = []
    try:
        async with database.watch(PROBE, max_await_ms=500) as stream:
            began = clock.monotonic()
            found.append(await _write(database, row, clock))
            seen = False
            while found[0].state == "ok" and not seen and clock.monotonic() - began < _CHANGE_SECONDS:
                seen = any(change["documentKey"]["_id"] == row["_id"] for change in await stream.next_batch(1_000))
    except GatewayError as error:
        fix = _permission(error, database.name)
        found.append(Finding("mongodb.change_streams", "fail", error.message.rstrip("."), fix))
        return found
    if seen:
        found.append(Finding("mongodb.change_streams", "ok", "a change comes by"))
    elif found[0].state == "ok":
        said = f"they open, but a change did not come by within {_CHANGE_SECONDS:.0f} s"
        found.append(
            Finding("mongodb.change_streams", "fail", said, "Check that every member replicates: rs.status().")
        )
    return found


async def _write(database: Database, row: Document, clock: Clock) -> Finding:
    began = clock.monotonic()
    try:
        await database.bulk_write(PROBE, [InsertOne(row)])
        took = (clock.monotonic() - began) * 1000
        await database.bulk_write(PROBE, [DeleteOne(row)])
    except Unavailable:
        with suppress(GatewayError):
            await database.bulk_write(PROBE, [DeleteOne(row)])
        return Finding(
            "mongodb.write_concern",
            "fail",
            "a write is not confirmed by the journals of a majority of members",
            "Bring the missing members back (rs.status() names them), or take them out of the set with rs.remove().",
        )
    return Finding("mongodb.write_concern", "ok", f"majority and journal, in {took:.0f} ms")


async def _indexes(database: Database) -> Finding:
    """Whether every index that the gateway makes at its start is there and the same."""
    missing, made, wanted = [], 0, 0
    for collection in COLLECTIONS:
        there = await _index_keys(database, collection.name)
        made += there is not None
        for index in collection.indexes:
            wanted += 1
            if tuple(index.keys) not in (there or {}):
                missing.append(f"{collection.name} ({', '.join(key for key, _ in index.keys)})")
    if made == 0 or (made == 1 and len(missing) == wanted):
        return Finding("mongodb.indexes", "ok", "none yet: the first start makes them")
    if missing:
        return Finding(
            "mongodb.indexes",
            "fail",
            f"missing: {'; '.join(missing)}",
            "Start the gateway again: it builds what is missing before it takes events.",
        )
    return Finding("mongodb.indexes", "ok", f"all {wanted} are there")


def _disk(free: float | None, limit: float) -> Finding:
    """Whether MongoDB's disk has the room below which the gateway takes no events."""
    if free is None:
        return Finding("mongodb.disk", "ok", "MongoDB does not say how full its disk is; it is not watched")
    said = f"{free:.0f} % of MongoDB's disk is free"
    fix = "Free some space or grow the volume: mongod stops when its disk is full."
    if free < limit:
        return Finding("mongodb.disk", "fail", f"{said}; below {limit:g} % no events are taken", fix)
    return Finding("mongodb.disk", "warn" if free < 2 * limit else "ok", said, fix if free < 2 * limit else "")


async def _index_keys(database: Database, collection: str) -> set[tuple[tuple[str, int], ...]] | None:
    """The keys of every index; None when there is no such collection."""
    try:
        reply = await database.admin({"listIndexes": collection, "cursor": {"batchSize": 1_000}}, on=database.name)
    except StoreError as error:
        if error.number == _NO_SUCH_COLLECTION:
            return None
        raise
    rows: list[Document] = reply["cursor"]["firstBatch"]
    return {tuple((key, int(direction)) for key, direction in row["key"].items()) for row in rows}


def _clock(hello: Document, now: float) -> Finding:
    offset = hello["localTime"].replace(tzinfo=UTC).timestamp() * 1000 - now
    said = f"MongoDB's clock is {abs(offset) / 1000:.1f} s {'ahead of' if offset > 0 else 'behind'} this machine's"
    if abs(offset) > _SKEW_MS:
        fix = "Let both keep time by NTP. Events get MongoDB's time, so if that is the wrong one, mend it first."
        return Finding("mongodb.clock", "warn", said, fix)
    return Finding("mongodb.clock", "ok", "the same time as on this machine")


def _permission(error: GatewayError, database: str) -> str:
    if _NOT_AUTHORIZED in error.message:
        return f'Give the user the role readWrite on the database "{database}", or correct GATEWAY_MONGO_URI.'
    return error.hint or "Check the log of mongod."


def _members(hello: Document, uri: str) -> list[str]:
    return [*hello.get("hosts", []), *hello.get("passives", [])] or [
        re.split(r"[/?]", uri.split("@")[-1].split("//")[-1])[0]
    ]


def _local(hello: Document, uri: str) -> bool:
    """Whether every member listens on this machine's loopback, as far as their addresses say."""
    return all(_is_loopback(member.rpartition(":")[0] or member) for member in _members(hello, uri))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
