"""Events that are not what the plan says, through the HTTP door: noted, told, or kept apart until they are mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.contract import Contract, EventDefinition, PlannedProperty, PropertyDefinition
from gateway.contract.plan import Mode
from gateway.model.scope import Scope
from gateway.pipeline.conforming import Modes
from gateway.pipeline.contracts import Contracts, InForce
from gateway.pipeline.replaying import Replays
from gateway.store.catalog import Catalog
from gateway.store.database import Database
from gateway.store.quarantine import Quarantine, QuarantineFilter, as_misfits
from tests.flow.doors import Doors, new_database, open_doors, track


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


def prop(key: str, kind: Any = "string", **more: Any) -> PropertyDefinition:
    return PropertyDefinition(key, kind, "What it is.", **more)


def planned(mode: Mode | None = None, major: int = 1) -> EventDefinition:
    return EventDefinition(
        "Product Viewed",
        major,
        "A product was seen.",
        ("shop",),
        (
            PlannedProperty(prop("sku"), required=True),
            PlannedProperty(prop("price", "number" if major == 1 else "string")),
        ),
        mode=mode,
    )


def contract(*events: EventDefinition) -> Contract:
    return Contract("shop", {}, {}, events={one.key: one for one in events})


GOOD = {"sku": "a", "price": 1.5}
BAD = {"price": "1.50"}


async def answered(doors: Doors, *properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    batch = [track(f"m{number}", properties=one, **more) for number, one in enumerate(properties)]
    answer: dict[str, Any] = (await doors.post("/v1/batch", {"batch": batch})).json()
    return answer


async def test_observed_misfits_are_stored_with_their_reasons(database: Database) -> None:
    async with open_doors(database, plan=Contracts.fixed(contract(planned()))) as doors:
        answer = await answered(doors, GOOD, BAD, {**GOOD, "colour": "red"})
        assert answer["success"]
        assert answer["accepted"] == 3
        assert "warnings" not in answer
        good, bad, unplanned = await doors.events()
    assert [one.misfits for one in (good, unplanned)] == [(), ()]
    assert set(bad.misfits) == {"required sku", "type price"}
    assert bad.flags == ("misfit",)
    assert bad.properties == BAD


async def test_a_warned_sender_is_told_and_its_events_are_taken(database: Database) -> None:
    plan = Contracts.fixed(contract(planned()))
    async with open_doors(database, plan=plan, modes=Modes("quarantine", {("*", "web"): "warn"})) as doors:
        answer = await answered(doors, GOOD, BAD)
        assert (answer["success"], answer["accepted"], answer["quarantined"]) == (True, 2, 0)
    (warning,) = answer["warnings"]
    assert (warning["index"], warning["messageId"], warning["verdict"], warning["code"]) == (
        1,
        "m1",
        "accepted",
        "misfit",
    )
    assert {(one["property"], one["rule"]) for one in warning["misfits"]} == {("sku", "required"), ("price", "type")}
    assert all(one["what"] and one["fix"] for one in warning["misfits"])


async def test_what_is_kept_apart_comes_out_once_it_is_mended(database: Database) -> None:
    modes = Modes(named={("*", "web"): "quarantine"})
    async with open_doors(database, plan=Contracts.fixed(contract(planned())), modes=modes) as doors:
        answer = await answered(doors, GOOD, BAD)
        assert (answer["success"], answer["accepted"], answer["quarantined"]) == (False, 1, 1)
        (row,) = await doors.quarantined()
        assert (row["code"], row["stage"], row["messageId"]) == ("misfit", "plan", "m1")
        assert {str(one) for one in as_misfits(row)} == {"sku: required", "price: type"}
        assert "1.50" not in row["reason"]

        scope, replays = Scope.system(doors.workspace), Replays(Quarantine(database), doors.intake, doors.clock)
        half = await replays.run(scope, QuarantineFilter(), patch={"properties": {"sku": "b"}})
        assert (half.accepted, half.quarantined, half.reasons["misfit"]) == (0, 1, 1)
        (row,) = await doors.quarantined()
        assert [str(one) for one in as_misfits(row)] == ["price: type"]
        whole = await replays.run(scope, QuarantineFilter(), patch={"properties": {"sku": "b", "price": 1.5}})
        assert whole.accepted == 1
        assert await doors.quarantined() == []
        assert [one.properties["sku"] for one in await doors.events()] == ["a", "b"]

        await doors.intake.drain()
        (entry,) = await Catalog(database).page(Scope.system(doors.workspace))
    assert (entry.count, entry.quarantined, dict(entry.misfits)) == (2, 1, {"required sku": 1, "type price": 1})


async def test_the_event_type_has_the_last_word(database: Database) -> None:
    for says, default in (("observe", "quarantine"), ("quarantine", "observe")):
        modes = Modes(default, {("*", "web"): default})  # type: ignore[dict-item, arg-type]
        plan = Contracts.fixed(contract(planned(says)))  # type: ignore[arg-type]
        async with open_doors(database, plan=plan, modes=modes) as doors:
            answer = await answered(doors, BAD)
        assert (answer["accepted"], answer["quarantined"]) == ((1, 0) if says == "observe" else (0, 1))


async def test_a_new_version_of_the_plan_counts_at_once(database: Database) -> None:
    contracts = Contracts.fixed(contract(planned()))
    async with open_doors(database, plan=contracts) as doors:
        await answered(doors, {"sku": "a", "price": "1"})
        contracts._in_force = InForce(1, contract(planned(), planned(major=2)))
        second = {"protocols": {"event_version": 2}}
        for number, context in enumerate((second, {"protocols": {"event_version": 1}}, {}, second)):
            message = track(f"n{number}", properties={"sku": "a", "price": "1"}, context=context)
            assert (await doors.post("/v1/batch", {"batch": [message]})).json()["accepted"] == 1
        events = {one.message_id: one.misfits for one in await doors.events()}
    assert events == {"m0": ("type price",), "n0": (), "n1": ("type price",), "n2": (), "n3": ()}


@pytest.mark.parametrize("mode", ["observe", "warn", "quarantine"])
async def test_a_major_that_nobody_planned_is_no_way_past_quarantine(database: Database, mode: Mode) -> None:
    contracts = Contracts.fixed(contract(planned()))
    async with open_doors(database, plan=contracts, modes=Modes(mode)) as doors:
        answer = await answered(doors, BAD, context={"protocols": {"event_version": 2}})
        other = track("x", event="Anything Else", properties=BAD, context={"protocols": {"event_version": 2}})
        assert (await doors.post("/v1/batch", {"batch": [other]})).json()["accepted"] == 1, "planned in no major"
        if mode != "quarantine":
            assert (answer["accepted"], answer.get("warnings", [])) == (1, [])
            assert [(one.flags, one.misfits) for one in await doors.events()] == [((), ()), ((), ())]
            return
        assert (answer["accepted"], answer["quarantined"]) == (0, 1)
        (problem,) = answer["problems"]
        assert [one["property"] for one in problem["misfits"]] == ["context.protocols.event_version"]
        contracts._in_force = InForce(1, contract(planned(), planned(major=2)))
        second = {"sku": "a", "price": "1"}
        assert (await answered(doors, second, context={"protocols": {"event_version": 2}}))["quarantined"] == 0


async def test_keys_that_are_stored_otherwise_are_compared_as_they_were_sent(database: Database) -> None:
    event = EventDefinition("Product Viewed", 1, "b", ("o",), (PlannedProperty(prop("a.b", "number"), required=True),))
    async with open_doors(database, plan=Contracts.fixed(contract(event))) as doors:
        await answered(doors, {"a.b": 1}, {"a.b": "1"})
        await doors.intake.drain()
        assert [one.misfits for one in await doors.events()] == [(), ("type a.b",)]
        (entry,) = await Catalog(database).page(Scope.system(doors.workspace))
    assert dict(entry.properties["a\\.b"].types) == {"integer": 1, "string": 1}
    assert dict(entry.misfits) == {"type a.b": 1}


async def test_the_catalogue_says_what_came_in(database: Database) -> None:
    plan = Contracts.fixed(contract(planned()))
    async with open_doors(database, plan=plan) as doors:
        await answered(doors, GOOD, {**GOOD, "mail": "ada@example.com"}, GOOD, context={"app": {"version": "1.2"}})
        await answered(doors, GOOD, GOOD, GOOD, context={"app": {"version": "1.2"}})  # duplicates, and a conflict
        await doors.intake.drain()
        other = track("x", event="Anything Else", properties={"n": None, "l": [1], "o": {}, "b": True})
        await doors.post("/v1/batch", {"batch": [other]})
        await doors.intake.drain()
        catalog, scope = Catalog(database), Scope.system(doors.workspace)
        unplanned, entry = await catalog.page(scope)
        assert [one.name for one in await catalog.page(scope, search="PRODUCT v")] == ["Product Viewed"]
        assert [one.name for one in await catalog.page(scope, among=[("track", "Product Viewed")])] == [
            "Product Viewed"
        ]
        assert [one.name for one in await catalog.page(scope, but=[("track", "Product Viewed")])] == ["Anything Else"]
        assert [one.name for one in await catalog.page(scope, limit=1, after=("Anything Else", "track"))] == [
            "Product Viewed"
        ]
        at = entry.first_at
        days = await catalog.days(scope, (at, at + 1))
    assert (entry.count, entry.quarantined, dict(entry.sources)) == (3, 0, {"web": 3})
    assert entry.versions.total() == 3
    seen = entry.properties
    assert {key: (one.count, dict(one.types), one.sample) for key, one in seen.items()} == {
        "sku": (3, {"string": 3}, "a"),
        "price": (3, {"number": 3}, "1.5"),
        "mail": (1, {"string": 1}, "aaa@aaaaaaa.aaa"),
    }
    assert {key: (one.count, one.sample) for key, one in unplanned.properties.items()} == {
        "n": (0, None),
        "l": (1, "[1]"),
        "l[]": (1, "9"),
        "o": (1, "{0}"),
        "b": (1, "true"),
    }
    assert sorted(one.name for one in days[at - at % 86_400_000]) == ["Anything Else", "Product Viewed"]


async def test_without_a_plan_nothing_is_compared(database: Database) -> None:
    async with open_doors(database, plan=Contracts.fixed(contract())) as doors:
        await answered(doors, BAD)
        (event,) = await doors.events()
    assert (event.flags, event.misfits) == ((), ())
