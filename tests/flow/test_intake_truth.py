"""Every message has exactly one verdict, the good ones are accepted whatever stands beside them, and all is counted."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.model.consistency import ConsistencyToken
from gateway.model.identity import lane_of
from gateway.model.scope import Scope
from gateway.pipeline import intake as intake_module
from gateway.pipeline.accounting import Accounts
from gateway.pipeline.intake import Delivery, Intake
from gateway.settings import Settings
from gateway.store.accounting import HOUR_MS, STALE_MS, Accounting
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine
from tests.flow.doors import NOW, Doors, new_database, open_doors, track
from tests.flow.test_bad_input import BAD_EVENTS
from tests.pace import PATIENCE
from tests.store.seam import failing

VERDICTS = ("accepted", "duplicate", "conflict", "quarantined", "refused")
ALL_TIME = (0, 2 * NOW)


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


async def counted(doors: Doors, later: int = 0) -> Counter[str]:
    """What the sums say once everything is written, or `later` (ms) without that."""
    if not later:
        await doors.intake.drain()
    rows = await Accounting(doors.database).hours(Scope.system(doors.workspace), ALL_TIME, NOW + later, limit=100)
    sums: Counter[str] = Counter()
    for row in rows:
        assert row.hour == NOW - NOW % HOUR_MS
        sums.update(row.counts)
        sums["sent"] += row.sent
    return sums


POISON = st.sampled_from(sorted(BAD_EVENTS)).map(lambda case: BAD_EVENTS[case][0])
GOOD = st.integers(0, 8).map(lambda number: track(f"m{number}"))
OTHER = st.integers(0, 8).map(lambda number: track(f"m{number}", properties={"other": True}))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(GOOD | OTHER | POISON, min_size=1, max_size=8), min_size=1, max_size=4))
async def test_poison_inside_good_batches(prepared: Database, batches: list[list[Any]]) -> None:
    async with open_doors(prepared) as doors:
        stored: dict[str, Any] = {}
        expected: Counter[str] = Counter()
        for batch in batches:
            answer = await doors.post("/v1/batch", json.dumps({"batch": batch}).encode())
            assert answer.status_code == 200, answer.text
            told = answer.json()
            verdicts = {problem["index"]: problem["verdict"] for problem in told.get("problems", [])}
            assert len(verdicts) == len(told.get("problems", [])), "one verdict each"
            for index, message in enumerate(batch):
                known = isinstance(message, dict) and message.get("messageId", "").startswith("m")
                if not known:
                    assert verdicts.pop(index) == "quarantined"
                    expected["quarantined"] += 1
                    continue
                first = stored.setdefault(message["messageId"], message)
                if first is message:
                    expected["accepted"] += 1
                elif first == message:
                    expected["duplicate"] += 1
                else:
                    assert verdicts.pop(index) == "conflict"
                    expected["conflict"] += 1
            assert verdicts == {}, "nothing else was wrong"
            assert sum(told[verdict] for verdict in VERDICTS) == len(batch)
        assert {event.message_id for event in await doors.events()} == stored.keys()
        sums = await counted(doors)
        assert {name: sums[name] for name in VERDICTS} == {name: expected[name] for name in VERDICTS}
        assert sums["sent"] == sum(map(len, batches))


async def test_what_a_majority_did_not_confirm_is_not_acknowledged_and_comes_again_as_duplicates(doors: Doors) -> None:
    body = {"batch": [track(str(number)) for number in range(20)], "sentAt": "2024-03-13T10:21:14Z"}
    error = {"code": 64, "errmsg": "waiting for replication timed out"}
    async with failing(doors.database, "insert", writeConcernError=error):
        answer = await doors.post("/v1/batch", body)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "accepted" not in answer.json()

    again = (await doors.post("/v1/batch", body)).json()

    assert (again["duplicate"], again["accepted"]) == (20, 0)
    assert len(await doors.events()) == 20
    sums = await counted(doors)
    assert (sums["sent"], sums["duplicate"]) == (20, 20), "counted is what was answered"


async def test_duplicates_beside_a_write_concern_error_are_not_acknowledged(doors: Doors) -> None:
    assert (await doors.post("/v1/track", track("1"))).json()["accepted"] == 1
    async with failing(doors.database, "insert", writeConcernError={"code": 64, "errmsg": "timed out"}):
        assert (await doors.post("/v1/track", track("1"))).status_code == 503
    assert (await doors.post("/v1/track", track("1"))).json()["duplicate"] == 1


async def test_a_verdict_that_cannot_be_counted_is_not_given(doors: Doors) -> None:
    assert (await doors.post("/v1/track", track("1"))).status_code == 200  # the row is open
    async with failing(doors.database, "update", errorCode=8000, namespace=f"{doors.database.name}.accounting"):
        answer = await doors.post("/v1/track", track("1"))
    assert answer.status_code == 503
    assert (await doors.post("/v1/track", track("1"))).json()["duplicate"] == 1
    assert (await counted(doors))["duplicate"] == 2, "the verdict was given, its sender came again"


async def test_an_event_that_mongodb_will_not_take_is_quarantined_alone(prepared: Database) -> None:
    """1.4 million small numbers are 3 MB of JSON, and more than the 16 MB that a document may have."""
    ones = b"[" + b",".join([b"1"] * 1_400_000) + b"]"
    batch = [track("1"), track("2", properties={"poison": "?"}), track("3")]
    body = json.dumps({"batch": batch}).encode().replace(b'"?"', ones)
    async with open_doors(prepared, Settings(max_event_bytes=4_000_000)) as doors:
        told = (await doors.post("/v1/batch", body)).json()
        (kept,) = await doors.quarantined()
        assert [event.message_id for event in await doors.events()] == ["1", "3"]
    assert (told["accepted"], told["quarantined"], told["problems"][0]["index"]) == (2, 1, 1)
    assert (kept["code"], kept["stage"]) == ("not_storable", "store")
    assert ones in bytes(kept["original"])


async def test_what_is_too_large_to_be_kept_is_refused(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "MAX_KEPT_BYTES", 50_000)
    batch = [track("1"), track("2", properties={"text": "x" * 60_000}), track("3", properties={"text": "x" * 40_000})]
    told = (await doors.post("/v1/batch", {"batch": batch})).json()
    assert [told[verdict] for verdict in VERDICTS] == [1, 0, 0, 1, 1]
    assert [problem["verdict"] for problem in told["problems"]] == ["refused", "quarantined"]
    assert len(await doors.quarantined()) == 1
    sums = await counted(doors)
    assert (sums["sent"], sums["refused"]) == (3, 1)


async def test_a_token_covers_the_insert_and_names_the_lanes(doors: Doors) -> None:
    async with doors.database.watch("events") as changes:
        batch = [track(str(number), userId=f"u{number}") for number in range(5)]
        told = (await doors.post("/v1/batch", {"batch": batch})).json()
        seen: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            while len(seen) < 5:
                seen += await changes.next_batch(5)
    token = ConsistencyToken.decode(told["consistencyToken"])
    stored = max((change["clusterTime"].time, change["clusterTime"].inc) for change in seen)
    assert (token.time, token.increment) >= stored
    assert token.lanes == {lane_of(doors.workspace, f"u:u{number}") for number in range(5)}
    again = (await doors.post("/v1/track", batch[0])).json()
    assert again["duplicate"] == 1
    repeated = ConsistencyToken.decode(again["consistencyToken"])
    assert (repeated.time, repeated.increment) >= stored
    assert repeated.lanes == {lane_of(doors.workspace, "u:u0")}
    assert "consistencyToken" not in (await doors.post("/v1/batch", {"batch": [1]})).json()


async def test_bytes_are_kept_as_they_were_sent_unless_something_must_not_be(doors: Doors) -> None:
    plain = '{"type":"nothing",  "n": 1.50, "id": 1' + "0" * 5_000 + ', "name": "\\u00e9"}'
    with_ip = '{"type":"nothing","context":{"ip":"203.0.113.77"},"userHash":"abc"}'
    await doors.post("/v1/batch", f'{{"batch": [{plain}, {with_ip}]}}'.encode())
    kept = {bytes(row["original"]) for row in await doors.quarantined()}
    assert plain.encode() in kept
    assert json.dumps({"type": "nothing", "context": {"ip": "203.0.113.0"}}).encode() in kept


async def test_a_row_says_how_often_and_when(doors: Doors) -> None:
    for _ in range(3):
        await doors.post("/v1/batch", {"batch": [{"type": "nothing", "messageId": "1"}]})
        doors.clock.advance(1_000)
    (row,) = await doors.quarantined()
    assert (row["count"], row["receivedAt"], row["lastSeen"]) == (3, NOW, NOW + 2_000)
    assert (row["code"], row["stage"]) == ("unknown_type", "read")


# -- accounting -----------------------------------------------------------------------------------------------------


async def test_sums_are_exact_under_concurrency_and_retries(doors: Doors) -> None:
    async def send(number: int) -> Counter[str]:
        batch = [track(f"{number % 7}-{one}") for one in range(10)] + ([1] if number % 3 else [])
        answer = await doors.post("/v1/batch", {"batch": batch})
        return Counter({name: answer.json()[name] for name in VERDICTS})

    told: Counter[str] = sum(await asyncio.gather(*(send(number) for number in range(40))), Counter())
    sums = await counted(doors)
    assert {name: sums[name] for name in VERDICTS} == {name: told[name] for name in VERDICTS}
    assert (sums["sent"], sums["accepted"]) == (sum(told.values()), 70)


async def test_of_a_process_that_died_nothing_acknowledged_is_missing(doors: Doors) -> None:
    dead = Accounts(Accounting(doors.database), doors.clock)
    intake = Intake(Events(doors.database), Quarantine(doors.database), doors.clock, accounts=dead)
    with never_writing_late(dead):
        for number in range(30):
            messages = [track(str(number), userId="ada"), *([1] if number % 10 == 0 else [])]
            await intake.ingest(Delivery(doors.workspace, "web", messages))
    await doors.post("/v1/track", track("another process"))

    sums = await counted(doors, later=STALE_MS + 1_000)

    assert (sums["accepted"], sums["quarantined"], sums["sent"]) == (31, 3, 34)
    assert (await counted(doors))["accepted"] == 31, "counted once, whoever looks"


@contextmanager
def never_writing_late(accounts: Accounts) -> Iterator[None]:
    """As if the process were killed before its timer."""
    accounts._write_later = lambda: None  # type: ignore[method-assign]
    yield


async def test_what_was_stored_without_an_answer_is_counted_once_as_accepted(doors: Doors) -> None:
    body = {"batch": [track(str(number)) for number in range(20)]}
    async with failing(doors.database, "insert", writeConcernError={"code": 64, "errmsg": "timed out"}):
        assert (await doors.post("/v1/batch", body)).status_code == 503
    assert (await doors.post("/v1/batch", body)).json()["duplicate"] == 20
    doors.clock.advance(STALE_MS)
    assert (await doors.post("/v1/track", track("later"))).json()["accepted"] == 1, "of a process that goes on"
    assert (await counted(doors))["accepted"] == 1

    for later in (STALE_MS + 1_000, 4 * STALE_MS):
        sums = await counted(doors, later)
        assert (sums["accepted"], sums["duplicate"]) == (21, 20)
    assert (await doors.post("/v1/track", track("last"))).json()["accepted"] == 1
    assert (await counted(doors))["accepted"] == 22
    assert (await counted(doors, 4 * STALE_MS))["accepted"] == 22


async def test_a_row_is_closed_when_nothing_comes_and_opened_again(doors: Doors) -> None:
    accounts = Accounts(Accounting(doors.database), doors.clock)
    intake = Intake(Events(doors.database), Quarantine(doors.database), doors.clock, accounts=accounts)

    async def states() -> list[tuple[int, int, int]]:
        rows = await doors.database.find("accounting", {"workspace": doors.workspace, "run": accounts.run})
        return [(row["opened"], row["closed"], row["accepted"]) for row in rows]

    await intake.ingest(Delivery(doors.workspace, "web", [track("1")]))
    assert (await states())[0][:2] == (1, 0)
    doors.clock.advance(10_000)
    accounts._tick()
    await asyncio.sleep(0)
    while accounts._writing is not None:
        await asyncio.wait([accounts._writing])
    assert await states() == [(1, 1, 1)]
    await intake.ingest(Delivery(doors.workspace, "web", [track("2")]))
    assert (await states())[0][:2] == (2, 1)
    await intake.drain()
    assert await states() == [(2, 2, 2)]
