"""A plan inferred from a real log accepts it whole through intake; a copy with mistakes is caught where they are."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.infer import _drafted, _of_files
from gateway.collect.files import Importer, Mapping
from gateway.contract import load_texts
from gateway.pipeline.conforming import Modes
from gateway.pipeline.contracts import Contracts
from gateway.store.database import Database
from gateway.store.imports import Imports
from gateway.store.quarantine import as_misfits
from tests.flow.doors import open_doors

SNOWPLOW = Path(__file__).parents[3] / "shared/data/snowplow_web/source/snowplow_web_events.csv"
#: Whoever has neither of these ids is told apart by the network's.
MAPPING = Mapping.parse(
    [
        "event=event_name",
        "userId=user_id",
        "anonymousId=domain_userid",
        "timestamp=collector_tstamp",
        "context.locale=br_lang",
    ]
)

#: Column, what it becomes in every row of an event, and the rule that breaks.
MISTAKES: list[tuple[str, str, Callable[[str], str], str]] = [
    ("page_view", "platform", lambda _: "wap", "enum"),
    ("page_view", "page_urlport", lambda text: f"{text}/tcp", "enum"),
    ("page_ping", "doc_height", lambda _: "tall", "pattern"),
    ("link_click", "v_tracker", lambda _: "", "required"),
    ("cmp_visible", "br_cookies", lambda _: "maybe", "enum"),
    ("consent_preferences", "event_id", lambda _: "", "required"),
]


def rows_of(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def spoil(rows: list[dict[str, str]]) -> set[tuple[str, str, str]]:
    """Make each mistake in one row; event, column and rule of those made."""
    made = set()
    used: set[int] = set()
    for event, column, change, rule in MISTAKES:
        number = next(
            at for at, row in enumerate(rows) if row["event_name"] == event and row[column] and at not in used
        )
        used.add(number)
        rows[number][column] = change(rows[number][column])
        made.add((event, column, rule))
    return made


@pytest.mark.skipif(not SNOWPLOW.exists(), reason="../shared/data/snowplow_web is not here")
async def test_a_real_log_and_a_copy_with_mistakes(database: Database, tmp_path: Path) -> None:
    done = await _drafted(lambda: _of_files((SNOWPLOW,), MAPPING), "snowplow", "web")
    assert (done.events, done.fitting) == (160, 160)
    plan = Contracts.fixed(load_texts("snowplow", done.files))
    columns, rows = rows_of(SNOWPLOW)
    expected = spoil(rows)
    copy = tmp_path / "copy.csv"
    with copy.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)

    async with open_doors(database, plan=plan, modes=Modes("quarantine")) as doors:
        importer = Importer(doors.intake, Imports(database), doors.clock)
        whole = await importer.run(SNOWPLOW, MAPPING, doors.workspace, "whole")
        assert (whole.rows, whole.quarantined, whole.refused) == (160, 0, 0)
        assert whole.accepted + whole.duplicate == 160
        spoiled = await importer.run(copy, MAPPING, doors.workspace, "copy")
        assert (spoiled.quarantined, spoiled.accepted + spoiled.duplicate) == (len(expected), 160 - len(expected))
        found = set()
        for row in await doors.quarantined():
            (misfit,) = as_misfits(row)
            found.add((row["reason"].split("'")[1], misfit.property, misfit.rule))
    assert found == expected
