"""Faults, one after another, each healed before the next: what, on whom and how long comes from the seed."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymongo.errors import PyMongoError

from tests.faults.gateways import LEASE_SECONDS, Gateway
from tests.faults.history import History
from tests.faults.mongods import Member, Mongods, until
from tests.faults.proxy import Proxy
from tests.pace import PATIENCE

_PAUSE = (0.5, 1.5)
_FILLER_MEGABYTES = 15


@dataclass(slots=True)
class Fault:
    """One fault. Times are monotonic seconds: when it began, was healed, and everything was well again."""

    kind: str
    detail: str
    began: float
    healed: float = 0.0
    settled: float = 0.0


class Nemesis:
    """Breaks what it is given, and mends it."""

    def __init__(self, mongods: Mongods, gateways: Sequence[Gateway], history: History, seed: int) -> None:
        self.faults: list[Fault] = []
        #: Kinds that cannot be had here, with the reason.
        self.skipped: dict[str, str] = {}
        self._mongods = mongods
        self._gateways = gateways
        self._history = history
        self._chance = random.Random(f"nemesis {seed}")

    async def run(self, kinds: Sequence[str], rounds: int, *, seconds: float | None = None) -> None:
        """Every kind in every round, in an order of its own.

        With `seconds` in the order given, and no new fault begins after that time.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        for _ in range(rounds):
            order = [kind for kind in kinds if self._can(kind)]
            if ends is None:
                self._chance.shuffle(order)
            for kind in order:
                if ends is not None and time.monotonic() > ends:
                    self.skipped.setdefault(kind, "no time was left for it")
                    continue
                await self._one(kind)

    def _can(self, kind: str) -> bool:
        if kind == "disk_full" and self._mongods.members[-1].disk is None:
            self.skipped[kind] = "only root can mount a small tmpfs"
            return False
        return True

    async def _one(self, kind: str) -> None:
        fault = Fault(kind, "", time.monotonic())
        self.faults.append(fault)
        fault.detail = await KINDS[kind](self)
        fault.healed = time.monotonic()
        await self.settle()
        fault.settled = time.monotonic()
        print(f"  {kind:16} {fault.settled - fault.began:5.1f} s  {fault.detail}", flush=True)
        await asyncio.sleep(self._chance.uniform(*_PAUSE))

    async def settle(self) -> None:
        """Wait until the replica set is whole, both gateways are ready, and events are acknowledged again."""
        await self._mongods.settle()
        for gateway in self._gateways:
            if not gateway.process.running:
                self._history.anomaly(f"{gateway.process.name} ended by itself", said=gateway.process.tail(500))
                await gateway.restart()
            await gateway.ready()
        seen = len(self._history.acknowledged_at)

        async def flows() -> bool:
            return len(self._history.acknowledged_at) > seen

        await until(flows, "events are acknowledged again")

    # -- gateways -------------------------------------------------------------------------------------------------

    async def gateway_killed(self) -> str:
        """kill -9 in the middle of whatever it does."""
        gateway = self._chance.choice(self._gateways)
        gateway.process.kill()
        await self._wait(0, 2)
        await gateway.restart()
        return gateway.process.name

    async def gateway_frozen(self) -> str:
        """Each in turn stands still beyond its lease, then goes on as if nothing had been: a zombie."""
        order = list(self._gateways)
        self._chance.shuffle(order)
        for gateway in order:
            gateway.process.freeze()
            await self._wait(LEASE_SECONDS * 1.2, LEASE_SECONDS * 1.8)
            gateway.process.thaw()
            await self._wait(0, 0.5)
        return ", ".join(gateway.process.name for gateway in order)

    async def gateways_rolling(self) -> str:
        """SIGTERM, wait, start: one after the other."""
        for gateway in self._gateways:
            await gateway.process.terminate(PATIENCE)
            if gateway.process.status != 0:
                said = gateway.process.tail(500)
                self._history.anomaly(f"{gateway.process.name} stopped with {gateway.process.status}", said=said)
            await gateway.restart()
        return "both"

    async def clock_jump(self) -> str:
        """The wall clock of one gateway is an hour off for a while."""
        offset = self._chance.choice(("+3600", "-3600"))
        gateway = self._gateways[-1]
        gateway.set_clock(offset)
        await self._wait(2, 4)
        gateway.set_clock("+0")
        return f"{gateway.process.name} by {offset} s"

    # -- MongoDB --------------------------------------------------------------------------------------------------

    async def primary_killed(self) -> str:
        primary = await self._mongods.primary()
        primary.process.kill()
        await self._wait(1, 3)
        await primary.restart()
        return primary.process.name

    async def primary_frozen(self) -> str:
        """Longer than an election takes; it believes to be primary when it comes back."""
        primary = await self._mongods.primary()
        primary.process.freeze()
        await self._wait(4, 7)
        primary.process.thaw()
        return primary.process.name

    async def stepdown(self) -> str:
        primary = await self._mongods.primary()
        with suppress(PyMongoError):
            await primary.command({"replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 2, "force": True})
        return primary.process.name

    async def mongods_rolling(self) -> str:
        """SIGTERM and start, the primary last."""
        for member in [*await self._mongods.secondaries(), await self._mongods.primary()]:
            await member.process.terminate(PATIENCE)
            await member.restart()
            await self._mongods.settle()
        return "all three"

    async def majority_unreachable(self) -> str:
        """The primary goes on alone: nothing it takes can be acknowledged."""
        secondaries = await self._mongods.secondaries()
        if self._chance.random() < 0.5:
            for member in secondaries:
                await self._fail_point(member, "stopReplProducer", "alwaysOn")
            await self._wait(3, 7)
            for member in secondaries:
                await self._fail_point(member, "stopReplProducer", "off")
            return "both secondaries stopped to replicate"
        for member in secondaries:
            member.process.freeze()
        await self._wait(3, 7)
        for member in secondaries:
            member.process.thaw()
        return "both secondaries frozen"

    async def fail_command(self) -> str:
        """A dozen commands of the gateways fail, in one way or another."""
        ways: Mapping[str, dict[str, Any]] = {
            "closeConnection": {"closeConnection": True},
            "NotWritablePrimary": {"errorCode": 10107, "errorLabels": ["RetryableWriteError"]},
            "ShutdownInProgress": {"errorCode": 91, "errorLabels": ["RetryableWriteError"]},
            "writeConcernError": {"writeConcernError": {"code": 64, "errmsg": "planted", "errInfo": {}}},
        }
        commands = ["insert", "update", "find", "findAndModify", "getMore", "aggregate", "commitTransaction"]
        done = []
        for _ in range(4):
            way = self._chance.choice(list(ways))
            hit = self._chance.sample(commands, 3)
            if way == "writeConcernError":
                hit = ["insert", "update", "findAndModify", "commitTransaction"]
            times = self._chance.randint(1, 5)
            data = {"failCommands": hit, "appName": "journey-gateway", **ways[way]}
            primary = await self._mongods.primary()
            await self._fail_point(primary, "failCommand", {"times": times}, data)
            await self._wait(0.3, 1)
            await self._fail_point(primary, "failCommand", "off")
            done.append(f"{way} x{times}")
        return ", ".join(done)

    async def oplog_rolled(self) -> str:
        """Nobody derives while the oplog rolls over what waits to be derived."""
        for gateway in self._gateways:
            gateway.process.kill()
        ask, size = self._mongods.on_primary, self._mongods.members[0].oplog_megabytes
        position = (await ask({"hello": 1}))["lastWrite"]["opTime"]["ts"]
        rows = [{"_": "x" * 1_000_000}] * _FILLER_MEGABYTES
        written = 0
        while True:
            oldest = await ask({"find": "oplog.rs", "limit": 1, "sort": {"$natural": 1}}, "local")
            if oldest["cursor"]["firstBatch"][0]["ts"] > position:
                break
            assert written < 20 * size, "the oplog does not roll over"
            fill = {"insert": "rows", "documents": rows, "writeConcern": {"w": 3, "wtimeout": 4_000}}
            if "writeConcernError" in await ask(fill, "filler"):
                await self._mongods.settle()  # a secondary that is left behind by the oplog never comes back
            written += _FILLER_MEGABYTES
            if written > size:
                await ask({"fsync": 1})
        await ask({"dropDatabase": 1}, "filler")
        await asyncio.gather(*(gateway.restart() for gateway in self._gateways))
        return f"after {written} MB"

    async def disk_full(self) -> str:
        """The disk of one member fills up; mongod ends itself. More room, and it starts again."""
        member = self._mongods.members[-1]
        assert member.disk is not None
        if self._chance.random() < 0.7:
            await self._mongods.make_primary(member)
        ballast = member.disk / "ballast"
        for _ in range(10):  # mongod takes from what is free meanwhile
            free = os.statvfs(member.disk)
            with ballast.open("wb") as file, suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - 65_536))
                break
        ended = await member.process.ended(30)
        ballast.unlink()
        if ended:
            await member.restart()
        return f"{member.process.name} {'ended' if ended else 'went on'}"

    async def _fail_point(self, member: Member, name: str, mode: Any, data: dict[str, Any] | None = None) -> None:
        with suppress(PyMongoError):
            await member.command({"configureFailPoint": name, "mode": mode, **({"data": data} if data else {})})

    # -- connections ----------------------------------------------------------------------------------------------

    async def connections_reset(self) -> str:
        """Broken, and good at once again, a few times."""
        name, proxy = await self._line()
        for _ in range(3):
            proxy.reset()
            await self._wait(0.2, 1)
        return name

    async def connections_cut(self) -> str:
        name, proxy = await self._line()
        proxy.cut()
        await self._wait(2, 5)
        proxy.heal()
        return name

    async def half_open(self) -> str:
        """Nothing arrives, in one direction or both; then it goes on, or the connections turn out to be broken."""
        name, proxy = await self._line()
        directions = self._chance.choice((("out",), ("back",), ("out", "back")))
        broken = self._chance.random() < 0.5
        proxy.hold(*directions)
        await self._wait(3, 7)
        proxy.heal(broken=broken)
        return f"{name} {'/'.join(directions)}{', then broken' if broken else ''}"

    async def slow_line(self) -> str:
        name, proxy = await self._line()
        proxy.slow_down()
        await self._wait(3, 6)
        proxy.heal()
        return name

    async def _line(self) -> tuple[str, Proxy]:
        """To a gateway, to the primary, or to a secondary."""
        kind = self._chance.random()
        if kind < 0.4:
            gateway = self._chance.choice(self._gateways)
            return gateway.process.name, gateway.proxy
        if kind < 0.8:
            primary = await self._mongods.primary()
            return f"{primary.process.name} (primary)", primary.proxy
        secondary = self._chance.choice(await self._mongods.secondaries())
        return f"{secondary.process.name} (secondary)", secondary.proxy

    async def _wait(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most))


#: Every kind of fault by its name.
KINDS: Mapping[str, Callable[[Nemesis], Awaitable[str]]] = {
    kind.__name__: kind
    for kind in (
        Nemesis.gateway_killed,
        Nemesis.gateway_frozen,
        Nemesis.gateways_rolling,
        Nemesis.clock_jump,
        Nemesis.primary_killed,
        Nemesis.primary_frozen,
        Nemesis.stepdown,
        Nemesis.mongods_rolling,
        Nemesis.majority_unreachable,
        Nemesis.fail_command,
        Nemesis.oplog_rolled,
        Nemesis.disk_full,
        Nemesis.connections_reset,
        Nemesis.connections_cut,
        Nemesis.half_open,
        Nemesis.slow_line,
    )
}
