"""Numbers of KPIs that functions of plugins give: right, and alone in their trouble."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

import pytest

from gateway.app.building import open_gateway
from gateway.connectors import kpi_functions
from gateway.contract import AlertRule, Condition, load_texts
from gateway.contract.alerts import OnKpi
from gateway.errors import Unavailable
from gateway.insights.kpis.evaluating import KpiQuestion
from gateway.insights.kpis.ranges import TimeRange
from gateway.model.scope import Scope
from gateway.plugin.configuring import Plugged
from gateway.plugin.host import Host
from gateway.settings import Settings
from gateway.store.database import Database
from tests.api.acme_kpis import PLUGIN, contract
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, identify, track
from tests.api.test_kpi_snapshots import opened

DAY = 86_400_000
README = (Path(__file__).parents[2] / "plugins/README.md").read_text()
RANGE: dict[str, Any] = {"range": {"last": "7d"}}
RESULT = """query($key: ID!, $range: RangeInput!, $by: String) { kpi(key: $key) { status statusReason
  result(range: $range, by: $by) { value n low high definition hash users { totalCount }
    failure { plugin version operation category message fix retryable traceId }
    slices { for { label } value n users { totalCount } }
    series(interval: DAY) { value n } } } }"""


async def gateway_with(database: Database, folder: Path, *, text: str = PLUGIN) -> Gateway:
    (folder / "acme.py").write_text(text)
    made = Gateway(database, contract(), plugged=Plugged(Host.load((), folder=folder)))
    await made.prepare()
    return made


async def send_orders(gateway: Gateway) -> None:
    """ada: hours 0, 10, 14 (gaps of 10 and 4, 70 in all); bob: 0 and 1 (100 in all); eve: one of no number."""

    def order(user: str, minutes: int, device: str, **properties: object) -> dict[str, Any]:
        return track("Order Completed", minutes, userId=user, properties={"device": device, **properties})

    day = 24 * 60
    await gateway.send(
        *(identify(3 * day, userId=one, traits={"plan": plan}) for one, plan in (("ada", "pro"), ("bob", "free"))),
        order("ada", 2 * day, "phone", total=30),
        order("ada", 2 * day - 10 * 60, "desk", total=30),
        order("ada", 2 * day - 14 * 60, "desk", total=10),
        order("bob", 2 * day, "desk", total=60),
        order("bob", 2 * day - 60, "phone", total=40),
        order("eve", 2 * day, "desk", total="a lot"),
    )


async def result(gateway: Gateway, key: str, **asked: object) -> dict[str, Any]:
    found = await gateway.ask(RESULT, await gateway.api_key(), key=key, **RANGE, **asked)
    told: dict[str, Any] = {**found["kpi"]["result"], "status": found["kpi"]["status"]}
    return {**told, "statusReason": found["kpi"]["statusReason"]}


async def test_a_mean_of_users_equals_a_hand_computation(database: Database, tmp_path: Path) -> None:
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    found = await result(gateway, "median_hours")
    # ada 7 hours, bob 1; the interval of two is 4 ± 12.706 * 3 (t of 1 degree of freedom, standard error 3).
    assert (found["value"], found["n"], found["failure"], found["status"]) == (4, 2, None, "LIVE")
    assert (found["low"], found["high"]) == (pytest.approx(4 - 38.12, abs=0.01), pytest.approx(4 + 38.12, abs=0.01))
    assert found["users"]["totalCount"] == 2
    assert 'What the function "acme.median_hours" of a plugin makes of each unique user' in found["definition"]


async def test_a_share_of_users_gets_its_property_and_parameters(database: Database, tmp_path: Path) -> None:
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    found = await result(gateway, "spenders")
    # bob of ada and bob; eve has no number. Wilson's interval of 1 in 2.
    assert (found["value"], found["n"]) == (50, 2)
    assert (found["low"], found["high"]) == (pytest.approx(9.45, abs=0.01), pytest.approx(90.55, abs=0.01))
    hit = RESULT.replace("users {", "users(group: HIT) {", 1)
    told = await gateway.ask(hit, await gateway.api_key(), key="spenders", **RANGE)
    assert told["kpi"]["result"]["users"]["totalCount"] == 1


async def test_parts_of_the_range_are_ranges_of_their_own(database: Database, tmp_path: Path) -> None:
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    found = [(one["value"], one["n"]) for one in (await result(gateway, "median_hours"))["series"] if one["n"]]
    # Now is noon: the orders of two days ago are at 12, 22 and 2 (ada), at 12 and 13 (bob).
    assert found == [(5.5, 2)]


@pytest.mark.parametrize(
    ("by", "slices"),
    [
        ("traits.plan", [("free", 1, 1), ("pro", 7, 1)]),
        # By the value of the user's first event in the range.
        ("device", [("desk", 1, 1), ("phone", 7, 1)]),
    ],
)
async def test_it_is_broken_down_by_user(
    database: Database, tmp_path: Path, by: str, slices: list[tuple[str, float, int]]
) -> None:
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    found = await result(gateway, "median_hours", by=by)
    told = [(one["for"]["label"], one["value"], one["n"]) for one in found["slices"]]
    assert sorted(told) == slices
    assert [one["users"]["totalCount"] for one in found["slices"]] == [1, 1]


def by_hand(orders: list[tuple[str, int, str]], start: int, end: int, device: str | None = None) -> list[float]:
    """The median hours of everybody with two orders in [start, end) ms, whose first one was on the device."""
    found = []
    for user in sorted({one for one, _, _ in orders}):
        mine = sorted((at, on) for one, at, on in orders if one == user and start <= at < end)
        gaps = [(after - before) / 3_600_000 for (before, _), (after, _) in pairwise(mine)]
        if gaps and device in (None, mine[0][1]):
            found.append(median(gaps))
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_it_equals_what_is_counted_by_hand_over_any_events(database: Database, tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    gateway = await gateway_with(database, tmp_path)
    minutes = chance.sample(range(1, 7 * 24 * 60), 120)
    orders = [(f"u{chance.randint(0, 9)}", ago, chance.choice(("phone", "desk"))) for ago in minutes]
    properties = [{"device": on} for _, _, on in orders]
    sent = zip(orders, properties, strict=True)
    await gateway.send(*(track("Order Completed", ago, userId=user, properties=said) for (user, ago, _), said in sent))
    timed = [(user, NOW - ago * 60_000, on) for user, ago, on in orders]
    found = await result(gateway, "median_hours", by="device")
    wanted = by_hand(timed, NOW - 7 * DAY, NOW)
    assert (found["value"], found["n"]) == (pytest.approx(mean(wanted)), len(wanted))
    for one in found["slices"]:
        wanted = by_hand(timed, NOW - 7 * DAY, NOW, one["for"]["label"])
        assert (one["value"], one["n"]) == (pytest.approx(mean(wanted)), len(wanted))
    assert len(found["slices"]) == 2
    midnight = NOW - NOW % DAY
    bounds = [NOW - 7 * DAY, *(midnight - days * DAY for days in range(6, -1, -1)), NOW]
    for one, (start, end) in zip(found["series"], pairwise(bounds), strict=True):
        wanted = by_hand(timed, start, end)
        assert one["n"] == len(wanted)
        assert one["value"] == (pytest.approx(mean(wanted)) if wanted else None)


async def test_filters_of_the_kpi_hold_for_what_it_sees(database: Database, tmp_path: Path) -> None:
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    kpi = gateway.contract.kpis["median_hours"]
    desk = replace(kpi, filters=(Condition("device", "equals", "desk"),))
    question = KpiQuestion(kpi=desk, range=TimeRange(start=NOW - 7 * 86_400_000, end=NOW))
    figure = await gateway.evaluator.figure(Scope.system(WORKSPACE), gateway.contract, question)
    # ada's second and third order; bob has one on a desk.
    assert (figure.estimate.value, figure.estimate.n) == (4, 1)
    assert (desk.hash == kpi.hash) is False


async def test_new_events_change_it_and_the_same_are_not_asked_about_again(database: Database, tmp_path: Path) -> None:
    counting = PLUGIN.replace(
        "        return None if",
        "        with open(__file__ + '.calls', 'a') as calls: calls.write('.')\n        return None if",
    )
    gateway = await gateway_with(database, tmp_path, text=counting)
    await send_orders(gateway)
    asked = "query($key: ID!, $range: RangeInput!) { kpi(key: $key) { result(range: $range) { value n } } }"
    key = await gateway.api_key()
    for _ in range(2):
        await gateway.ask(asked, key, key="median_hours", **RANGE)
    assert (tmp_path / "acme.py.calls").read_text() == "..."
    await gateway.send(track("Order Completed", 24 * 60, userId="eve"))
    found = await gateway.ask(asked, key, key="median_hours", **RANGE)
    assert found["kpi"]["result"] == {"value": (7 + 1 + 24) / 3, "n": 3}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("raises", "It raised KeyError."),
        ("blocks", "It has not come to an end within 0.6 s."),
        ("slow", "It has not come to an end within 0.6 s."),
        ("text", "It returned str."),
        ("nan", "It returned NaN or an infinite number."),
        ("huge", "It returned NaN or an infinite number."),
        ("two", "It is a share, and returned neither 0 nor 1."),
        ("writes", "It raised ValueError."),
    ],
)
async def test_a_function_in_trouble_is_alone_in_it(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    key: str,
    message: str,
) -> None:
    monkeypatch.setattr(kpi_functions, "OBSERVE_SECONDS", 0.6)
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    asked = (
        f'query($range: RangeInput!) {{ bad: kpi(key: "{key}") {{ ...R }} good: kpi(key: "spenders") {{ ...R }} }} '
        "fragment R on Kpi { result(range: $range) { value n users { totalCount } series(points: 2) { value } "
        "failure { plugin version operation category message fix traceId } } }"
    )
    found = await gateway.ask(asked, await gateway.api_key(), **RANGE)
    bad, good = found["bad"]["result"], found["good"]["result"]
    assert (bad["value"], bad["n"], bad["users"]["totalCount"]) == (None, 0, 0)
    assert (good["value"], good["failure"]) == (50, None)
    failure = bad["failure"]
    assert (failure["plugin"], failure["version"], failure["category"]) == ("acme", "1.2", "BUG")
    assert (failure["operation"], failure["message"]) == (f"KPI function acme.{key}", message)
    assert failure["fix"]
    assert failure["traceId"]
    logged = [record for record in caplog.records if record.message == "a function of KPIs failed"]
    assert failure["traceId"] in {getattr(record, "trace_id", None) for record in logged}
    assert "ada@person.example" not in caplog.text + str(found)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("absent", "No plugin in use has the function 'acme.absent'."),
        ("refused", "amout: Extra inputs are not permitted. Mend them in the KPI. It takes: amount."),
    ],
)
async def test_what_cannot_be_called_is_broken_and_says_why(
    database: Database, tmp_path: Path, key: str, reason: str
) -> None:
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    found = await result(gateway, key)
    assert (found["status"], found["value"], found["n"]) == ("BROKEN", None, 0)
    assert reason in found["statusReason"]
    assert found["failure"]["category"] == "CONFIG"
    assert {one["value"] for one in found["series"]} == {None}


async def test_a_function_that_holds_its_thread_is_not_called_until_it_lets_go(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kpi_functions, "OBSERVE_SECONDS", 0.6)
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    asked = "query($key: ID!, $range: RangeInput!) { kpi(key: $key) { result(range: $range) { failure { message } } } }"
    key = await gateway.api_key()
    for said in ("It has not come to an end", "An earlier call still holds its thread"):
        found = await gateway.ask(asked, key, key="blocks", **RANGE)
        assert found["kpi"]["result"]["failure"]["message"].startswith(said)
    assert (await result(gateway, "median_hours"))["value"] == 4


async def test_questions_that_wait_too_long_for_their_turn_are_told_to_come_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kpi_functions, "OBSERVE_SECONDS", 0.9)
    gateway = await gateway_with(database, tmp_path)
    await send_orders(gateway)
    asked = """query($range: RangeInput!) { kpi(key: "slow") { result(range: $range) { value
      failure { category retryable } } } }"""
    key = await gateway.api_key()
    # Each takes 0.75 s of the function's thread: of four, two do not get their turn in time.
    ranges = [{"last": f"{days}d"} for days in (4, 5, 6, 7)]
    answers = await asyncio.gather(*(gateway.ask(asked, key, range=one) for one in ranges))
    failures = [one["kpi"]["result"]["failure"] for one in answers]
    assert {"category": "RATE_LIMIT", "retryable": True} in failures


async def test_no_snapshot_and_no_alert_come_of_a_function_that_fails(database: Database, tmp_path: Path) -> None:
    gateway = await gateway_with(database, tmp_path)
    daily = {key: replace(gateway.contract.kpis[key], cadence="daily") for key in ("raises", "absent", "spenders")}
    rule = AlertRule("no_buyers", "Nobody buys", ("ux",), OnKpi("absent"), "lt", 5, window=timedelta(days=1))
    contract = replace(gateway.contract, kpis=daily, alerts={"no_buyers": rule})
    gateway, snapshots = opened(database, contract, plugged=gateway.plugged)
    await send_orders(gateway)
    assert await snapshots.take(WORKSPACE) == 1, "only of the one that works"
    assert snapshots.troubles() == ["absent: PLUGIN", "raises: PLUGIN"]
    with pytest.raises(Unavailable, match=r"The KPI absent cannot be computed: No plugin in use has"):
        await gateway.services.rule_values.measured(Scope.system(WORKSPACE), rule, NOW)
    told = await gateway.ask("{ alertRules { statusReason } }", await gateway.api_key())
    assert told["alertRules"][0]["statusReason"].startswith("The KPI absent is broken: No plugin in use has")


async def test_the_example_of_the_readme_works(database: Database, tmp_path: Path) -> None:
    blocks = dict(re.findall(r"```\w+ kpi (\S+)\n(.*?)```", README, flags=re.DOTALL))
    (tmp_path / "acme.py").write_text(blocks["acme.py"])
    files = {"kpis/median_hours.yaml": blocks["kpis/median_hours.yaml"]}
    made = Gateway(database, load_texts("acme", files), plugged=Plugged(Host.load((), folder=tmp_path)))
    await made.prepare()
    await send_orders(made)
    found = await result(made, "median_hours")
    assert (found["value"], found["n"], found["status"]) == (7, 1, "LIVE"), (
        "bob has two orders, and three are asked for"
    )
    assert (found["low"], found["high"]) == (None, None)


async def test_a_gateway_has_the_functions_of_its_plugins_and_in_safe_mode_none(
    database: Database, mongo_uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "acme.py").write_text(PLUGIN)
    kpi = contract().kpis["spenders"]
    given: dict[str, Any] = {"mongo_uri": mongo_uri, "database": database.name, "data_dir": tmp_path}
    for only, there in ((None, True), ((), False)):
        settings = Settings(plugins_dir=folder, load_plugins=only, columnar_url="off", **given)
        async with open_gateway(settings, serves=True) as gateway:
            trouble = await gateway.evaluator.trouble(kpi)
            assert (trouble is None) is there
