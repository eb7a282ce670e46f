"""Snapshots of KPIs: exactly one for each period, whoever takes it and however often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.contract import Contract, Kpi
from gateway.contract.functions import Churn, Count, Function, Retention, UniqueUsers
from gateway.insights.columnar.scan import Limits
from gateway.insights.kpis.evaluating import Figure, KpiQuestion
from gateway.insights.kpis.snapshots import GRACE_MS, MOST_AT_ONCE, Snapshots, due_periods
from gateway.model.scope import Scope
from gateway.store.database import Database
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, load_shop, track
from tests.unit.insights.made_kpis import rule

DAY = 86_400_000
MIDNIGHT = NOW - NOW % DAY
ASK = """{ kpi(key: "k") { snapshots(first: 50) { nodes {
  start end value n takenAt definition definitionHash definitionChanged version } } } }"""


def kpi(function: Function, cadence: str | None = "daily") -> Kpi:
    return Kpi("k", "?", "events", "higher", ("ux",), None, function, cadence=cadence)  # type: ignore[arg-type]


def opened(database: Database, contract: Contract, **more: Any) -> tuple[Gateway, Snapshots]:
    gateway = Gateway(database, contract, **more)

    async def workspaces() -> list[str]:
        return [WORKSPACE]

    async def derived(workspace: str) -> bool:
        return True

    snapshots = Snapshots(
        gateway.evaluator,
        gateway.clock,
        owns=lambda workspace, key: True,
        contract=lambda: (1, contract),
        workspaces=workspaces,
        derived=derived,
    )
    return gateway, snapshots


async def test_a_period_has_one_snapshot_across_processes_restarts_and_definitions(database: Database) -> None:
    shop = load_shop()
    first = replace(shop, kpis={"k": kpi(Count((rule("A"),)))})
    gateway, one = opened(database, first)
    await gateway.prepare()
    _, two = opened(database, first)
    await gateway.send(*(track("A", minutes, userId="ann") for minutes in (11 * 60, 12 * 60, 60)))
    key = await gateway.api_key("kpis:read")
    assert (await gateway.ask(ASK, key))["kpi"]["snapshots"]["nodes"] == []
    taken = await asyncio.gather(one.take(WORKSPACE), two.take(WORKSPACE), one.take(WORKSPACE))
    assert sum(taken) == 1, "yesterday, once"
    (only,) = (await gateway.ask(ASK, key))["kpi"]["snapshots"]["nodes"]
    assert (only["start"], only["end"]) == ("2026-11-20T00:00:00.000Z", "2026-11-21T00:00:00.000Z")
    assert (only["value"], only["n"], only["definitionChanged"], only["version"]) == (2.0, 2, False, 1)
    assert await one.take(WORKSPACE) == 0
    # Five days later another process goes on, with another definition.
    second = replace(shop, kpis={"k": kpi(Count((rule("B"),)))})
    later, three = opened(database, second)
    later.clock.at = gateway.clock.at = NOW + 5 * DAY
    assert await three.take(WORKSPACE) == 5
    assert await three.take(WORKSPACE) == 0
    found = (await later.ask(ASK, key))["kpi"]["snapshots"]["nodes"]
    assert [one["start"][8:10] for one in found] == ["25", "24", "23", "22", "21", "20"]
    assert [one["definitionChanged"] for one in found] == [False, False, False, False, True, False]
    assert len({one["definitionHash"] for one in found}) == 2
    await gateway.close()
    await later.close()


async def test_a_kpi_that_is_too_much_is_put_off_and_holds_up_no_other(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(kpi(UniqueUsers((rule("A"),))), key="large")
    gateway, snapshots = opened(database, replace(load_shop(), kpis={"large": large, "k": kpi(Count((rule("A"),)))}))
    await gateway.prepare()
    await gateway.send(*(track("A", minutes, userId="ann") for minutes in (11 * 60, 12 * 60)))
    gateway.scans.limits = Limits(stored_rows=1)
    assert await snapshots.take(WORKSPACE) == 1, "the other one"
    assert snapshots.troubles() == ["large: TOO_LARGE"]
    asked: list[str] = []
    figure = gateway.evaluator.figure

    async def counted(scope: Scope, contract: Contract, question: KpiQuestion) -> Figure:
        asked.append(question.kpi.key)
        return await figure(scope, contract, question)

    monkeypatch.setattr(gateway.evaluator, "figure", counted)
    for _ in range(3 * 60):  # looks of an hour
        gateway.clock.advance(20_000)
        await snapshots.take(WORKSPACE)
    assert asked == ["large"] * 5, "after 1, 3, 7, 15 and 31 minutes"
    assert [record.message for record in caplog.records].count("a KPI has no snapshots") == 1
    gateway.scans.limits = Limits()
    gateway.clock.advance(3_600_000)
    assert await snapshots.take(WORKSPACE) == 1
    assert snapshots.troubles() == []
    await gateway.close()


def test_a_period_is_due_when_it_is_over_and_everybody_can_be_judged() -> None:
    count = kpi(Count((rule("A"),)))
    assert due_periods(count, None, MIDNIGHT + GRACE_MS) == [(MIDNIGHT - DAY, MIDNIGHT)]
    assert due_periods(count, None, MIDNIGHT + GRACE_MS - 1) == [(MIDNIGHT - 2 * DAY, MIDNIGHT - DAY)]
    assert due_periods(count, MIDNIGHT - 2 * DAY, MIDNIGHT + GRACE_MS - 1) == []
    assert due_periods(count, MIDNIGHT - DAY, MIDNIGHT + GRACE_MS) == []
    missed = due_periods(count, MIDNIGHT - 400 * DAY, MIDNIGHT + GRACE_MS)
    assert len(missed) == MOST_AT_ONCE
    assert missed[0] == (MIDNIGHT - 399 * DAY, MIDNIGHT - 398 * DAY)
    quiet = kpi(Churn(None, timedelta(days=30)))
    assert due_periods(quiet, None, MIDNIGHT + GRACE_MS + 1) == [(MIDNIGHT - 31 * DAY, MIDNIGHT - 30 * DAY)]
    back = kpi(Retention(None, None, "week", 1))
    assert due_periods(back, None, MIDNIGHT + GRACE_MS) == [(MIDNIGHT - 15 * DAY, MIDNIGHT - 14 * DAY)]


def test_periods_are_those_of_the_calendar() -> None:
    def span(cadence: str) -> list[str]:
        ((start, end),) = due_periods(kpi(Count((rule("A"),)), cadence), None, NOW)
        return [datetime.fromtimestamp(at / 1000, UTC).strftime("%a %d.%m. %H") for at in (start, end)]

    assert span("hourly") == ["Sat 21.11. 08", "Sat 21.11. 09"], "the hour before is not settled yet"
    assert span("weekly") == ["Mon 09.11. 00", "Mon 16.11. 00"]
    assert span("monthly") == ["Thu 01.10. 00", "Sun 01.11. 00"]
    assert due_periods(kpi(Count((rule("A"),)), None), None, NOW) == []
