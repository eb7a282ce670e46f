"""KPIs of every kind through HTTP, over events that come late, twice and from people who turn out to be one."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from gateway.api.scalars import iso
from gateway.contract import Kpi, rules_of
from gateway.store.database import Database
from tests.api.gateway_api import NOW, Gateway, load_shop
from tests.unit.insights.comparing_kpis import named
from tests.unit.insights.made import FAR, HOUR, NEAR, Population, difference, population
from tests.unit.insights.made_kpis import KINDS, NAMES, Made
from tests.unit.insights.oracles import kpis

ASK = """query($key: ID!, $range: RangeInput!, $by: String, $zone: String) { kpi(key: $key) {
  result(range: $range, by: $by, top: 1, timeZone: $zone) { value n low high open hash
    slices { for { value isOther } value n low high open }
    series(interval: DAY) { start end value n low high open }
    users { totalCount } } } }"""
NUMBERS = ("value", "n", "low", "high", "open")


def identified(made: Population, chance: Random) -> None:
    """Each user is identified somewhere: an event like any other, which makes two identities one."""
    for user in sorted({row["user"] for row in made.rows}):
        at = chance.choice([row["at"] for row in made.rows if row["user"] == user])
        plain = {"value": None, "breakdown": -1, "session": -1, "code": -1, "seq": 0, "id": 0}
        made.rows.insert(chance.randrange(len(made.rows)), {"user": user, "at": at, "name": "identify", **plain})
    for number, row in enumerate(made.rows):  # in the order in which they are sent
        row |= {"seq": number, "id": number}


def messages(made: Population, chance: Random) -> list[dict[str, Any]]:
    """Each user under two identities."""
    found: list[dict[str, Any]] = []
    for row in made.rows:
        both = {"anonymousId": f"a{row['user']}", "userId": f"u{row['user']}"}
        one = chance.choice(("anonymousId", "userId"))
        properties = {"v": row["value"], "p": None if row["breakdown"] == -1 else row["breakdown"]}
        told = {
            "type": "track",
            "event": row["name"],
            "properties": {name: value for name, value in properties.items() if value is not None},
            one: both[one],
        }
        if row["name"] == "identify":
            told = {"type": "identify", **both}
        found.append({"messageId": f"m{len(found)}", "timestamp": iso(row["at"]), **told})
    return found


def contract_of(made: dict[str, Made]) -> Any:
    found = {
        key: Kpi(key, "?", "number", "higher", ("ux",), None, function, breakdowns=("p",))
        for key, (function, _) in made.items()
    }
    return replace(load_shop(), kpis=found)


@pytest.mark.parametrize("seed", [3, 8])
async def test_every_kind_of_kpi_is_what_the_oracle_says(database: Database, seed: int) -> None:
    chance = Random(seed)
    made = named(population(chance, gaps=(*FAR, *NEAR), most=40))
    while len({row["user"] for row in made.rows}) < 3:
        made = named(population(chance, gaps=(*FAR, *NEAR), most=40))
    of_key = {f"{name}_{n}": make(chance) for name, make in KINDS.items() for n in range(2)}
    gateway = Gateway(database, contract_of(of_key))
    await gateway.prepare()
    try:
        identified(made, chance)
        sent = messages(made, chance)
        await gateway.send(*sent[: len(sent) // 2])
        await gateway.send(*sent[len(sent) // 3 :])  # some of them a second time
        low, high = made.span
        between = (low + chance.choice((0, HOUR)), high + 1)
        key = await gateway.api_key()
        wrong = {}
        for name, (function, question) in of_key.items():
            events = {rule.event for rule in rules_of(function)} or set(NAMES)
            has_parts = any(row["breakdown"] != -1 and row["name"] in events for row in made.rows)
            given = {"between": {"from": iso(between[0]), "to": iso(between[1])}}
            variables = {"key": name, "range": given, "by": "p" if has_parts else None, "zone": made.zone.key}
            found = (await gateway.ask(ASK, key, **variables))["kpi"]["result"]
            if problem := differs(found, question, made, between, has_parts):
                wrong[name] = problem
        assert wrong == {}
    finally:
        await gateway.close()


def differs(
    found: dict[str, Any], question: dict[str, Any], made: Population, between: tuple[int, int], has_parts: bool
) -> str | None:
    expected = kpis.kpi(question, made.rows, between, NOW, made.zone)
    problems = [difference({name: found[name] for name in NUMBERS}, floats(expected), "value")]
    if has_parts:
        told = [
            (-2 if one["for"]["isOther"] else -1 if one["for"]["value"] is None else one["for"]["value"],
             {name: one[name] for name in NUMBERS})
            for one in found["slices"]
        ]  # fmt: skip
        parts = kpis.slices(question, made.rows, between, NOW, made.zone, 1)
        problems.append(difference(told, [(value, floats(one)) for value, one in parts], "slices"))
    for point in found["series"]:
        span = (parsed(point["start"]), parsed(point["end"]))
        expected = kpis.kpi(question, made.rows, span, NOW, made.zone)
        problems.append(difference({name: point[name] for name in NUMBERS}, floats(expected), f"at {point['start']}"))
    if question["kind"] != "ratio":
        seen = kpis.observations(question, made.rows, between, NOW, made.zone)
        problems.append(difference(found["users"]["totalCount"], len(kpis.people(question, seen, "COUNTED")), "users"))
    return next((problem for problem in problems if problem), None)


def floats(expected: dict[str, Any]) -> dict[str, Any]:
    """As JSON has them."""
    return {name: expected[name] for name in NUMBERS}


def parsed(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * 1000)
