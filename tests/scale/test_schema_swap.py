"""Another contract with 500 event types: how long until it is served, and how long the event loop stands still."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig

from gateway.api.events import Event
from gateway.api.scalars import SCALARS
from gateway.api.schema import NO_CONTRACT, Schema, build_schema
from gateway.contract import Contract, load_texts
from tests.scale.measuring import say

EVENTS = 500
PROPERTIES = 120
EACH = 8
TYPES = ("string", "number", "integer", "boolean", "datetime")


def texts() -> dict[str, str]:
    """A contract folder of that size; every twelfth property has values of its own, every tenth is an object."""
    lines = ["properties:"]
    for number in range(PROPERTIES):
        kind = TYPES[number % len(TYPES)]
        if number % 12 == 0:
            more = f"type: string, enum: [{', '.join(f'value_{number}_{one}' for one in range(6))}]"
        elif number % 10 == 1:
            more = (
                f"type: object, properties: [{{property: property_{number + 2}}}, {{property: property_{number + 4}}}]"
            )
        else:
            more = f"type: {kind}"
        lines.append(f"  - {{key: property_{number}, brief: What it says of number {number}., {more}}}")
    files = {"properties.yaml": "\n".join(lines)}
    for number in range(EVENTS):
        carried = "\n".join(f"  - {{property: property_{(number * 7 + one) % PROPERTIES}}}" for one in range(EACH))
        files[f"events/thing_{number}_done.1.yaml"] = (
            f"name: Thing {number} Done\nmajor: 1\nbrief: Thing {number} was done.\nowners: [shop]\n"
            f"properties:\n{carried}\n"
        )
    return files


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


async def gaps(seconds: float | None, work: Callable[[], Any] | None = None) -> list[float]:
    """How much longer than asked for each sleep of a millisecond took, while work runs in a thread."""
    task = None if work is None else asyncio.create_task(asyncio.to_thread(work))
    found: list[float] = []
    ends = None if seconds is None else time.perf_counter() + seconds
    while (task is not None and not task.done()) or (ends is not None and time.perf_counter() < ends):
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append(time.perf_counter() - began - 0.001)
    if task is not None:
        await task
    return sorted(found)


def shown(found: list[float]) -> str:
    return f"{found[len(found) // 2] * 1000:.1f} / {found[int(len(found) * 0.99)] * 1000:.1f} / {found[-1] * 1000:.1f}"


def by_strawberry(contract: Contract) -> None:
    """The same object types, made as classes: what the graft saves."""
    made = []
    for event in contract.events.values():
        fields = {one.key: (str | None) for one in event.properties}
        typed = strawberry.type(type(f"{event.type_name}Typed", (), {"__annotations__": fields}))
        holder = type(event.type_name, (Event,), {"__annotations__": {event.field_name: typed | None}})
        made.append(strawberry.type(holder))

    @strawberry.type
    class Query:
        event: Event | None

    strawberry.Schema(query=Query, types=made, config=StrawberryConfig(scalar_map=SCALARS))


async def test_a_plan_of_500_event_types(capsys: pytest.CaptureFixture[str]) -> None:
    files = texts()
    load_seconds, contract = timed(lambda: load_texts("big", files))
    build_schema(NO_CONTRACT)
    plain = min(timed(lambda: build_schema(NO_CONTRACT))[0] for _ in range(3))
    gc.collect()
    whole = sorted(timed(lambda: build_schema(contract))[0] for _ in range(3))
    schema: Schema = build_schema(contract)
    sdl_seconds, sdl = timed(lambda: schema.sdl)
    classes = timed(lambda: by_strawberry(contract))[0]
    idle = await gaps(1.0)
    building = await gaps(None, lambda: build_schema(contract))
    loading = await gaps(None, lambda: load_texts("big", files))
    say(
        capsys,
        f"a contract with {EVENTS} event types of {EACH} properties ({len(schema._schema.type_map):,} GraphQL types)",
        [
            ("its files read and checked, in a thread: s", f"{load_seconds:.2f}"),
            ("the schema built, in a thread: s (best of 3)", f"{whole[0]:.2f}"),
            ("   of which what every schema has", f"{plain:.2f}"),
            ("   only its object types as Strawberry's classes", f"{classes:.2f}"),
            ("the SDL printed, in a thread, when it is first asked for: s", f"{sdl_seconds:.2f}"),
            ("   its size: kB", f"{len(sdl) / 1000:,.0f}"),
            ("a millisecond's sleep takes longer by, p50 / p99 / most, ms: idle", shown(idle)),
            ("   while the schema is built", shown(building)),
            ("   while the files are read", shown(loading)),
        ],
    )
    assert f"Thing{EVENTS - 1}DoneEvent" in sdl
