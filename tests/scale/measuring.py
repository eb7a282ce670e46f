"""What the benchmarks share: CPU by process, requests over kept connections, figures side by side."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from gateway.pipeline.messages import Origin, read_message
from gateway.store.database import Database, Document
from gateway.testing.simulate import Emission, Population
from tests.flow.conftest import RunningGateway

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads CPU times from /proc")  # noqa: PTH110


def now() -> datetime:
    return datetime.now(UTC)


def population(seed: int) -> Iterator[Emission]:
    """A made-up shop's last eight weeks: about 60,000 messages."""
    return Population(seed, now() - timedelta(minutes=1), visitors_per_week=300).backfill()


def documents(emissions: Iterable[Emission], workspace: str, source: str, *, first: int = 0) -> Iterator[Document]:
    """The messages as intake would store them now."""
    origin = Origin(workspace, source, int(time.time() * 1000), None, 32_768)
    for number, emission in enumerate(emissions, first):
        yield read_message(emission.message, origin, seq=number, fallback_id=lambda: "x")


def say(capsys: pytest.CaptureFixture[str], title: str, rows: list[tuple[str, str]]) -> None:
    with capsys.disabled():
        print(f"\n\n{title}")
        for name, value in rows:
            print(f"  {name:<74} {value:>22}")


def quantiles(values: list[float]) -> str:
    """p50 / p99 of seconds, in ms."""
    cuts = statistics.quantiles(values, n=100)
    return f"{cuts[49] * 1000:,.0f} / {cuts[98] * 1000:,.0f}"


# -- CPU ------------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used so far (Linux)."""
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - a file of the kernel
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def pid_of_mongod(database: Database) -> int:
    return int((await database.admin({"serverStatus": 1}))["pid"])


@dataclass
class Spent:
    """Seconds by the clock, and of CPU by process."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    def per_event(self, events: int, *names: str) -> str:
        """CPU in µs per event, of each of `names`."""
        return " / ".join(f"{self.cpu[name] / events * 1e6:,.0f}" for name in names)


@contextmanager
def spending(**pids: int) -> Iterator[Spent]:
    """What is spent while this is open."""
    spent = Spent()
    before, began = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
    yield spent
    spent.seconds = time.monotonic() - began
    spent.cpu = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}


def total(spents: list[Spent]) -> Spent:
    """All of them together."""
    names = spents[0].cpu
    return Spent(sum(one.seconds for one in spents), {name: sum(one.cpu[name] for one in spents) for name in names})


def pid_of(gateway: RunningGateway) -> int:
    assert gateway.process is not None
    return gateway.process.pid


# -- requests -------------------------------------------------------------------------------------------------------


def raw(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """One HTTP request, ready to be written."""
    lines = [f"POST {path} HTTP/1.1", "host: gateway", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def basic(key: str) -> dict[str, str]:
    return {"authorization": "Basic " + b64encode(f"{key}:".encode()).decode(), "content-type": "application/json"}


def batch_body(messages: list[dict[str, object]]) -> bytes:
    return orjson.dumps({"batch": messages, "sentAt": now().isoformat()})


def batch_requests(emissions: Iterable[Emission], key: str, size: int, *, path: str = "/v1/batch") -> list[bytes]:
    """Requests with so many events each."""
    messages = [emission.message for emission in emissions]
    parts = [messages[start : start + size] for start in range(0, len(messages), size)]
    return [raw(path, basic(key), batch_body(part)) for part in parts]


async def answered(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer, which must be 200."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def drive(port: int, requests: Iterator[bytes], connections: int, *, until: float = math.inf) -> int:
    """Send prepared requests, one after the other on each connection, until a time (monotonic seconds) at most; how
    many were answered 200."""
    count = 0

    async def one() -> None:
        nonlocal count
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in requests:
            if time.monotonic() > until:
                break
            writer.write(request)
            await answered(reader)
            count += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(connections)))
    return count


# -- derivation -----------------------------------------------------------------------------------------------------


async def stored_size(database: Database, collection: str) -> Document:
    """MongoDB's own figures of a collection: `count`, and bytes as `storageSize` and `totalIndexSize`."""
    rows = await database.aggregate(collection, [{"$collStats": {"storageStats": {}}}])
    stats: Document = rows[0]["storageStats"]
    return stats


async def derived(database: Database, events: int, seconds: float = 600.0) -> None:
    """Wait until so many events in all have been resolved and folded; asking costs MongoDB next to nothing."""
    async with asyncio.timeout(seconds):
        while (await stored_size(database, "work"))["count"] < events:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)
        while await database.count("work", {"pending": True, "lane": {"$gte": 0}}, limit=1):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
