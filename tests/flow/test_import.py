"""Files in, events out: each row once and in the file's order, whatever interrupts it."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.cli.data import _bar
from gateway.clock import ServerClock
from gateway.collect import files
from gateway.collect.files import Importer, Mapping, Report
from gateway.collect.presets import XesLog
from gateway.errors import InvalidInput, Unavailable
from gateway.model.event import Event
from gateway.model.scope import Scope
from gateway.pipeline.intake import Intake
from gateway.store.collections import prepare
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.imports import Imports
from gateway.store.quarantine import Quarantine

ECOM = Path(__file__).parents[3] / "shared" / "data" / "ecom.csv.gz"
MAPPING = Mapping.parse(["userId=user", "event=event", "timestamp=time"])


@pytest.fixture
async def importer(database: Database) -> Importer:
    await prepare(database)
    return make_importer(database)


def make_importer(database: Database, *, patience: float = 60.0) -> Importer:
    clock = ServerClock()
    return Importer(Intake(Events(database), Quarantine(database), clock), Imports(database), clock, patience=patience)


async def stored(database: Database) -> list[Event]:
    """Every event, oldest first."""
    return (await Events(database).page(Scope.system("acme"), limit=100_000))[::-1]


def write_rows(file: Path, count: int) -> None:
    """Rows of one second each hundred, every seventh the same as the one before."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["user", "event", "time", "number"])
        for number in range(count):
            shown = number - 1 if number % 7 == 0 and number else number
            rows.writerow(["ada", "e", f"2024-03-13 10:{shown // 6000:02}:{shown // 100 % 60:02}", shown])


def numbers(count: int) -> list[str]:
    return [str(number - 1 if number % 7 == 0 and number else number) for number in range(count)]


def settled(report: Report) -> int:
    return report.accepted + report.duplicate + report.conflict + report.quarantined + report.refused


async def break_off(importer: Importer, file: Path, at: int) -> None:
    """Run an import and cancel it once it has read more than `at` rows."""
    reading = asyncio.Event()

    def stop(bytes_read: int, rows: int) -> None:
        if rows > at:
            reading.set()

    run = asyncio.create_task(importer.run(file, MAPPING, "acme", "file", progress=stop))
    await reading.wait()
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run


@asynccontextmanager
async def unconfirmed_inserts(database: Database, mode: str | dict[str, int]) -> AsyncIterator[None]:
    """mongod stores events but says that no majority has confirmed them."""
    failure = {
        "failCommands": ["insert"],
        "namespace": f"{database.name}.events",
        "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"},
    }
    await database.admin({"configureFailPoint": "failCommand", "mode": mode, "data": failure})
    try:
        yield
    finally:
        await database.admin({"configureFailPoint": "failCommand", "mode": "off"})


@pytest.mark.skipif(not ECOM.exists(), reason="the event log ecom.csv.gz is not beside this checkout")
async def test_a_real_event_log_is_imported_whole_and_once(
    importer: Importer, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = Mapping.parse(
        ["userId=user_id", "event=event", "timestamp=timestamp"],
        ["catalog=Product List Viewed", "add_to_cart=Product Added", "purchase=Order Completed"],
    )
    first = await importer.run(ECOM, mapping, "acme", "shop")
    second = await importer.run(ECOM, mapping, "acme", "shop")

    with capsys.disabled():
        rate, again = first.rows / first.seconds, second.rows / second.seconds
        print(f"\nimport: {first.rows:,} rows, {rate:,.0f} rows/s; the same again {again:,.0f} rows/s")
    assert (first.rows, first.accepted) == (31_106, 31_106)
    assert (second.rows, second.duplicate, second.resumed_from) == (31_106, 31_106, 0)
    with gzip.open(ECOM, "rt") as log:
        rows = list(csv.DictReader(log))
    events = await stored(database)
    assert Counter(event.name for event in events)["Product List Viewed"] == 6_521
    assert len({event.user_id for event in events}) == 600
    assert all(event.properties.keys() >= {"session_id", "platform"} for event in events)
    for user in ("user_0000", "user_0599"):
        sent = [(row["timestamp"], row["session_id"]) for row in rows if row["user_id"] == user]
        kept = [event for event in events if event.user_id == user]
        assert [event.properties["session_id"] for event in kept] == [session for _, session in sorted(sent)]


async def test_rows_of_one_second_keep_the_files_order(importer: Importer, database: Database, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", 2_500)
    report = await importer.run(tmp_path / "rows.csv", MAPPING, "acme", "file")
    assert (report.accepted, settled(report)) == (2_500, 2_500)
    assert [event.properties["number"] for event in await stored(database)] == numbers(2_500)


@pytest.mark.parametrize("breaks", [[2_000], [2_000, 4_000], [4_000]])
async def test_an_interrupted_import_goes_on_where_it_was(
    importer: Importer, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: list[int]
) -> None:
    monkeypatch.setattr(files, "_NOTE_SECONDS", 0.0)
    monkeypatch.setattr(files, "IN_FLIGHT", 2)
    file = tmp_path / "rows.csv"
    write_rows(file, 6_000)
    for at in breaks:
        await break_off(importer, file, at)
    last = await importer.run(file, MAPPING, "acme", "file")

    assert last.resumed_from > 0
    assert last.rows == 6_000
    assert settled(last) == 6_000 - last.resumed_from
    assert [event.properties["number"] for event in await stored(database)] == numbers(6_000)


async def test_another_mapping_begins_at_the_first_row_and_keeps_the_order(
    importer: Importer, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("user,event,time,day\na,one,,2024-03-13\nb,two,2024-03-13,2024-03-13\nc,three,,2024-03-13\n")
    first = await importer.run(file, MAPPING, "acme", "file")
    assert (first.accepted, first.refused, first.reasons) == (1, 2, {"no_time": 2})

    mended = Mapping.parse(["userId=user", "event=event", "timestamp=day"])
    second = await importer.run(file, mended, "acme", "file")

    assert (second.accepted, second.conflict, second.resumed_from) == (2, 1, 0)
    assert [event.name for event in await stored(database)] == ["one", "two", "three"]


async def test_how_far_one_mapping_came_says_nothing_about_another(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_NOTE_SECONDS", 0.0)
    monkeypatch.setattr(files, "IN_FLIGHT", 2)
    write_rows(tmp_path / "rows.csv", 6_000)
    await break_off(importer, tmp_path / "rows.csv", 4_000)
    other = Mapping.parse(["userId=user", "event=event", "timestamp=time", "traits.n=number"])
    report = await importer.run(tmp_path / "rows.csv", other, "acme", "file")
    assert (report.resumed_from, settled(report)) == (0, 6_000)
    assert report.conflict >= 3_000


async def test_other_sources_count_the_same_row_again(importer: Importer, database: Database, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", 10)
    for source in ("one", "two"):
        assert (await importer.run(tmp_path / "rows.csv", MAPPING, "acme", source)).accepted == 10
    assert len(await stored(database)) == 20


async def test_a_longer_file_adds_only_its_new_rows(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    write_rows(file, 100)
    await importer.run(file, MAPPING, "acme", "file")
    write_rows(file, 150)
    report = await importer.run(file, MAPPING, "acme", "file")
    assert (report.accepted, report.duplicate) == (50, 100)


BROKEN = """user,event,time,n
ada,good,2024-03-13,1
ada,narrow
ada,no time,,3
ada,bad time,tomorrow,4
,nobody,2024-03-13,5
ada,,2024-03-13,6
"ada,open quote,2024-03-13,7
ada,good,1710325274,8
"""


async def test_broken_rows_are_told_by_number_and_reason_and_the_others_imported(
    importer: Importer, database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(BROKEN)
    dry = await importer.preview(file, MAPPING, "acme", "file")
    assert await stored(database) == []
    assert await database.find("quarantine", {"workspace": "acme"}) == []
    assert await database.find("imports", {"workspace": "acme"}) == []

    report = await importer.run(file, MAPPING, "acme", "file")

    assert (report.rows, report.accepted, report.quarantined, report.refused) == (8, 2, 2, 4)
    assert [(sample.row, sample.code) for sample in report.samples] == [
        (2, "wrong_width"),
        (3, "no_time"),
        (4, "not_a_time"),
        (5, "no_identity"),
        (6, "no_event_name"),
        (7, "broken_csv"),
    ]
    assert str(report.samples[1]) == "row 3: no_time: The row has nothing in `time`, its time."
    assert sum(report.reasons.values()) == 6
    assert [event.at for event in await stored(database)] == [1_710_288_000_000, 1_710_325_274_000]
    for name in ("rows", "accepted", "quarantined", "refused", "reasons", "samples"):
        assert getattr(dry, name) == getattr(report, name), "a dry run says what the run will say"


async def test_no_more_than_twenty_samples_are_kept(importer: Importer, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("user,event,time\n" + "ada,e,never\n" * 3_000)
    report = await importer.run(tmp_path / "rows.csv", MAPPING, "acme", "file")
    assert (report.refused, report.reasons["not_a_time"], len(report.samples)) == (3_000, 3_000, 20)


async def test_ndjson_rows_are_messages_as_they_are(importer: Importer, database: Database, tmp_path: Path) -> None:
    message = {"type": "track", "event": "e", "userId": "ada", "timestamp": "2024-03-13T10:21:14Z"}
    rows = [message | {"messageId": "1"}, message, message, message | {"messageId": "1"}, {"type": "?"}]
    file = tmp_path / "rows.ndjson.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))

    report = await importer.run(file, Mapping(), "acme", "file")

    assert (report.accepted, report.duplicate, report.quarantined) == (3, 1, 1)
    assert len(await stored(database)) == 3
    assert (await importer.run(file, Mapping(), "acme", "file")).duplicate == 4


async def test_a_clock_that_was_wrong_long_ago_is_left_alone(
    importer: Importer, database: Database, tmp_path: Path
) -> None:
    row = {
        "type": "track",
        "event": "e",
        "userId": "ada",
        "timestamp": "2020-01-01T00:00:00Z",
        "sentAt": "2020-06-01T00:00:00Z",
    }
    (tmp_path / "rows.ndjson").write_text(json.dumps(row))
    await importer.run(tmp_path / "rows.ndjson", Mapping(), "acme", "file")
    (event,) = await stored(database)
    assert event.at == 1_577_836_800_000


async def test_a_file_that_breaks_off_gives_what_it_has_and_says_so(
    importer: Importer, database: Database, tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows.csv", 3_000)
    whole = gzip.compress((tmp_path / "rows.csv").read_bytes())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    for attempt in (importer.preview, importer.run):
        with pytest.raises(InvalidInput, match="cut short"):
            await attempt(tmp_path / "cut.gz", MAPPING, "acme", "file")
    kept = len(await stored(database))
    assert 0 < kept < 3_000

    (tmp_path / "whole.gz").write_bytes(whole)
    report = await importer.run(tmp_path / "whole.gz", MAPPING, "acme", "file")
    assert report.accepted + report.duplicate + report.conflict == 3_000
    assert [event.properties["number"] for event in await stored(database)] == numbers(3_000)


async def test_csv_without_a_mapping_is_refused_with_an_example(importer: Importer, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", 1)
    for attempt in (importer.preview, importer.run):
        with pytest.raises(InvalidInput, match="--map userId=user --map event=event --map timestamp=time"):
            await attempt(tmp_path / "rows.csv", Mapping(), "acme", "file")


async def test_the_example_goes_by_whole_words_first(importer: Importer, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "br_quicktime,superuser,user_id,event_name,etl_tstamp\ntrue,no,ann,Seen,2026-01-01\n"
    )
    with pytest.raises(InvalidInput, match="--map userId=user_id --map event=event_name --map timestamp=etl_tstamp"):
        await importer.preview(tmp_path / "rows.csv", Mapping(), "acme", "file")


async def test_progress_ends_at_the_end_of_the_file(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    write_rows(file, 2_500)
    seen: list[tuple[int, int]] = []
    await importer.run(file, MAPPING, "acme", "file", progress=lambda *at: seen.append(at))
    assert [rows for _, rows in seen] == [1_000, 2_000, 2_500]
    assert seen == sorted(seen)
    assert seen[-1][0] == file.stat().st_size


async def test_what_mongodb_does_not_confirm_is_sent_again(
    importer: Importer, database: Database, tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows.csv", 3_000)
    async with unconfirmed_inserts(database, {"times": 2}):
        report = await importer.run(tmp_path / "rows.csv", MAPPING, "acme", "file")
    assert report.duplicate > 0, "stored by the attempt that was not confirmed"
    assert report.accepted + report.duplicate == 3_000
    assert [event.properties["number"] for event in await stored(database)] == numbers(3_000)


async def test_an_import_gives_up_in_the_end_and_can_be_run_again(
    importer: Importer, database: Database, tmp_path: Path
) -> None:
    write_rows(tmp_path / "rows.csv", 3_000)
    async with unconfirmed_inserts(database, "alwaysOn"):
        with pytest.raises(Unavailable, match="Run the same command again"):
            await make_importer(database, patience=0.5).run(tmp_path / "rows.csv", MAPPING, "acme", "file")
    report = await importer.run(tmp_path / "rows.csv", MAPPING, "acme", "file")
    assert (report.rows, report.resumed_from) == (3_000, 0), "nothing was confirmed, so nothing is skipped"
    assert [event.properties["number"] for event in await stored(database)] == numbers(3_000)


async def test_a_conflict_names_its_likely_causes(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("user,event,time,id\na,one,2024-03-13,7\n")
    await importer.run(file, MAPPING, "acme", "file")
    other = Mapping.parse(["userId=user", "event=id", "timestamp=time"])
    report = await importer.run(file, other, "acme", "file")
    assert report.conflict == 1
    assert "imported before with another --map" in str(report.samples[0])
    assert "--source" in str(report.samples[0])

    for event in ("event", "user"):
        named = Mapping.parse(["userId=user", f"event={event}", "timestamp=time", "messageId=id"])
        report = await importer.run(file, named, "acme", "file")
    assert "Its messageId was stored before with other content" in str(report.samples[0])


async def test_rows_that_are_not_asked_for_are_counted_apart(importer: Importer, tmp_path: Path) -> None:
    row = '<event><string key="concept:name" value="A"/><date key="time:timestamp" value="2024-01-01"/>{}</event>'
    transitions = [f'<string key="lifecycle:transition" value="{name}"/>' for name in ("start", "COMPLETE")]
    rows = "".join(row.format(extra) for extra in (*transitions, ""))
    file = tmp_path / "log.xes"
    file.write_text(f'<log><trace><string key="concept:name" value="ada"/>{rows}</trace></log>')
    report = await importer.run(file, Mapping(preset=XesLog(only_complete=True)), "acme", "file")
    assert (report.rows, report.accepted, report.left_out, settled(report)) == (3, 2, 1, 2)


@pytest.mark.parametrize("name", ["rows.csv", "rows.ndjson"])
async def test_a_preset_for_another_kind_of_file_is_told(importer: Importer, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b\n1,2\n" if name.endswith("csv") else '{"a": 1}\n')
    with pytest.raises(InvalidInput, match="reads XES"):
        await importer.run(tmp_path / name, Mapping(preset=XesLog()), "acme", "file")


@pytest.mark.parametrize(("mark", "name"), [(";", "`;`"), ("\t", "tabs"), ("|", "`|`")])
async def test_other_marks_than_commas_are_named(importer: Importer, tmp_path: Path, mark: str, name: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(f"user{mark}event{mark}time\nada{mark}x{mark}2024-03-13\n")
    with pytest.raises(InvalidInput, match=f"separated by {re.escape(name)}.*commas"):
        await importer.preview(file, MAPPING, "acme", "import")


async def test_options_of_xes_are_named_for_another_file(importer: Importer, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    write_rows(file, 3)
    mapping = Mapping.parse(["userId=user"], preset=XesLog("session"))
    with pytest.raises(InvalidInput, match=r"holds CSV; what you ask for reads XES logs\. Leave out --trace-is"):
        await importer.preview(file, mapping, "acme", "import")


def test_an_error_stands_for_itself_without_the_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.csv"
    write_rows(file, 3)
    with _bar(file) as advance:
        advance(10, 3)
    assert "x.csv" in capsys.readouterr().err
    with suppress(InvalidInput), _bar(file):
        raise InvalidInput("no")
    assert capsys.readouterr().err.strip() == ""
