"""Intake with and without the plan and the catalogue, in turns in one run; and how long a new plan takes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from gateway.clock import ServerClock
from gateway.contract import Contract, EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.validation import Plan
from gateway.pipeline.conforming import Conforming
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.intake import Delivery, Intake
from gateway.quality.gathering import WRITE_SECONDS, Gathering
from gateway.store.catalog import Catalog
from gateway.store.database import Database, connect
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine
from tests.flow.conftest import RunningGateway
from tests.flow.doors import contract, new_database
from tests.scale.measuring import (
    Spent,
    batch_requests,
    drive,
    needs_proc,
    pid_of,
    pid_of_mongod,
    population,
    say,
    spending,
    total,
)

TURNS = 5
EVENTS = 3_000
BATCH = 100
AT_ONCE = 8
TYPES = 500


def intakes(database: Database) -> dict[str, Intake]:
    plan, clock = Contracts.fixed(contract()), ServerClock()
    events, quarantine = Events(database), Quarantine(database)

    def made(*, conforming: bool, gathering: bool) -> Intake:
        return Intake(
            events,
            quarantine,
            clock,
            conforming=Conforming(plan) if conforming else None,
            gathering=Gathering(Catalog(database), lambda: plan.current, clock) if gathering else None,
        )

    return {
        "neither": made(conforming=False, gathering=False),
        "plan": made(conforming=True, gathering=False),
        "plan and catalogue": made(conforming=True, gathering=True),
    }


async def take_in(intake: Intake, workspace: str, messages: list[dict[str, Any]]) -> tuple[float, float]:
    """Seconds and seconds of CPU of this process; the catalogue's last write included."""
    batches = iter([messages[start : start + BATCH] for start in range(0, len(messages), BATCH)])

    async def send() -> None:
        for batch in batches:
            receipt = await intake.ingest(Delivery(workspace, "web", batch, plain=True))
            assert receipt.accepted == len(batch)

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    await intake.drain()
    return time.perf_counter() - began, time.process_time() - cpu


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


async def test_intake_with_and_without_the_plan(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Without HTTP and parsing around it, so that the shares are larger than they are through the door."""
    found: dict[str, list[tuple[float, float]]] = {}
    for turn in range(TURNS):
        # As events come in: now. Those of months, as files have them, make as many rows of the catalogue as days.
        messages = [{**one.message, "timestamp": None} for one in islice(population(300 + turn), EVENTS)]
        made = intakes(database)
        for name in reversed(made) if turn % 2 else made:
            intake = made[name]
            found.setdefault(name, []).append(await take_in(intake, f"w{turn}-{name}", messages))
    rows = []
    for number, unit in enumerate(("seconds", "CPU of the process")):
        for name in ("plan", "plan and catalogue"):
            pairs = zip(found["neither"], found[name], strict=True)
            ratio = statistics.median(with_it[number] / without[number] for without, with_it in pairs)
            rows.append((f"{unit}: with {name}, of intake without (aim: at most 1.15)", f"{ratio:.3f}"))
    for name, several in found.items():
        rows.append((f"CPU µs/event, {name}", f"{statistics.median(cpu for _, cpu in several) / EVENTS * 1e6:.1f}"))
    say(capsys, f"Intake beside the plan: {BATCH} a batch, {AT_ONCE} at a time, without HTTP", rows)


@needs_proc
async def test_intake_through_the_door_with_and_without_the_plan(
    gateway_environment: dict[str, str], gateway_of: Callable[[str], RunningGateway], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same door twice, once without validation and catalogue, in turns; both have the shop's contract."""
    planned, unplanned = gateway_of("collect"), gateway_of("collect")
    unplanned.program = ("-m", "tests.scale.without_plan")
    await asyncio.to_thread(planned.set_up)
    await asyncio.to_thread(unplanned.start)
    database = connect(gateway_environment["GATEWAY_MONGO_URI"], gateway_environment["GATEWAY_DATABASE"])
    mongod = await pid_of_mongod(database)
    found: dict[str, list[Spent]] = {"without": [], "with": []}
    for turn in range(2 * TURNS):
        pair = (("without", unplanned), ("with", planned))
        for name, gateway in pair if turn % 2 else reversed(pair):
            seed = 4_000 + 2 * turn + (name == "with")  # the other's events would be duplicates
            emissions = (replace(one, message={**one.message, "timestamp": None}) for one in population(seed))
            requests = batch_requests(islice(emissions, 2 * EVENTS), planned.write_key, BATCH)
            with spending(gateway=pid_of(gateway), mongod=mongod) as spent:
                assert await drive(gateway.port, iter(requests), 16) == len(requests)
                await asyncio.sleep(2 * WRITE_SECONDS)  # the catalogue's last write
            spent.seconds -= 2 * WRITE_SECONDS
            found[name].append(spent)
    assert await database.count("catalog", {})
    await database.close()
    pairs = [*zip(found["without"], found["with"], strict=True)]
    events = 2 * TURNS * 2 * EVENTS
    seconds = statistics.median(one.seconds / other.seconds for other, one in pairs)
    cpu = statistics.median(one.cpu["gateway"] / other.cpu["gateway"] for other, one in pairs)
    rows = [
        ("seconds: of the door without (aim: at most 1.15)", f"{seconds:.3f}"),
        ("CPU of the gateway: of the door without", f"{cpu:.3f}"),
    ]
    for name, several in found.items():
        rows.append((f"CPU µs/event, {name}: gateway / mongod", total(several).per_event(events, "gateway", "mongod")))
    say(capsys, f"Intake beside the plan: {BATCH} a batch, 16 clients, through the door", rows)


async def test_a_new_plan_of_500_event_types(capsys: pytest.CaptureFixture[str]) -> None:
    events = [_event(number, "before") for number in range(TYPES)]
    began = time.perf_counter()
    first = Plan(events)
    whole = time.perf_counter() - began
    changed = [_event(0, "after"), *events[1:]]
    contracts = Contracts.fixed(Contract("shop", {}, {}, events={one.key: one for one in changed}))
    began = time.perf_counter()
    Plan(contracts.current.events.values(), first)
    say(
        capsys,
        f"A plan of {TYPES} event types",
        [
            ("ms to compile it whole", f"{whole * 1e3:.0f}"),
            ("ms when one of them has changed", f"{(time.perf_counter() - began) * 1e3:.1f}"),
        ],
    )


def _event(number: int, brief: str) -> EventDefinition:
    properties = tuple(
        PlannedProperty(PropertyDefinition(f"property_{each}", "string", "b", max_length=20), required=each % 2 == 0)
        for each in range(10)
    )
    return EventDefinition(f"Event {number}", 1, brief, ("o",), properties)
