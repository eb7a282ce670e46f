"""A gateway with the run's sinks as its destinations: `journey-gateway` with instances made here.

FAULTS_SINKS names them: a JSON object of names and addresses. FAULTS_CLOCK, if given, names a file that says how many
seconds the wall clock is off.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from gateway.app import building, connectors
from gateway.cli import main, running
from gateway.clock import ServerClock
from gateway.connectors.delivery import Delivery
from gateway.connectors.http import GuardedHttp
from gateway.connectors.instances import Instance
from gateway.connectors.limits import Patience
from gateway.plugin import (
    Capabilities,
    Config,
    Context,
    Delivered,
    Destination,
    Health,
    Item,
    ItemResult,
    Manifest,
    Message,
    Retry,
    Skip,
    State,
    result_of,
)

WORKSPACE = "main"
_CLOCK_SECONDS = 0.02


class Address(Config):
    """Where a sink is."""

    url: str


class ToSink(Destination[Address]):
    """Posts keys, reads one answer per item."""

    manifest = Manifest(name="sink", version="1", brief="A sink of a fault run.", test_level="D")
    Config: ClassVar[type[Config]] = Address
    capabilities = Capabilities(max_items=50, partial=True, purpose=None, concurrency=2)

    async def check(self) -> Health:
        return Health(True)

    def map(self, message: Message) -> dict[str, Any] | Skip:
        return {"key": message.key}

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        answer = await self.context.http.request("POST", self.config.url, json=[item.key for item in items])
        if answer.status != 200:
            return [result_of(answer, 0) for _ in items]
        return [Delivered() if good else Retry("it says so") for good in answer.json()]


class NoState:
    """State that nobody asks for."""

    async def get(self, key: str) -> Any:
        return None

    async def put(self, key: str, value: Any) -> None:
        return None


def instances() -> dict[str, Instance]:
    """One for each sink."""
    made = {}
    for name, url in json.loads(os.environ["FAULTS_SINKS"]).items():
        state: State = NoState()
        http, log = GuardedHttp(["127.0.0.0/8"]), logging.getLogger("faults")
        context = Context(name, WORKSPACE, http, state, ServerClock(), log)
        made[name] = Instance(name, WORKSPACE, ToSink(Address(url=url), context))
    return made


def follow_clock(path: Path) -> None:
    """The wall clock of this process is what the file says, from now on.

    Python's own is moved, not the system's: libfaketime, which would move both, opens its file at every look at a
    clock, even inside of malloc, and stood still for good after a few minutes of load.
    """
    off = 0.0
    wall, wall_ns = time.time, time.time_ns

    def look() -> None:
        nonlocal off
        while True:
            with suppress(ValueError, OSError):  # it is being written
                off = float(path.read_text())
            time.sleep(_CLOCK_SECONDS)

    setattr(time, "time", lambda: wall() + off)  # noqa: B010 - for this process alone
    setattr(time, "time_ns", lambda: wall_ns() + int(off * 1e9))  # noqa: B010
    threading.Thread(target=look, name="clock", daemon=True).start()


if __name__ == "__main__":
    if clock := os.environ.get("FAULTS_CLOCK"):
        follow_clock(Path(clock))
    # What waits longest waits seconds: a run does not last hours.
    patience = Patience(first=0.2, longest=3.0, hours=24.0)
    setattr(connectors, "Delivery", partial(Delivery, patience=patience))  # noqa: B010 - for this process alone
    setattr(running, "open_gateway", partial(building.open_gateway, instances=instances()))  # noqa: B010
    main()
