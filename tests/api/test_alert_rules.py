"""Alert rules over a real database: told once however many processes look and die, seen over the API, previewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from gateway.contract import AlertRule
from gateway.contract.alerts import OnDrift, OnKpi, OnLoss, OnSilence
from gateway.insights.alerting import Measured, RuleWatch, Values
from gateway.model.scope import Scope
from gateway.pipeline.conforming import Modes
from gateway.store.alert_states import AlertStates
from gateway.store.database import Database
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, load_shop, track
from tests.api.test_alerts import FOLLOW, alerts
from tests.api.test_segments import segment
from tests.api.test_watching import silent
from tests.store.seam import failing
from tests.unit.insights import oracle_alerts
from tests.unit.insights.test_alerting import Watched, watched

HOUR = 60
RULES = """{ alertRules { key name severity definition hash channels status statusReason since lookedAt value n
  lineage { kind key } } }"""
PREVIEW = """query($key: ID!, $range: RangeInput!) { alertRule(key: $key) { preview(range: $range) {
  fired every looks definition episodes { firedAt recoveredAt value n } } } }"""


def rule(key: str, watching: Any, comparison: Any, threshold: float, **more: Any) -> AlertRule:
    return AlertRule(key, f"{key} is wrong", ("ux",), watching, comparison, threshold, **more)


def quiet(**more: Any) -> AlertRule:
    return rule("quiet", OnSilence("Buy"), "gte", 2, every=timedelta(hours=1), **more)


async def opened(database: Database, *rules: AlertRule, **more: Any) -> Gateway:
    contract = replace(load_shop(), alerts={one.key: one for one in rules}, **more)
    gateway = Gateway(database, contract, modes=Modes("warn"))
    await gateway.prepare()
    await gateway.hub.start()
    return gateway


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Gateway]:
    gateway = await opened(database, quiet())
    yield gateway
    await gateway.hub.stop()
    await gateway.close()


def watch_of(gateway: Gateway, values: Values | None = None) -> RuleWatch:
    async def workspaces() -> list[str]:
        return [WORKSPACE]

    values = values or gateway.services.rule_values
    return RuleWatch(gateway.database, values, lambda: gateway.contract, workspaces, gateway.clock, lambda *_: True)


async def look(gateway: Gateway) -> int:
    looked = await watch_of(gateway).look(WORKSPACE)
    await gateway.derive()
    return looked


async def test_a_rule_is_looked_at_told_once_and_over(shop: Gateway) -> None:
    await shop.send(track("Buy", 30, userId="ann"))
    key = await shop.api_key()
    async with shop.socket(key) as socket:
        await socket.subscribe(FOLLOW)
        await socket.news()
        assert await look(shop) == 1
        assert await look(shop) == 0, "not before the hour is over"
        (one,) = (await shop.ask(RULES, key))["alertRules"]
        assert (one["status"], one["value"], one["lookedAt"]) == ("OK", 0.5, "2026-11-21T10:00:00.000Z")
        assert one["definition"].startswith("Fires when the number of hours since the last Buy is at or above 2;")
        assert {"kind": "EVENT", "key": "Buy"} in one["lineage"]
        for _ in range(3):
            shop.clock.advance(3_600_000)
            assert await look(shop) == 1
        told = (await socket.news())["alertRaised"]
        assert (told["raised"], told["alert"]["key"], told["at"]) == (True, "rule:quiet", "2026-11-21T12:00:00.000Z")
        assert await silent(socket)
        (open_,) = await alerts(shop, open=True)
        assert (open_["aboutKind"], open_["aboutKey"], open_["title"]) == ("alert rule", "quiet", "quiet is wrong")
        assert open_["text"].startswith("It is 2.5, from 1 observations. Fires when")
        await shop.send(track("Buy", -170, userId="ann"))
        shop.clock.advance(3_600_000)
        await look(shop)
        assert (await socket.news())["alertRaised"]["raised"] is False
    (one,) = (await shop.ask(RULES, key))["alertRules"]
    assert (one["status"], one["since"]) == ("OK", "2026-11-21T14:00:00.000Z")
    found = await shop.ask(
        PREVIEW, key, key="quiet", range={"between": {"from": "2026-11-21T10:00:00Z", "to": "2026-11-22T10:00:00Z"}}
    )
    seen = found["alertRule"]["preview"]
    assert (seen["fired"], seen["every"], seen["looks"]) == (1, "1 hour", 5)
    assert seen["episodes"] == [
        {"firedAt": "2026-11-21T12:00:00.000Z", "recoveredAt": "2026-11-21T13:00:00.000Z", "value": 2.5, "n": 1}
    ], "what came meanwhile is there for the past as well"


async def test_another_rule_begins_anew_and_one_that_is_gone_closes_its_alert(
    shop: Gateway, database: Database
) -> None:
    await shop.send(track("Buy", 3 * HOUR, userId="ann"))
    await look(shop)
    assert [one["key"] for one in await alerts(shop, open=True)] == ["rule:quiet"]
    changed = replace(shop.contract, alerts={"quiet": replace(quiet(), threshold=9.0)})
    again = Gateway(database, changed)
    again._lease = shop._lease
    assert await look(again) == 1
    assert await alerts(shop, open=True) == []
    gone = Gateway(database, replace(shop.contract, alerts={}))
    gone._lease = shop._lease
    shop.clock.advance(3_600_000)
    await look(shop)
    assert len(await alerts(shop, open=True)) == 1
    await look(gone)
    assert await alerts(shop, open=True) == []
    assert await AlertStates(database).of(Scope.system(WORKSPACE)) == {}
    await again.close()
    await gone.close()


@dataclass
class Seen:
    """What is seen, slowly enough for others to come in between."""

    chance: Random
    one: Watched

    async def measured(self, scope: Scope, rule: AlertRule, at: int) -> Measured:
        await asyncio.sleep(self.chance.choice([0, 0, 0.002]))
        return next(Measured(value, n) for when, value, n in self.one.looks if when == at)


class Death(Exception):
    """The process is gone in the middle of a transaction, which never commits."""


@dataclass(frozen=True)
class Mortal(RuleWatch):
    """A process that dies as it tells: before it has left word of it, or behind that."""

    chance: Random = field(default_factory=Random)

    async def _tell(self, *arguments: Any) -> None:
        if self.chance.random() < 0.5:
            await super()._tell(*arguments)
        raise Death


async def test_it_is_told_once_however_many_look_and_die(database: Database) -> None:
    gateway = await opened(database)
    deaths = 0
    for seed in range(15):
        chance, one = Random(seed), watched(Random(seed + 100))
        gateway.contract = replace(gateway.contract, alerts={f"r{seed}": replace(one.rule, key=f"r{seed}")})
        looks, told = Seen(chance, one), []
        heard: set[tuple[str, bool]] = set()
        for at, _, _ in one.looks:
            gateway.clock.advance(at - gateway.clock.now())
            living = [watch_of(gateway, looks) for _ in range(2)]
            if chance.random() < 0.7:
                mortal = Mortal(**{one.name: getattr(living[0], one.name) for one in fields(RuleWatch)}, chance=chance)
                try:
                    await mortal.look(WORKSPACE)
                except Death:
                    deaths += 1
            if chance.random() < 0.2:
                async with failing(database, "commitTransaction", times=1, closeConnection=True):
                    await living[0].look(WORKSPACE)
            await asyncio.gather(*(one.look(WORKSPACE) for one in living))
            await gateway.derive()
            rows = await database.find("feed", {"workspace": WORKSPACE, "kind": "alert", "key": f"rule:r{seed}"})
            fresh = [row for row in rows if (row["alert"], row["raised"]) not in heard]
            heard |= {(row["alert"], row["raised"]) for row in fresh}
            told += [(at, "fired" if row["raised"] else "recovered") for row in fresh]
            assert len(rows) == len(heard), "told twice"
        assert told == oracle_alerts.happened(one.plain, one.looks), seed
    assert deaths > 5
    raised = await database.find("alerts", {"workspace": WORKSPACE})
    assert raised
    assert {row["count"] for row in raised} == {1}, "of several that look at the same moment, one tells"
    await gateway.hub.stop()
    await gateway.close()


async def test_kpis_silence_drift_and_loss_are_measured(database: Database) -> None:
    scores = {"buyers": segment("buyers", {"did": {"event": "Buy"}})}
    gateway = await opened(database, segments=scores)
    answer = {"survey": "csat", "score": 5}
    await gateway.send(
        track("Buy", 40, userId="ann"),
        *(track("Survey Response Submitted", 30, userId=user, properties={**answer, "score": score})
          for user, score in (("ann", 5), ("ann", 2), ("bob", 1), ("cyd", 1))),
        track("Order Completed", 20, userId="ann", properties={"order_id": "o-1", "total": "12",
              "products": [{"product_id": "p", "price": 1}, {"product_id": "q", "price": "1"}]}),
        track("Order Completed", 20, userId="ann", properties={"order_id": "o-2", "total": 12}),
    )  # fmt: skip
    await gateway.intake.drain()
    values = gateway.services.rule_values
    day = timedelta(days=1)

    async def value(watching: Any, at: int = NOW) -> tuple[float | None, int]:
        found = await values.measured(Scope.system(WORKSPACE), rule("r", watching, "gt", 1, window=day), at)
        return found.value, found.n

    assert await value(OnKpi("csat")) == (25, 4)
    assert await value(OnKpi("csat", "buyers")) == (50, 2)
    assert await value(OnKpi("session_length", "buyers")) == (1200, 1)
    assert await value(OnKpi("csat"), NOW - 31 * 60_000) == (None, 0)
    assert await value(OnKpi("gone")) == (None, 0)
    assert await value(OnKpi("csat", "gone")) == (None, 0)
    key = await gateway.api_key()
    query = """query($key: ID!, $segment: ID) { kpi(key: $key) {
      result(range: {last: "1d"}, segment: $segment) { value n definition hash } } }"""
    every = (await gateway.ask(query, key, key="csat"))["kpi"]["result"]
    some = (await gateway.ask(query, key, key="csat", segment="buyers"))["kpi"]["result"]
    assert ((every["value"], every["n"]), (some["value"], some["n"])) == ((25, 4), (50, 2))
    assert every["hash"] != some["hash"]
    assert "who are in the segment 'buyers' now" in some["definition"]
    assert "did you mean" in (await gateway.refusal(query, key, key="csat", segment="buyer"))["extensions"]["hint"]
    assert await value(OnSilence("Buy")) == (40 / 60, 1)
    assert await value(OnSilence("Buy"), NOW - 41 * 60_000) == (None, 0)
    assert await value(OnDrift("Order Completed", "total")) == (50, 2)
    assert await value(OnDrift("Order Completed", "order_id")) == (0, 2)
    assert await value(OnDrift("Order Completed", "products[].price")) == (50, 2)
    assert await value(OnDrift("Order Completed", "products[].product_id")) == (0, 1)
    assert await value(OnDrift("Order Completed", "nothing")) == (None, 0)
    loss, sent = await value(OnLoss(), NOW + 60_000)
    assert (loss, sent) == (0, 7)
    assert await value(OnLoss("nobody")) == (None, 0)
    await gateway.hub.stop()
    await gateway.close()


FILE = """key: satisfied
name: Fewer are satisfied
owners: [ux]
watch: {kpi: {key: csat}}
when: {lt: 60}
window: 1d
every: 1h
"""


async def test_a_rule_that_is_no_part_of_the_contract_is_previewed(shop: Gateway) -> None:
    answer = {"survey": "csat"}
    await shop.send(
        *(track("Survey Response Submitted", hours * HOUR, userId="ann", properties={**answer, "score": score})
          for hours, score in ((72, 5), (49.5, 1), (24.5, 5), (12, 1), (12, 1)))
    )  # fmt: skip
    query = (
        'query($file: String!) { alertPreview(file: $file, range: {last: "3d"}) { fired every episodes { value n } } }'
    )
    key = await shop.api_key()
    found = (await shop.ask(query, key, file=FILE))["alertPreview"]
    assert found == {
        "fired": 2,
        "every": "1 hour",
        "episodes": [{"value": 50.0, "n": 2}, {"value": pytest.approx(100 / 3), "n": 3}],
    }
    for wrong, said in (
        (FILE.replace("csat", "cast"), "did you mean 'csat'?"),
        (FILE.replace("window: 1d\n", ""), "add window: 7d"),
        (FILE.replace("when: {lt: 60}", "when: {}"), "write exactly one of gt, gte, lt, lte"),
        ("[]", "not a mapping of keys"),
        ("key: ../../x", "mistakes"),
    ):
        error = await shop.refusal(query, key, file=wrong)
        assert error["extensions"]["code"] == "INVALID_INPUT"
        assert said in error["message"], error
    future = """{ alertRule(key: "quiet") { preview(
      range: {between: {from: "2030-01-01T00:00:00Z", to: "2031-01-01T00:00:00Z"}}) { fired } } }"""
    assert "future" in (await shop.refusal(future, key))["message"]
    assert (await shop.ask('{ alertRule(key: "nobody") { key } }', key))["alertRule"] is None
    assert (await shop.ask('{ node(id: "rule_quiet") { ... on AlertRule { key } } }', key))["node"] == {"key": "quiet"}
