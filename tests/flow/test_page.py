"""The page in a real browser: signing in, the live map, being a visitor, breaks in the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from gateway.app.building import Gateway, open_gateway
from gateway.app.serving import listen, serving
from gateway.pipeline.intake import Delivery
from gateway.settings import Settings
from gateway.store.feed import Feed
from gateway.store.lanes import Lanes
from tests.databases import lend
from tests.flow.browser import Page, chromium_binary, open_page

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(chromium_binary() is None, reason="no Chromium on this machine; `make peers` installs it"),
]

WORKSPACE = "main"
LIVE = "document.querySelector('#live')?.dataset.state === 'live'"
VISITING = "document.querySelector('.visit.current') !== null"
COUNT_DOTS = """
  window.dots = 0;
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) dots += [...addedNodes].filter((node) => node.matches(".dot")).length;
  }).observe(document.querySelector(".river"), { childList: true });
"""
# Long enough for anything that is still to come.
SETTLED = "new Promise((resolve) => setTimeout(() => resolve(0), 400))"
NUMBERS = ("kpis", "retention", "funnel", "paths")
STAGES = ("Browsing", "Something in the cart", "Checking out", "Bought")


class Served:
    """A gateway on a port of its own, which can go away and come back."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._listener = listen("127.0.0.1", 0)
        self.port = int(self._listener.getsockname()[1])
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def come(self) -> None:
        if self._listener.fileno() < 0:
            self._listener = listen("127.0.0.1", self.port)
        await self._stack.enter_async_context(serving(self.gateway, self._listener))

    async def go(self) -> None:
        await self._stack.aclose()
        self._listener.close()

    async def address(self) -> str:
        """A fresh address of the page."""
        return f"{self.url}/#code={await self.gateway.keyring.create_page_code(WORKSPACE, minutes=5)}"

    async def happens(self, *events: str, user: str) -> None:
        """Events of somebody who does not use the page."""
        messages: list[Any] = [{"type": "track", "event": event, "userId": user} for event in events]
        await self.gateway.intake.ingest(Delivery(WORKSPACE, "test", messages))

    async def forget_feed(self) -> None:
        """Everything up to now is derived, and too old to be resumed."""
        while await self.gateway.events.underived(WORKSPACE):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        heads, _ = await Feed(self.gateway.database).heads_and_floors()
        database = self.gateway.database
        await database.with_transaction(lambda session: Lanes(database).trim(heads, session))

    async def ask(self, token: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The whole answer to a query."""
        async with httpx2.AsyncClient(base_url=self.url) as client:
            body = {"query": query, "variables": variables}
            answer = await client.post("/graphql", json=body, headers={"authorization": f"Bearer {token}"})
            return dict(answer.json())


@pytest.fixture
async def served(mongo_uri: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with lend(mongo_uri) as name:
        settings = Settings(mongo_uri=mongo_uri, database=name, data_dir=tmp_path)
        async with open_gateway(settings) as gateway, gateway.deriving():
            served = Served(gateway)
            await served.come()
            yield served
            await served.go()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with open_page(str(chromium_binary()), tmp_path / "profile") as page:
        await page.resize(1280, 900)
        yield page


async def opened(page: Page, served: Served) -> None:
    await page.goto(await served.address())
    await page.until(LIVE)
    await page.until("document.querySelectorAll('.stage').length === 4")
    # Before a click nothing may still move: the areas above have what they show.
    await page.until("document.querySelector('#kpi .value').textContent !== ''")


async def journey(page: Page) -> str:
    return str(await page.evaluate("document.querySelector('.yours').innerText"))


async def test_an_address_opens_the_page_once_and_its_code_is_gone_at_once(page: Page, served: Served) -> None:
    address = await served.address()
    await page.goto(address)
    await page.until(LIVE)

    assert await page.evaluate("location.href") == f"{served.url}/"
    token = await page.evaluate("JSON.parse(sessionStorage.getItem('journey-gateway.page')).token")
    assert token not in await page.evaluate("JSON.stringify([localStorage, document.cookie])")

    await page.call("Page.reload")
    await page.until(LIVE)

    await page.evaluate("sessionStorage.clear()")
    await page.goto("about:blank")
    await page.goto(address)
    assert "journey-gateway page" in await page.until(
        "document.querySelector('#welcome h2') && document.body.innerText"
    )
    assert await page.evaluate("document.querySelector('#areas').hidden")

    # Pasted over the old address, a new one changes only the fragment.
    await page.call("Page.navigate", {"url": await served.address()})
    await page.until(LIVE)


KEEP = """sessionStorage.setItem('journey-gateway.page', JSON.stringify({{
  ...JSON.parse(sessionStorage.getItem('journey-gateway.page')), expiresAt: Date.now() + {left}, {more} }}))"""


async def test_a_token_that_ends_soon_is_renewed_and_live_goes_on(page: Page, served: Served) -> None:
    await opened(page, served)
    await page.evaluate(KEEP.format(left=20_000, more=""))
    await page.call("Page.reload")
    await page.until("JSON.parse(sessionStorage.getItem('journey-gateway.page')).expiresAt > Date.now() + 60_000")
    await page.until(LIVE)
    assert await page.evaluate("document.querySelector('#welcome').hidden")


async def test_a_token_that_no_longer_opens_ends_in_words_not_in_errors(page: Page, served: Served) -> None:
    await opened(page, served)
    await page.evaluate(KEEP.format(left=20_000, more="token: 'expired'"))
    await page.call("Page.reload")
    await page.until("document.querySelector('#welcome h2')?.textContent === 'The page has signed out'")
    assert await page.evaluate("document.querySelector('#areas').hidden && sessionStorage.length === 0")


async def test_every_click_of_a_visitor_moves_the_journey_and_says_why(page: Page, served: Served) -> None:
    await opened(page, served)
    for clicks, stage, event in (
        (["Enter the shop"], "Browsing", "Product List Viewed"),
        (["Enamel Mug", "Add to cart"], "Something in the cart", "Product Added"),
        (["Check out"], "Checking out", "Checkout Started"),
        (["Place the order"], "Bought", "Order Completed"),
    ):
        for click in clicks:
            await page.click(click)
        await page.until(
            f"document.querySelector('.because')?.textContent.includes('\"{stage}\" because of \"{event}\"')"
        )

    assert [stage for stage in STAGES if stage in await journey(page)] == list(STAGES)
    assert "completed" in await journey(page)
    await page.until("document.querySelector('[data-stage=purchased] .now').textContent === '1'")
    await page.until("[...document.querySelectorAll('.events .tag')].length === 5")

    await page.click("4", within=".scores")
    await page.until("document.querySelector('.shop').innerText.includes('You answered 4')")
    await page.until("document.querySelector('.events').innerText.includes('Survey Response Submitted')")
    assert page.complaints == []
    assert {request["url"].split("/")[2] for request in page.requests} == {f"127.0.0.1:{served.port}"}


async def test_a_visitor_is_the_same_after_a_reload_and_somebody_new_on_request(page: Page, served: Served) -> None:
    await opened(page, served)
    await page.click("Enter the shop")
    await page.until(VISITING)
    await page.call("Page.reload")
    await page.until(VISITING)

    await page.click("New visitor")
    assert "no journey yet" in await journey(page)
    await page.click("Enter the shop")
    await page.until("document.querySelector('[data-stage=browse] .now').textContent === '2'")


async def test_others_move_on_the_map_as_it_happens(page: Page, served: Served) -> None:
    await opened(page, served)
    await page.evaluate(COUNT_DOTS)
    await served.happens("Product List Viewed", "Product Added", user="ada")
    await page.until("document.querySelector('[data-stage=cart] .now').textContent === '1'")
    await page.until("dots === 2")
    assert await page.evaluate("document.querySelector('[data-stage=cart] .rate').innerText") == "100.0% go on"

    await page.prefer(reduced_motion="reduce")
    await served.happens("Checkout Started", user="ada")
    await page.until("document.querySelector('[data-stage=checkout] .now').textContent === '1'")
    assert await page.evaluate(SETTLED) == 0
    assert await page.evaluate("dots") == 2


async def test_a_number_from_few_people_says_so(page: Page, served: Served) -> None:
    await served.happens("Product List Viewed", user="ada")
    await opened(page, served)
    shown = await page.until("document.querySelector('#kpi .few') && document.querySelector('#kpi').innerText", 20)
    assert "n < 30: too few to tell" in shown
    assert "How many of the shoppers who look at products go on to buy?" in shown


async def test_paused_events_are_counted_and_shown_later(page: Page, served: Served) -> None:
    await opened(page, served)
    await served.happens("Home Viewed", user="ada")
    await page.until("document.querySelectorAll('.events li').length === 1")
    await page.click("Pause")
    await page.until("document.querySelector('#feed [aria-pressed=true]') !== null")
    await served.happens(*["Product Viewed"] * 3, user="ada")
    await page.until("document.querySelector('.feed-state').textContent === 'Paused: 3 new'")
    assert await page.evaluate("document.querySelectorAll('.events li').length") == 1
    await page.click("Go on")
    await page.until("document.querySelectorAll('.events li').length === 4")


async def test_what_is_copied_is_what_is_sent_and_the_api_answers_it(page: Page, served: Served) -> None:
    await opened(page, served)
    await page.click("Enter the shop")
    await page.until(VISITING)
    for area in NUMBERS:
        await page.evaluate(f"document.querySelector('#{area}').scrollIntoView({{ behavior: 'instant' }})")
        await page.until(f"!document.querySelector('#{area}').hasAttribute('aria-busy')", 60)
    await page.until("document.querySelectorAll('.tile time[datetime]').length === 12", 60)
    shown = await page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('pre[data-part=query]')].map((one) =>"
        " [one.dataset.operation, [one.textContent, one.nextElementSibling.textContent]]))"
    )
    posted = [orjson.loads(request["postData"]) for request in page.requests if "/graphql" in request["url"]]
    subscribed = [frame["payload"] for frame in page.frames_sent if frame["type"] == "subscribe"]
    tokens = {
        name: next(
            request["headers"]["authorization"].removeprefix("Bearer ")
            for request in page.requests
            if name in request.get("postData", "")
        )
        for name in ("query PurchaseMap", "query MyJourney")
    }

    assert len(shown) == 13
    for query, variables in ((query, orjson.loads(text)) for query, text in shown.values()):
        sent = subscribed if query.startswith("subscription") else posted
        assert query in [one["query"] for one in sent]
        if query.startswith("mutation"):
            answer = await served.ask(tokens["query MyJourney"], query, variables)
            assert answer["data"]["track"]["verdict"] == "ACCEPTED"
        else:
            assert {"query": query, "variables": variables} in sent
        if query.startswith("query"):
            token = tokens["query MyJourney" if "MyJourney" in query else "query PurchaseMap"]
            assert "errors" not in await served.ask(token, query, variables)


async def test_after_a_break_nothing_is_missing(page: Page, served: Served) -> None:
    await opened(page, served)
    await page.click("Enter the shop")
    await page.until(VISITING)

    await served.go()
    assert "Live updates lost 0:0" in await page.until(
        "!document.querySelector('#banner').hidden && document.querySelector('#banner').innerText"
    )
    await served.happens("Home Viewed While Away", user="ada")
    await page.click("Tote")
    await page.click("Add to cart")
    assert "does not answer" in await page.until("document.querySelector('#visitor .problem').textContent")

    await served.come()
    await page.until("document.querySelector('#banner').hidden")
    await page.until("document.querySelector('.events').innerText.includes('Home Viewed While Away')")
    await page.until("document.querySelector('.visit.current').dataset.stage === 'cart'")
    assert await page.evaluate("document.querySelector('#visitor .problem').hidden")
    added = "[...document.querySelectorAll('.event-name')].filter((one) => one.textContent === 'Product Added').length"
    await page.until(f"{added} === 1")
    assert await page.evaluate(SETTLED) == 0
    assert await page.evaluate(added) == 1


async def test_what_can_no_longer_be_had_is_said_and_read_again(page: Page, served: Served) -> None:
    await opened(page, served)
    await served.happens("Product List Viewed", user="ada")
    await page.until("document.querySelector('[data-stage=browse] .now').textContent === '1'")

    await served.go()
    await page.until("!document.querySelector('#banner').hidden")
    await served.happens("Product Added", user="ada")
    await served.forget_feed()
    await served.come()

    await page.until("document.querySelector('#banner').innerText.startsWith('Some live updates could not be had')")
    await page.until("document.querySelector('[data-stage=cart] .now').textContent === '1'")
    await page.until("document.querySelector('.events').innerText.includes('Product Added')")


async def test_the_page_fits_a_phone_and_works_by_keyboard(page: Page, served: Served) -> None:
    await page.resize(320, 640)
    await opened(page, served)
    await page.click("Enter the shop")
    await page.until(VISITING)
    await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    await page.evaluate("document.querySelector('.product').focus()")
    for kind in ("keyDown", "keyUp"):
        await page.call(
            "Input.dispatchKeyEvent", {"type": kind, "key": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        )
    await page.until("document.querySelector('.address').innerText.includes('/products/backpack')")
    assert await page.evaluate("document.activeElement.textContent") == "Canvas Backpack"
    nameless = "[...document.querySelectorAll('button, summary')].filter((one) => !one.textContent.trim()).length"
    assert await page.evaluate(nameless) == 0
