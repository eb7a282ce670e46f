"""A replica set of three mongods on loopback ports, each known to the others and to clients by its proxy's address."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from gateway.store.mongod_binary import find_mongod
from tests.faults.processes import Process, free_port
from tests.faults.proxy import Proxy
from tests.pace import PATIENCE

T = TypeVar("T")

SET = "faults"
_SHUTDOWN_SECONDS = 20
_IN_THE_MAKING = (23, 109)


class Member:
    """One mongod. `port` is its own, `proxy.port` the one in the set's configuration."""

    def __init__(self, number: int, directory: Path, oplog_megabytes: int, transaction_seconds: int) -> None:
        self.number = number
        self.directory = directory
        self.oplog_megabytes = oplog_megabytes
        self.transaction_seconds = transaction_seconds
        self.port = free_port()
        self.proxy = Proxy(self.port)
        self.process = Process(f"mongod {number}", directory / f"mongod{number}.out")
        self.disk: Path | None = None
        address = f"mongodb://127.0.0.1:{self.port}/?directConnection=true&appName=faults"
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            address, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000, socketTimeoutMS=5000, connect=False
        )

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"

    def start(self) -> None:
        data = (self.disk or self.directory) / f"db{self.number}"
        data.mkdir(exist_ok=True)
        self.process.start(
            [
                *(str(_binary()), "--replSet", SET, "--bind_ip", "127.0.0.1", "--port", str(self.port)),
                *("--dbpath", str(data), "--logpath", str(self.directory / f"mongod{self.number}.log"), "--logappend"),
                *("--nounixsocket", "--noscripting", "--wiredTigerCacheSizeGB", "0.25"),
                *("--oplogSize", str(self.oplog_megabytes), "--syncdelay", "5"),
                *("--setParameter", "enableTestCommands=1"),
                *("--setParameter", "diagnosticDataCollectionEnabled=false"),
                *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
                # A secondary that follows a member which stands still turns to another after 1 s instead of 5.
                *("--setParameter", "oplogNetworkTimeoutBufferSeconds=1"),
                # A transaction whose process died keeps its locks until then.
                *("--setParameter", f"transactionLifetimeLimitSeconds={self.transaction_seconds}"),
            ]
        )

    async def command(self, command: Mapping[str, Any], on: str = "admin") -> dict[str, Any]:
        """The reply of one command, of this very member. Raises PyMongoError."""
        return await asyncio.to_thread(lambda: self._client[on].command(dict(command)))

    async def hello(self) -> dict[str, Any]:
        """Its hello, or nothing when it does not answer."""
        if not self.process.running or self.process.frozen:
            return {}
        try:
            return await self.command({"hello": 1})
        except PyMongoError:
            return {}

    async def restart(self) -> None:
        """Start again after its end, and wait until it takes part."""
        self.start()
        await until(self.takes_part, f"{self.process.name} takes part again")

    async def takes_part(self) -> bool:
        hello = await self.hello()
        return bool(hello.get("isWritablePrimary") or hello.get("secondary"))

    def close(self) -> None:
        self._client.close()


class Mongods:
    """Three members. Transactions last as long at most as under the embedded mongod; the server's default is 60 s."""

    def __init__(self, directory: Path, *, oplog_megabytes: int = 256, transaction_seconds: int = 10) -> None:
        self.directory = directory
        self.members = [Member(number, directory, oplog_megabytes, transaction_seconds) for number in range(3)]

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(member.name for member in self.members)}/?replicaSet={SET}"

    async def start(self, *, tmpfs_megabytes: int = 0) -> None:
        """Start and initiate; there is a primary on return. The last one's files may stand on a small disk (root)."""
        if tmpfs_megabytes:
            self.members[-1].disk = mount_tmpfs(self.directory / "disk", tmpfs_megabytes)
        for member in self.members:
            await member.proxy.start()
            member.start()
        config = {
            "_id": SET,
            "members": [{"_id": member.number, "host": member.name} for member in self.members],
            "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200, "catchUpTimeoutMillis": 2000},
        }
        await until(lambda: self._initiated(config), "the replica set is initiated")
        await self.settle()

    async def stop(self) -> None:
        """End every mongod, at once; the run's directory goes with it."""
        for member in self.members:
            member.process.kill()
            await asyncio.to_thread(member.close)
            await member.proxy.stop()
            if member.disk is not None:
                unmount(member.disk)

    async def primary(self) -> Member:
        """The member that is primary now, waited for."""
        found: list[Member] = []

        async def look() -> bool:
            found[:] = [member for member in self.members if (await member.hello()).get("isWritablePrimary")]
            return len(found) == 1

        await until(look, "there is one primary")
        return found[0]

    async def on_primary(self, command: Mapping[str, Any], on: str = "admin") -> dict[str, Any]:
        """The reply of the primary, asked again until it gives one; to be used where twice does no harm."""
        found: list[dict[str, Any]] = []

        async def ask() -> bool:
            primary = await self.primary()
            with suppress(PyMongoError):
                found.append(await primary.command(command, on))
            return bool(found)

        await until(ask, f"the primary answers {next(iter(command))}", seconds=2 * PATIENCE)
        return found[0]

    async def secondaries(self) -> list[Member]:
        primary = await self.primary()
        return [member for member in self.members if member is not primary]

    async def settle(self) -> None:
        """Wait until one member is primary, and the others follow it closely."""
        await until(self._settled, "the replica set is whole", seconds=2 * PATIENCE)

    async def make_primary(self, member: Member) -> None:
        """Have this member elected, if it can be."""
        if (await self.primary()) is not member:
            with suppress(PyMongoError):
                await member.command({"replSetStepUp": 1})
            await self.primary()

    async def _initiated(self, config: dict[str, Any]) -> bool:
        for member in self.members:
            assert member.process.running, member.process.tail()
        try:
            await self.members[0].command({"replSetInitiate": config})
        except OperationFailure as error:
            return error.code in _IN_THE_MAKING
        except PyMongoError:
            return False
        return True

    async def _settled(self) -> bool:
        hellos = [await member.hello() for member in self.members]
        if sorted(_role(hello) for hello in hellos) != ["primary", "secondary", "secondary"]:
            return False
        try:
            status = await self.members[0].command({"replSetGetStatus": 1})
        except PyMongoError:
            return False
        times = [member["optimeDate"] for member in status["members"]]
        return bool((max(times) - min(times)).total_seconds() < 3)


def _role(hello: Mapping[str, Any]) -> str:
    return "primary" if hello.get("isWritablePrimary") else "secondary" if hello.get("secondary") else "other"


def _binary() -> Path:
    given = os.environ.get("GATEWAY_MONGOD")
    return find_mongod(Path(given) if given else None)


async def until(done: Any, what: str, *, seconds: float = PATIENCE, interval: float = 0.05) -> None:
    """Ask `done()` again until it says yes; TimeoutError says what was waited for."""
    deadline = time.monotonic() + seconds
    while not await done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}")
        await asyncio.sleep(interval)


def can_mount() -> bool:
    return os.geteuid() == 0 and Path("/proc/mounts").exists()


def mount_tmpfs(directory: Path, megabytes: int) -> Path | None:
    """A disk of that size; None where it cannot be had."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    return directory if done.returncode == 0 else None


def unmount(directory: Path) -> None:
    subprocess.run(["umount", "-l", str(directory)], capture_output=True, check=False)
