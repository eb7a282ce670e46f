"""The numbers of the page in a real browser: KPI tiles, funnel, paths and retention, as the API answers them, live."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import orjson
import pytest

from gateway.pipeline.intake import Delivery
from tests.flow.browser import Page
from tests.flow.test_page import KEEP, LIVE, WORKSPACE, Served, opened, page, pytestmark, served

__all__ = ["page", "pytestmark", "served"]  # fixtures and marks

FUNNEL = ("Product List Viewed", "Product Added", "Checkout Started", "Order Completed")
SOON = 60.0
TABLE = """(id) => [...document.querySelectorAll(`#${id} .data tbody tr`)].map(
  (row) => [...row.children].map((cell) => cell.textContent))"""


async def send(served: Served, messages: list[Any]) -> None:
    await served.gateway.intake.ingest(Delivery(WORKSPACE, "test", messages))


def track(event: str, user: str, ago: timedelta = timedelta(), **properties: Any) -> dict[str, Any]:
    """A message of somebody who does not use the page."""
    at = (datetime.now(UTC) - ago).isoformat()
    return {"type": "track", "event": event, "userId": user, "timestamp": at, "properties": properties}


def answers(*scores: int) -> list[Any]:
    return [track("Survey Response Submitted", f"u{n}", survey="csat", score=score) for n, score in enumerate(scores)]


async def look_at(page: Page, area: str) -> None:
    """Nothing is asked for that nobody looks at."""
    await page.evaluate(f"document.querySelector('#{area}').scrollIntoView({{ behavior: 'instant' }})")
    await page.until(f"!document.querySelector('#{area}').hasAttribute('aria-busy')", SOON)


async def asked(page: Page, served: Served, name: str, **variables: Any) -> dict[str, Any]:
    """What the API answers to a document of the page, by the page's own credential."""
    token = await page.evaluate("JSON.parse(sessionStorage.getItem('journey-gateway.page')).token")
    operation = await page.evaluate(f"import('/assets/queries.js').then(({{ operations }}) => operations.{name})")
    answer = await served.ask(token, operation["query"], operation["variables"] | variables)
    return dict(answer["data"])


async def test_a_tile_says_what_the_api_says_and_goes_on_by_itself(page: Page, served: Served) -> None:
    await send(served, answers(*[5] * 32, *[1] * 8))
    await opened(page, served)
    await look_at(page, "kpis")
    csat = "document.querySelector('[data-kpi=csat]')"
    await page.until(f"{csat}.innerText.includes('80.0%')", SOON)
    await page.until(f"{csat}.innerText.includes('n\u00a0=\u00a040')", SOON)
    variables = {"key": "csat", "range": {"last": "56d"}}
    result = (await asked(page, served, "kpiResult", **variables))["kpi"]["result"]
    shown = await page.evaluate(f"{csat}.innerText")
    assert f"95% interval {result['low']:.1f}% to {result['high']:.1f}%" in shown
    assert "No clear difference from the target of 80.0%." in shown
    assert result["definition"].removesuffix(".") in await page.evaluate(f"{csat}.textContent")
    keys = {kpi["key"] for kpi in (await asked(page, served, "kpis"))["kpis"]}
    tiles = await page.evaluate("[...document.querySelectorAll('.tile')].map((one) => one.dataset.kpi)")
    assert set(tiles) == keys - {"purchase_conversion"}

    await page.evaluate(f"window.before = {csat}.querySelector('.value'), true")
    await send(served, [{**one, "messageId": f"m{n}"} for n, one in enumerate(answers(*[1] * 40))])
    await page.until(f"{csat}.innerText.includes('40.0%')", SOON)
    assert "■ Critical: 60.0% or less." in await page.evaluate(f"{csat}.innerText")
    # The very element: what stays is not drawn anew.
    assert await page.evaluate(f"window.before === {csat}.querySelector('.value')")
    table = await page.evaluate(f"({TABLE})('kpis')")
    assert next(row for row in table if "satisfied" in row[0])[1:4:2] == ["40.0%", "80"]
    assert page.complaints == []


async def test_the_funnel_says_who_stopped_where(page: Page, served: Served) -> None:
    long_ago, reached = timedelta(days=20), (10, 4, 2, 1)
    await send(
        served,
        [
            track(event, f"u{user}", long_ago - timedelta(minutes=step))
            for step, (event, people) in enumerate(zip(FUNNEL, reached, strict=True))
            for user in range(people)
        ],
    )
    await opened(page, served)
    await look_at(page, "funnel")
    await page.until("document.querySelector('.drops li:last-child strong')?.textContent === '1'", SOON)

    steps = await page.evaluate("[...document.querySelectorAll('.drops > li')].map((one) => one.innerText)")
    assert [step.split("\n")[0] for step in steps] == list(FUNNEL)
    said = ("6 stopped here (60.0%)", "2 stopped here (50.0%)", "1 stopped here (50.0%)")
    assert all(text in step for text, step in zip(said, steps, strict=False))
    table = await page.evaluate(f"({TABLE})('funnel')")
    assert [(row[0], int(row[1]), int(row[5])) for row in table] == list(
        zip(FUNNEL, reached, (6, 2, 1, 0), strict=True)
    )
    moving = "getComputedStyle(document.querySelector('.drops .got')).transitionDuration"
    assert await page.evaluate(moving) == "0.6s"
    await page.prefer(reduced_motion="reduce")
    assert await page.evaluate(moving) == "0s"
    definition = (await asked(page, served, "purchaseFunnel"))["funnel"]["definition"]
    assert definition in await page.evaluate("document.querySelector('#funnel .definition').textContent")


async def test_retention_is_a_table_that_tells_weeks_that_are_not_over(page: Page, served: Served) -> None:
    began = timedelta(days=30)
    await send(
        served,
        [
            *(track(FUNNEL[0], user, began) for user in ("ada", "bob")),
            track(FUNNEL[0], "ada", began - timedelta(days=8)),
            track(FUNNEL[0], "eve", timedelta(hours=1)),
        ],
    )
    await opened(page, served)
    await look_at(page, "retention")
    await page.until("document.querySelectorAll('.heat tbody tr').length === 3", SOON)
    rows = (
        "[...document.querySelectorAll('.heat tbody tr')].map((row) => [...row.children].map((one) => one.innerText))"
    )
    everybody, _, newest = await page.evaluate(rows)
    assert everybody[:4] == ["All weeks", "3", "0%", "50%"]
    # Eve's first week is not over, and her second has not begun.
    assert newest[1:4] == ["1", "0%*", ""]
    heads = await page.evaluate("[...document.querySelectorAll('.heat thead th')].map((one) => one.scope)")
    assert set(heads) == {"col"}


async def test_paths_are_bands_and_on_a_phone_a_ranked_list(page: Page, served: Served) -> None:
    ago = timedelta(days=1)
    for user, then in (("ada", "Product Viewed"), ("bob", "Product Viewed"), ("eve", "Product Added")):
        messages = [track(FUNNEL[0], user, ago), track(then, user, ago - timedelta(minutes=1))]
        await send(served, messages)
    await opened(page, served)
    await look_at(page, "paths")
    await page.until("document.querySelectorAll('.sankey rect').length === 4", SOON)
    assert "Product List Viewed, then Product Viewed" in await page.evaluate(
        "document.querySelector('.sankey').getAttribute('aria-label')"
    )
    assert ["Product List Viewed", "1", "Product Viewed", "2", "66.7%"] in await page.evaluate(f"({TABLE})('paths')")
    # Read from right to left, the first column stands on the right.
    places = "[...document.querySelectorAll('.sankey rect')].map((one) => one.getBoundingClientRect().x)"
    first, *_, last = await page.evaluate(places)
    assert first < last
    await page.evaluate("document.documentElement.dir = 'rtl', true")
    await page.resize(1200, 900)
    await page.until(f"(([first, ...others]) => others.every((one) => one < first))({places})")

    await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true)), true")
    for direction in ("rtl", "ltr"):
        await page.evaluate(f"document.documentElement.dir = '{direction}', true")
        await page.resize(320, 640)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate("getComputedStyle(document.querySelector('.sankey')).display") == "none"
    assert "66.7%" in await page.evaluate("document.querySelector('.ranked').innerText")
    assert page.complaints == []


async def test_bands_fill_their_nodes_and_nodes_do_not_overlap(page: Page, served: Served) -> None:
    await page.goto(served.url)
    for answer in map(random_paths, (Random(case) for case in range(30))):
        drawn = await page.evaluate(
            f"import('/assets/sankey.js').then(({{ arranged }}) => arranged({orjson.dumps(answer).decode()}, 1000))"
        )
        nodes, links = drawn["nodes"], drawn["links"]
        assert sum(link["paths"] for link in links) == sum(link["paths"] for link in answer["links"])
        for column in range(len(answer["columns"])):
            stack = sorted((node for node in nodes if node["column"] == column), key=lambda node: node["y"])
            for above, below in pairwise(stack):
                assert above["y"] + above["height"] < below["y"]
        for node in nodes:
            for end, y in (("from", "y1"), ("to", "y2")):
                bands = sorted((link for link in links if link[end] == node), key=lambda link: link[y])
                edge = node["y"]
                for band in bands:
                    assert band[y] - band["thickness"] / 2 == pytest.approx(edge)
                    edge += band["thickness"]
                if bands and node["height"] > 2:
                    assert edge == pytest.approx(node["y"] + node["height"])
        assert all(node["y"] + node["height"] <= drawn["height"] for node in nodes)


def random_paths(rng: Random) -> dict[str, Any]:
    """An answer of `paths` from random walks: all names of a column but the most frequent are one."""
    most, depth = rng.randint(1, 5), rng.randint(1, 5)
    walks = [["A", *rng.choices("ABCDEFGH", k=rng.randint(0, depth))] for _ in range(rng.randint(1, 60))]
    kept = [
        {name for name, _ in Counter(walk[column] for walk in walks if len(walk) > column).most_common(most)}
        for column in range(depth + 1)
    ]

    def name(walk: list[str], column: int) -> str:
        if column >= len(walk):
            return "end"
        return walk[column] if walk[column] in kept[column] else "other"

    columns = []
    for column in range(depth + 1):
        counts = Counter(name(walk, column) for walk in walks if len(walk) > column)
        shown = [{"label": one, "isOther": one == "other", "paths": counts[one]} for one in sorted(counts)]
        over = sum(len(walk) <= column for walk in walks)
        columns.append({"number": column, "exited": over, "nodes": shown})
    links = Counter(
        (column, name(walk, column), name(walk, column + 1))
        for walk in walks
        for column in range(depth)
        if column < len(walk)
    )
    return {
        "total": len(walks),
        "columns": columns,
        "links": [
            {"column": column, "source": source, "target": target, "paths": paths}
            for (column, source, target), paths in links.items()
        ],
    }


async def test_without_events_every_area_says_so_and_what_to_do(page: Page, served: Served) -> None:
    await opened(page, served)
    for area in ("retention", "funnel", "paths"):
        await look_at(page, area)
        state = await page.until(
            f"document.querySelector('#{area} .state').innerText.startsWith('No events') && "
            f"document.querySelector('#{area}').innerText",
            SOON,
        )
        assert "in the last 56 days" in state
        assert "Enter the shop on this page" in state
        assert await page.evaluate(f"({TABLE})('{area}')") == []
    await look_at(page, "kpis")
    await page.until("document.querySelector('[data-kpi=csat]').innerText.includes('Nothing to count yet.')", SOON)


async def test_without_the_permission_the_areas_say_so_and_the_rest_goes_on(page: Page, served: Served) -> None:
    await opened(page, served)
    key = await served.gateway.keyring.create_api_key(WORKSPACE, frozenset({"journeys:read"}))
    await page.evaluate(KEEP.format(left=600_000, more=f"token: '{key}'"))
    await page.call("Page.reload")
    await page.until(LIVE)
    for area in ("kpis", "retention", "funnel", "paths"):
        await look_at(page, area)
        assert "kpis:read" in await page.until(f"document.querySelector('#{area} .problem').textContent", SOON)
    assert not await page.evaluate("document.querySelector('#areas').hidden")
    assert "events:read" in await page.evaluate("document.querySelector('#feed .problem').textContent")
    await served.happens("Product List Viewed", user="ada")
    await page.until("document.querySelector('[data-stage=browse] .now').textContent === '1'")


REFUSED = """
  const real = fetch;
  window.fetch = (path, options) => !options?.body.includes("query PurchaseFunnel") ? real(path, options)
    : Promise.resolve(new Response(JSON.stringify({ errors: [{ message: "There is no event “Added”.",
        extensions: { code: "INVALID_INPUT", hint: "Did you mean “Product Added”?" } }] })));
"""


async def test_an_error_is_said_with_what_to_do_and_keeps_to_its_area(page: Page, served: Served) -> None:
    await page.call("Page.addScriptToEvaluateOnNewDocument", {"source": REFUSED})
    await opened(page, served)
    await look_at(page, "funnel")
    said = await page.until("document.querySelector('#funnel .problem').textContent")
    assert said == "There is no event “Added”. Did you mean “Product Added”?"
    assert await page.evaluate("document.querySelector('#funnel .problem').getAttribute('role')") == "status"
    await look_at(page, "paths")
    await page.until("document.querySelector('#paths .state').innerText.startsWith('No events')", SOON)
