"""Figures, printed side by side with what they are compared to. Nothing is asserted but that the work was done."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import orjson
import pytest
from gql import Client, gql

from gateway.testing.load import Player
from tests.flow.conftest import ROOT, RunningGateway, free_port
from tests.flow.test_live import EVENTS, socket
from tests.scale.measuring import now, population, quantiles, say


async def test_post_to_subscriber(running: RunningGateway, capsys: pytest.CaptureFixture[str]) -> None:
    rate, seconds = 500, 15
    received: dict[str, float] = {}
    ready, done = asyncio.Event(), asyncio.Event()
    query = EVENTS.replace("event { id name }", "event { ... on Event { messageId } }")

    async def watch() -> None:
        async with Client(transport=socket(running)) as session:
            async for result in session.subscribe(gql(query)):
                ready.set()
                event = result["eventStored"]["event"]
                if event:
                    received[event["messageId"]] = time.monotonic()
                if len(received) >= rate * seconds * 0.98:
                    done.set()

    watching = asyncio.create_task(watch())
    await asyncio.wait_for(ready.wait(), 10)
    player = Player(running.url, running.write_key, now=now, batch_size=50, concurrency=16)
    deliveries = await player.drive(population(7), rate=rate, seconds=seconds, together=10)
    await asyncio.wait_for(done.wait(), 60)
    await asyncio.sleep(1)
    watching.cancel()
    lags = sorted(received[d.message_id] - d.sent for d in deliveries if d.message_id in received)
    acks = sorted(d.acked - d.sent for d in deliveries)
    assert len(lags) == len(deliveries)
    say(
        capsys,
        f"POST to subscriber at {rate} events/s, 10 a request, for {seconds} s, in ms (one process sends and listens)",
        [
            ("sent to acknowledged, p50 / p99", quantiles(acks)),
            ("sent to subscriber, p50 / p99 (aim 100 / 300)", quantiles(lags)),
        ],
    )


@pytest.mark.slow
def test_cold_and_warm_make_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make run` from a copy with nothing installed, then again. Cold needs the package registry."""
    copy = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
    rows = []
    for name in ("cold (install, 8 weeks of backfill behind it)", "warm"):
        port = free_port()
        began = time.monotonic()
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"],
            cwd=copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
            start_new_session=True,
        )
        printed = ""
        assert process.stdout is not None
        for line in process.stdout:
            printed += line
            if "Page " in line:
                break
        served = time.monotonic() - began
        assert "Page" in printed, printed
        rows.append((f"{name}: until it serves", f"{served:.1f} s"))
        if name != "warm":
            for line in process.stdout:
                if "Eight weeks" in line:
                    break
            rows.append(("backfill is in after", f"{time.monotonic() - began:.1f} s"))
        time.sleep(5)
        rows.append((f"{name}: memory of gateway / mongod at rest", memory(process.pid)))
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    size = sum(file.stat().st_size for file in (copy / ".venv").rglob("*") if file.is_file() and not file.is_symlink())
    data = sum(file.stat().st_size for file in (copy / ".gateway").rglob("*") if file.is_file())
    rows += [("installed in .venv", f"{size / 1e6:,.0f} MB"), ("data in .gateway", f"{data / 1e6:,.0f} MB")]
    say(capsys, "make run", rows)
    shutil.rmtree(copy)


def memory(pid: int) -> str:
    """Resident memory of the gateway below `pid` and of its mongod, in MB."""
    found = {"gateway": 0.0, "mongod": 0.0}
    tree = subprocess.run(["ps", "-eww", "-o", "pid,ppid,rss,args"], capture_output=True, text=True, check=True).stdout
    for line in tree.splitlines()[1:]:
        match = re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(.*)", line)
        if match is None:
            continue
        own, _, rss, command = match.groups()
        if "journey-gateway serve" in command and "clone" in command:
            found["gateway"] = max(found["gateway"], int(rss) / 1024)
        if "mongod" in command and "clone" in command and "--dbpath" in command:
            found["mongod"] = max(found["mongod"], int(rss) / 1024)
        assert own
    return f"{found['gateway']:,.0f} / {found['mongod']:,.0f} MB"


def test_bodies_are_what_the_wire_carries() -> None:
    """The documents compared above are of ordinary size."""
    sizes = [len(orjson.dumps(emission.message)) for emission in islice(population(1), 1_000)]
    assert 300 < statistics.mean(sizes) < 2_000
    assert sys.maxsize > 2**32
