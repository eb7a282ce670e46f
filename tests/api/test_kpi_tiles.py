"""What rollups say of a KPI is what a scan of the events says, whatever came and whoever denies."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from gateway.contract import Kpi, Ratio
from gateway.contract.functions import Count, Function
from gateway.insights.kpis.estimates import Estimate, estimate
from gateway.insights.kpis.evaluating import KpiQuestion
from gateway.insights.kpis.ranges import TimeRange
from gateway.insights.kpis.tiles import Tiles
from gateway.model.scope import Scope
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, track
from tests.unit.insights.made_kpis import rule

NAMES = ("A", "B", "C")
DAY = 24 * 60
SCOPE = Scope.system(WORKSPACE)
CONSENT = """mutation($user: UserBy, $state: ConsentState!) { setConsent(input: {
  user: $user, purposes: {analytics: $state}, source: "banner" }) { errors { code } } }"""


def kpi(function: Function) -> Kpi:
    return Kpi("k", "?", "events", "higher", ("ux",), None, function)


async def scanned(gateway: Gateway, one: Kpi, bounds: list[int]) -> list[Estimate]:
    question = KpiQuestion(kpi=one, range=TimeRange(start=bounds[0], end=bounds[-1]))
    answer = await gateway.evaluator.observed(SCOPE, gateway.contract, question, bounds)
    return [estimate(one.function, sample) for sample in answer.found.samples]


async def compared(gateway: Gateway, chance: Random, times: int = 12) -> None:
    for _ in range(times):
        names = chance.sample(NAMES, 2)
        count = Count(tuple(map(rule, names)))
        one = kpi(chance.choice((count, Count((rule("B"),)), Ratio(Count((rule(names[0]),)), count))))
        quarter = 15 * 60_000
        ends = [NOW - chance.randint(0, 40 * DAY) * 60_000 for _ in range(chance.randint(2, 5))]
        ends = [end - end % quarter if chance.random() < 0.5 else end + chance.randint(0, 59_999) for end in ends]
        bounds = sorted({*ends, NOW if chance.random() < 0.5 else NOW + quarter})
        said = await Tiles(gateway.database).estimates(SCOPE, one, bounds, NOW)
        assert said == await scanned(gateway, one, bounds), (one.function, bounds)


async def test_rollups_say_what_a_scan_says(gateway: Gateway) -> None:
    chance = Random(7)
    for _ in range(4):
        events = [
            track(
                chance.choice(NAMES), chance.choice((0, chance.randint(0, 40 * DAY), chance.random() * 30)),
                userId=chance.choice("pqrs"), messageId=str(chance.randrange(10_000)),
            )
            for _ in range(60)
        ]  # fmt: skip
        await gateway.send(*events)
    await compared(gateway, chance)
    key = await gateway.api_key()
    await gateway.ask(CONSENT, key, user={"userId": "p"}, state="DENIED")
    gateway.clock.advance(10)
    await gateway.derive()
    await gateway.send(*(track("A", minutes, userId="p") for minutes in (1, 50, 9 * DAY)))
    gateway.clock.advance(-10)
    await compared(gateway, chance)
    gateway.clock.advance(20)
    await gateway.ask(CONSENT, key, user={"userId": "p"}, state="GRANTED")
    await gateway.derive()
    gateway.clock.advance(-20)
    await compared(gateway, chance)


async def test_a_tile_knows_nothing_of_conditions_and_filters(gateway: Gateway) -> None:
    shop = gateway.contract.kpis["csat"]
    tiles = Tiles(gateway.database)
    assert await tiles.estimates(SCOPE, shop, (0, NOW), NOW) is None
    filtered = replace(kpi(Count((rule("A"),))), filters=shop.function.rule.where)  # type: ignore[union-attr]
    assert await tiles.estimates(SCOPE, filtered, (0, NOW), NOW) is None
    assert await tiles.estimates(SCOPE, kpi(Count((rule("A"),))), (0, NOW), NOW) == [Estimate(0.0, 0)]
