"""Events out and in again: as XES or as NDJSON, the same users, sessions and journeys come out."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gateway.clock import FrozenClock
from gateway.collect.files import Importer, Mapping, Report
from gateway.contract import find_schema_root, load_contract
from gateway.errors import Unavailable
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.model.wire import message_of
from gateway.pipeline import people
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.export import Case, Exporter
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.owner import Deriver
from gateway.pipeline.persons import Persons
from gateway.pipeline.wire import Pseudonyms
from gateway.store import exports
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.exports import Exports, Selection
from gateway.store.identities import Identities
from gateway.store.imports import Imports
from gateway.store.lanes import Lanes
from gateway.store.quarantine import Quarantine
from gateway.store.users import Journeys, Sessions, Users
from gateway.testing.simulate import Population
from tests.flow.conftest import RunningGateway, free_port
from tests.flow.doors import new_database

ECOM = Path(__file__).parents[3] / "shared" / "data" / "ecom.csv.gz"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = int(NOW.timestamp() * 1000) + 3_600_000

#: What a made-up shop does not send: other types, clocks that had to be corrected, text that XML cannot hold.
ODD: list[dict[str, Any]] = [
    {"type": "screen", "anonymousId": "odd", "name": "Start\x00", "messageId": "odd-1", "properties": {"a": [1, None]}},
    {"type": "page", "anonymousId": "odd", "messageId": "odd-2", "name": "page", "category": "Docs"},
    {"type": "alias", "userId": "Zoë 😀 <&>", "previousId": "odd", "messageId": "odd-3"},
    {
        "type": "group",
        "userId": "Zoë 😀 <&>",
        "groupId": "g",
        "messageId": "odd-4",
        "traits": {"plan": "pro", "n": 1.0},
    },
    {
        "type": "track",
        "event": "Order Completed",
        "userId": "Zoë 😀 <&>",
        "messageId": "odd-5",
        "timestamp": "2025-12-31T20:00:00Z",
        "sentAt": "2025-12-31T20:00:01Z",
        "properties": {"concept:name": "x", "": 1, "a.b": {"$c": []}, "long": 2**62, "lifecycle:transition": "start"},
        "context": {"ip": "192.0.2.77", "page": {"url": "https://shop.example/?a=1&b=\n"}},
        "integrations": {"All": True},
    },
    {"type": "track", "event": "e", "userId": "anonymous", "messageId": "odd-6", "timestamp": 0},
]


class World:
    """One workspace of the shared database, derived at once, without a process of its own."""

    def __init__(self, database: Database, workspace: str) -> None:
        self.database, self.workspace = database, workspace
        self.clock = FrozenClock(LATER)
        self.intake = Intake(Events(database), Quarantine(database), self.clock)

    def exporter(self, pseudonyms: Pseudonyms | None = None) -> Exporter:
        parts = Exports(self.database), Identities(self.database), Sessions(self.database), Journeys(self.database)
        return Exporter(*parts, pseudonyms=pseudonyms)

    def selection(self, **which: Any) -> Selection:
        return Selection(self.workspace, LATER, **which)

    async def ndjson(self, pseudonyms: Pseudonyms | None = None, **which: Any) -> bytes:
        return b"".join([part.data async for part in self.exporter(pseudonyms).ndjson(self.selection(**which))])

    async def xes(self, case: Case = "user", map_key: str | None = None, **which: Any) -> bytes:
        pseudonyms = which.pop("pseudonyms", None)
        parts = self.exporter(pseudonyms).xes(self.selection(**which), case=case, map_key=map_key)
        return b"".join([part.data async for part in parts])

    async def take(self, content: bytes, file: Path, mapping: Mapping | None = None) -> Report:
        await asyncio.to_thread(file.write_bytes, content)
        importer = Importer(self.intake, Imports(self.database), self.clock)
        report = await importer.run(file, mapping or Mapping(), self.workspace, "import")
        await self.derive()
        return report

    async def derive(self) -> None:
        database = self.database
        lanes = Lanes(database)
        await lanes.prepare()
        contract = load_contract(find_schema_root(None) / "shop")
        deriver = Deriver(database, Derivation.of(database, Contracts.fixed(contract)), self.clock)
        lease = await lanes.acquire("test", 3_600)
        assert lease is not None
        async for events in Exports(database).events(self.selection(kinds="both"), page=500):
            for _ in range(20):  # as the deriver's own loop does: a busy machine interrupts transactions
                try:
                    await deriver.apply(lease, events)
                    break
                except Unavailable:
                    await asyncio.sleep(0.2)
            else:
                raise AssertionError("MongoDB took no batch")
        await lanes.release(lease)

    async def events(self) -> list[Event]:
        return [event async for page in Exports(self.database).events(self.selection()) for event in page]

    async def decisions(self) -> list[Event]:
        return await Events(self.database).decisions(Scope.system(self.workspace), limit=10)

    async def derived(self, *, identities: bool = True) -> list[Any]:
        """Everybody with sessions and journeys, in words that do not depend on the workspace's name."""
        found = []
        scope = Scope.system(self.workspace)
        people = [user async for page in Exports(self.database).people(self.workspace) for user, _ in page]
        states = await Users(self.database).get(scope, people)
        owned = await Identities(self.database).of_users(scope, people)
        for user in people:
            sessions = await Sessions(self.database).page(scope, user, limit=0, before=None)
            runs = await Journeys(self.database).page(scope, limit=0, user=user)
            found.append(
                {
                    "identities": sorted(identity.sk for identity in owned[user]) if identities else len(owned[user]),
                    "events": states[user].events,
                    "traits": states[user].traits if identities else None,
                    "sessions": sorted((one.start, one.end, one.events, one.entry, one.exit) for one in sessions),
                    "journeys": sorted(
                        (run.map, run.run, run.status.value, run.started_at, run.last_at, run.ended_at, _visits(run))
                        for run in runs
                    ),
                }
            )
        return sorted(found, key=lambda person: json.dumps(person, sort_keys=True))


def _call(number: int, at: int, **who: str) -> dict[str, Any]:
    moment = datetime.fromtimestamp(at / 1000, UTC).isoformat()
    return {"type": "track", "event": "Product Viewed", "messageId": f"d{number}", "timestamp": moment, **who}


def _visits(run: Any) -> list[Any]:
    kept = ("stage", "entered_at", "left_at", "rule", "events")
    return [[asdict(visit)[key] for key in kept] for visit in run.visits]


def plain(event: Event) -> dict[str, Any]:
    return {key: value for key, value in message_of(event).items() if key != "receivedAt"}


def traces(log: bytes) -> list[tuple[dict[str, str], list[dict[str, str]]]]:
    """The attributes of each trace and of its events, by a reader that is not ours."""
    found = []
    for trace in ElementTree.fromstring(log).iter("{http://www.xes-standard.org/}trace"):
        events = [child for child in trace if child.tag.endswith("event")]
        own = {child.attrib["key"]: child.attrib["value"] for child in trace if child not in events}
        found.append((own, [{child.attrib["key"]: child.attrib["value"] for child in event} for event in events]))
    return found


@pytest.fixture(scope="module")
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture(scope="module")
async def shop(database: Database) -> World:
    """Two weeks of a small shop, with late, repeated and disordered messages, and what is odd."""
    world = World(database, "shop")
    population = Population(3, NOW, weeks=2, visitors_per_week=12, late=0.1, duplicates=0.1, skew=0.2, disorder=0.1)
    waiting: list[Any] = []
    emissions = list(population.backfill())
    for number, emission in enumerate(emissions):
        waiting.append(emission.message)
        if len(waiting) == 25 or number == len(emissions) - 1:
            world.clock.at = int(emission.due.timestamp() * 1000)
            await world.intake.ingest(Delivery("shop", "web", waiting))
            waiting = []
    world.clock.at = LATER - 60_000
    sent_at = LATER - 7_200_000
    receipt = await world.intake.ingest(Delivery("shop", "app", ODD, sent_at=sent_at))
    assert (receipt.accepted, receipt.problems) == (len(ODD), ())
    world.clock.at = LATER
    await world.derive()
    return world


async def test_the_shop_has_what_an_export_must_carry(shop: World) -> None:
    people, events = await shop.derived(), await shop.events()
    assert len(people) > 15
    assert any(len(person["identities"]) > 1 for person in people), "merges"
    assert {run[2] for person in people for run in person["journeys"]} >= {"completed", "abandoned"}
    assert {event.type.value for event in events} == {"track", "page", "screen", "identify", "group", "alias"}
    assert any(event.at != event.original_timestamp for event in events), "a corrected clock"


@pytest.mark.parametrize("form", ["ndjson", "xes", "xes sessions"])
async def test_a_round_trip_gives_the_same_users_sessions_and_journeys(
    shop: World, database: Database, tmp_path: Path, form: str
) -> None:
    log = await (shop.ndjson() if form == "ndjson" else shop.xes("session" if "sessions" in form else "user"))
    copy = World(database, f"copy-{form[-3:]}")
    report = await copy.take(gzip.compress(log), tmp_path / "log.gz")

    before, after = await shop.events(), await copy.events()
    assert (report.accepted, report.rows) == (len(before), len(before))
    assert sorted(map(plain, after), key=_id) == sorted(map(plain, before), key=_id)
    assert [event.at for event in after] == [event.at for event in before]
    assert await copy.derived() == await shop.derived()
    again = await copy.take(gzip.compress(log), tmp_path / "log.gz")
    assert again.duplicate == len(before)


def _id(message: dict[str, Any]) -> str:
    return str(message["messageId"])


async def test_the_copy_of_a_copy_is_the_same_file(shop: World, database: Database, tmp_path: Path) -> None:
    copy = World(database, "second")
    await copy.take(await shop.ndjson(), tmp_path / "one.ndjson")
    first, second = (await shop.ndjson()).splitlines(), (await copy.ndjson()).splitlines()
    assert [_sent(line) for line in second] == [_sent(line) for line in first]
    assert first == sorted(first, key=lambda line: json.loads(line)["timestamp"]), "in the order of events"


def _sent(line: bytes) -> dict[str, Any]:
    return {key: value for key, value in json.loads(line).items() if key != "receivedAt"}


@pytest.mark.parametrize("case", ["user", "session", "journey"])
async def test_pages_of_any_size_give_the_same_bytes(shop: World, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    map_key = "purchase" if case == "journey" else None
    whole = await shop.xes(case, map_key), await shop.ndjson()
    assert (await shop.xes(case, map_key), await shop.ndjson()) == whole
    monkeypatch.setattr(people, "PAGE", 3)
    monkeypatch.setattr(exports, "PAGE", 3)
    monkeypatch.setattr(Exports.events, "__kwdefaults__", {"sks": None, "page": 3})
    monkeypatch.setattr(Exports.people, "__kwdefaults__", {"page": 3})
    assert (await shop.xes(case, map_key), await shop.ndjson()) == whole


async def test_a_trace_is_a_user_a_session_or_a_run(shop: World) -> None:
    people = await shop.derived()
    by_user = traces(await shop.xes())
    assert sorted(len(events) for _, events in by_user) == sorted(person["events"] for person in people)
    names = {own["concept:name"] for own, _ in by_user}
    known = {sk[2:] for person in people for sk in person["identities"] if sk[0] == "u"}
    assert len(names) == len(people)
    assert known <= names

    by_session = traces(await shop.xes("session"))
    assert Counter(len(events) for _, events in by_session) == Counter(
        session[2] for person in people for session in person["sessions"]
    )
    runs = [run for person in people for run in person["journeys"] if run[0] == "purchase"]
    by_run = traces(await shop.xes("journey", "purchase"))
    assert Counter(own["journey:status"] for own, _ in by_run) == Counter(run[2] for run in runs)
    for own, events in by_run:
        assert events[-1]["journey:stage"] == own["journey:stage"]
        assert [event["time:timestamp"] for event in events] == sorted(event["time:timestamp"] for event in events)


@pytest.fixture(scope="module")
async def decided(database: Database) -> World:
    """Four people of whom an operator made two, and parted one of them again."""
    world, begun = World(database, "decided"), LATER - 7_200_000
    who: list[dict[str, str]] = [{"userId": "ada"}, {"userId": "bob"}, {"anonymousId": "x"}, {"userId": "cleo"}]
    messages = [_call(number, begun + number * 60_000, **who[number % 4]) for number in range(16)]
    messages.append({"type": "identify", "userId": "cleo", "anonymousId": "x", "messageId": "link"})
    await world.intake.ingest(Delivery("decided", "web", messages, sent_at=None))
    await world.derive()
    identities = Identities(database)
    contract = load_contract(find_schema_root(None) / "shop")
    persons = Persons(world.intake, identities, Events(database), contract, world.clock)
    scope = Scope.system("decided")
    one, other = [Identity("userId", "ada")], [Identity("userId", "bob")]
    await persons.decide(scope, "merge", one, other, reason="the same person", by="key", store=True)
    await world.derive()
    one, other = [Identity("userId", "cleo")], [Identity("anonymousId", "x")]
    await persons.decide(scope, "split", one, other, reason="a shared tablet", by="key", store=True)
    await world.derive()
    return world


@pytest.mark.parametrize("form", ["ndjson", "xes"])
async def test_merges_and_splits_come_back_too(decided: World, database: Database, tmp_path: Path, form: str) -> None:
    before = await decided.derived()
    assert sorted(person["identities"] for person in before) == [["a:x"], ["u:ada", "u:bob"], ["u:cleo"]]
    log = await (decided.ndjson() if form == "ndjson" else decided.xes())
    copy = World(database, f"decided-{form}")
    report = await copy.take(log, tmp_path / "log")
    assert (report.accepted, report.rows, report.reasons) == (19, 19, {})
    assert await copy.derived() == before
    assert sorted(map(_decision, await copy.decisions())) == sorted(map(_decision, await decided.decisions()))
    assert (await copy.take(log, tmp_path / "log")).duplicate == 19
    hidden = World(database, f"decided-pseudonymous-{form}")
    pseudonyms = Pseudonyms("a secret")
    log = await (decided.ndjson(pseudonyms) if form == "ndjson" else decided.xes(pseudonyms=pseudonyms))
    assert not any(word in log for word in (b"ada", b"bob", b"cleo", b"tablet"))
    await hidden.take(log, tmp_path / "hidden")
    assert await hidden.derived(identities=False) == await decided.derived(identities=False)


def _decision(event: Event) -> tuple[str, str]:
    return event.type.value, json.dumps(event.properties, sort_keys=True)


@pytest.mark.parametrize(
    "properties", [{}, {"one": ["u:ada"]}, {"one": ["u:ada"], "other": ["bob"]}, {"one": "u:ada", "other": ["u:b"]}]
)
async def test_a_merge_that_no_export_wrote_decides_nothing(
    database: Database, tmp_path: Path, properties: dict[str, Any]
) -> None:
    merge = {"type": "merge", "userId": "ada", "timestamp": "2025-01-01T00:00:00Z", "properties": properties}
    world = World(database, f"forged-{len(properties)}-{'b' in str(properties)}-{len(str(properties))}")
    report = await world.take(json.dumps(merge).encode(), tmp_path / "log.ndjson")
    assert report.reasons == {"wrong_decision": 1}
    receipt = await world.intake.ingest(Delivery(world.workspace, "web", [merge]))
    assert [problem.code for problem in receipt.problems] == ["unknown_type"], "and no sender can decide at all"


async def test_a_window_and_a_source_choose_events(shop: World) -> None:
    middle = LATER - 6 * 24 * 3_600_000
    parts = [await shop.ndjson(until=middle), await shop.ndjson(since=middle)]
    assert b"".join(parts) == await shop.ndjson()
    assert all(part.count(b"\n") > 50 for part in parts)
    assert (await shop.ndjson(source="app")).count(b"\n") == len(ODD)
    assert sum(len(events) for _, events in traces(await shop.xes(source="app"))) == len(ODD)


async def test_what_arrives_after_the_beginning_is_left_out(shop: World) -> None:
    early = Selection("shop", LATER - 60_001)
    lines = b"".join([part.data async for part in shop.exporter().ndjson(early)])
    assert lines.count(b"\n") == len(await shop.events()) - len(ODD)


async def test_pseudonyms_tell_nobody_and_keep_every_journey(shop: World, database: Database, tmp_path: Path) -> None:
    pseudonyms = Pseudonyms("a secret")
    for number, log in enumerate([await shop.ndjson(pseudonyms), await shop.xes(pseudonyms=pseudonyms)]):
        for event in await shop.events():
            for secret in (event.user_id, event.anonymous_id, event.message_id, event.traits.get("email")):
                assert secret in (None, "anonymous") or json.dumps(secret)[1:-1].encode() not in log
        assert b"userAgent" not in log
        copy = World(database, f"pseudonymous-{number}")
        await copy.take(log, tmp_path / f"log{number}")
        assert await copy.derived(identities=False) == await shop.derived(identities=False)
    assert await shop.ndjson(Pseudonyms("another")) != await shop.ndjson(pseudonyms)


async def test_a_log_of_another_tool_becomes_journeys(database: Database, tmp_path: Path) -> None:
    events = "".join(
        f'''<event>
          <string key="concept:name" value="{name}"/><date key="time:timestamp" value="2025-01-01T10:00:00{zone}"/>
          <string key="lifecycle:transition" value="{transition}"/>
        </event>'''
        for name, zone, transition in [
            ("Product Viewed", "+01:00", "complete"),
            ("Product Added", "+01:00", "start"),
            ("Order Completed", "+01:00", "complete"),
        ]
    )
    log = f'<log><trace><string key="concept:name" value="ada"/>{events}<event/></trace></log>'
    world = World(database, "foreign")
    report = await world.take(log.encode(), tmp_path / "log.xes")
    assert (report.accepted, report.refused, report.reasons) == (3, 1, {"no_time": 1})
    assert [sample.row for sample in report.samples] == [4]
    (person,) = await world.derived()
    assert (person["identities"], [run[:3] for run in person["journeys"]]) == (
        ["u:ada"],
        [("purchase", 1, "completed")],
    )
    names = [event.name for event in await world.events()]
    assert names == ["Product Viewed", "Product Added", "Order Completed"], "the file's order, at equal times"


@pytest.mark.skipif(not ECOM.exists(), reason="the event log ecom.csv.gz is not beside this checkout")
async def test_a_real_event_log_survives_the_trip(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = Mapping.parse(
        ["userId=user_id", "event=event", "timestamp=timestamp"],
        ["catalog=Product List Viewed", "add_to_cart=Product Added", "purchase=Order Completed"],
    )
    world, copy = World(database, "ecom"), World(database, "ecom-copy")
    began = time.perf_counter()  # the world's own clock stands still
    await world.take(ECOM.read_bytes(), tmp_path / "ecom.csv.gz", mapping)
    imported = time.perf_counter()
    log = await world.xes()
    exported = time.perf_counter()
    second = await copy.take(gzip.compress(log), tmp_path / "ecom.xes.gz")
    took = imported - began, exported - imported, time.perf_counter() - exported
    with capsys.disabled():
        print(
            "\nrows/s: CSV import {:,.0f}, XES export {:,.0f}, XES import {:,.0f}".format(*(31_106 / s for s in took))
        )

    people = await copy.derived()
    sessions = [session for person in people for session in person["sessions"]]
    assert (second.accepted, len(people), len(sessions)) == (31_106, 600, 3_605)
    assert round(sum(end - start for start, end, *_ in sessions) / len(sessions) / 1000, 2) == 1_039.55
    assert people == await world.derived()
    reached = Counter[str | None]()
    for event in await copy.events():
        steps = ("Product List Viewed", "Product Added", "Order Completed")
        if reached[event.user_id] < 3 and event.name == steps[reached[event.user_id]]:
            reached[event.user_id] += 1
    assert [sum(steps >= least for steps in reached.values()) for least in (1, 2, 3)] == [600, 511, 285]


def test_the_command_writes_whole_files_and_replaces_none(gateway_environment: dict[str, str], tmp_path: Path) -> None:
    gateway = RunningGateway(gateway_environment, free_port())
    gateway.command("init")
    rows = tmp_path / "rows.csv"
    rows.write_text("user,event,time\n" + "".join(f"ada,e{n},2024-03-13T10:00:0{n}Z\n" for n in range(5)))
    mapping = ("--map", "userId=user", "--map", "event=event", "--map", "timestamp=time")
    counted = json.loads(gateway.command("import", str(rows), *mapping, "--json").stdout)
    assert (counted["rows"], counted["accepted"], counted["refused"], counted["samples"]) == (5, 5, 0, [])
    log = tmp_path / "log.xes.gz"
    told = gateway.command("export", "--output", str(log))
    assert (told.stdout, told.stderr.splitlines()[-1]) == ("", f"5 events exported to {log}")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    first = log.read_bytes()
    assert gzip.decompress(first).count(b"<event>") == 5

    refused = gateway.command("export", "--output", str(log), check=False)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    gateway.command("export", "--output", str(log), "--force")
    assert log.read_bytes() == first, "the same events, the same bytes"
    lines = gateway.command("export", "--format", "ndjson", "--output", "-", "--from", "2024-03-13T10:00:03Z").stdout
    assert [json.loads(line)["event"] for line in lines.splitlines()] == ["e3", "e4"]
    wrong = gateway.command(
        "export", "--output", str(tmp_path / "x.xes"), "--case", "journey", "--map", "no", check=False
    )
    assert "There are: " in wrong.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.xes.gz", "rows.csv"]
