"""The published browser SDKs in a real browser, on a page of another origin than the gateway's."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.model.event import SYSTEM_TYPES, Event, EventType, Receipt
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery, Intake
from tests.flow.browser import Page, chromium_binary, open_page
from tests.flow.projects import MODULES
from tests.flow.served import Served, serve

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(chromium_binary() is None, reason="no Chromium on this machine; `make peers` installs it"),
    pytest.mark.skipif(not MODULES.exists(), reason="no Node packages; `make peers` installs them"),
]

FILES = {
    "segment": "@segment/analytics-next/dist/umd/index.js",
    "rudder": "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js",
}
#: How each is loaded, as its documentation says for another host than its maker's.
LOAD = {
    "segment": "window.analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: KEY, cdnURL: GATEWAY });",
    "segment batching": """
      window.analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: KEY, cdnURL: GATEWAY },
        { integrations: { "Segment.io": { deliveryStrategy: { strategy: "batching", config: { timeout: 200 } } } } });
    """,
    "rudder": """
      window.analytics = new rudderanalytics.RudderAnalytics();
      analytics.load(KEY, GATEWAY, { configUrl: GATEWAY, logLevel: "WARN" });
    """,
    "rudder beacon": """
      window.analytics = new rudderanalytics.RudderAnalytics();
      const queue = { flushQueueInterval: 200 };
      analytics.load(KEY, GATEWAY, { configUrl: GATEWAY, useBeacon: true, beaconQueueOptions: queue });
    """,
}
#: RudderStack's browser SDK has no `screen`.
CALLS = """
  analytics.page("Docs", "Home");
  analytics.identify("ada", { plan: "pro" });
  analytics.track("Product Added", { price: 39.5, name: "Ünïcode ✓" });
  analytics.group("team-7", { size: 4 });
  if (analytics.screen) analytics.screen("Cart", { items: 2 });
  analytics.alias("ada-lovelace");
"""
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Shop</title>
<script src="sdk.js"></script>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web shop with a page for each SDK, on an origin of its own."""
    folder = tmp_path_factory.mktemp("shop")
    for name, file in FILES.items():
        (folder / name).mkdir()
        (folder / name / "index.html").write_text(PAGE, "utf-8")
        (folder / name / "sdk.js").write_bytes((MODULES / file).read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri) as one:
        yield one


@pytest.fixture(scope="module")
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    binary = chromium_binary()
    assert binary is not None
    async with open_page(binary, tmp_path_factory.mktemp("browser") / "profile") as page:
        yield page


async def make_calls(served: Served, shop: str, tab: Page, sdk: str) -> str:
    """Load the SDK's page, make every call; the source that the events have."""
    source = sdk.replace(" ", "-")
    key = await served.gateway.keyring.create_write_key("main", source)
    tab.requests.clear()
    tab.complaints.clear()
    await tab.goto(f"{shop}/{sdk.split()[0]}/")
    await tab.evaluate(
        "localStorage.clear(); for (const one of document.cookie.split('; ')) "
        "document.cookie = one.split('=')[0] + '=; max-age=0; path=/'"
    )
    await tab.evaluate(f"const KEY = '{key}', GATEWAY = 'http://127.0.0.1:{served.port}';{LOAD[sdk]}{CALLS}; 0")
    return source


async def arrived(served: Served, tab: Page, source: str, count: int) -> list[Event]:
    """The source's events in order, as soon as there are so many, and a little later."""
    for _ in range(300):
        found = await events_of(served, source)
        if len(found) >= count:
            break
        await tab.evaluate("new Promise((resolve) => setTimeout(() => resolve(0), 200))")
    await tab.evaluate("new Promise((resolve) => setTimeout(() => resolve(0), 600))")
    found = await events_of(served, source)
    assert len(found) == count, (found, tab.complaints, [one["url"] for one in tab.requests])
    return found


async def events_of(served: Served, source: str) -> list[Event]:
    stored = await served.gateway.events.page(Scope.system("main"), limit=1_000)
    return [event for event in stored if event.source == source]


def check(events: list[Event], sdk: str) -> None:
    kinds = {event.type: event for event in events}
    screens = {EventType.SCREEN} if sdk.startswith("segment") else set()
    assert kinds.keys() == {*EventType} - SYSTEM_TYPES - {EventType.SCREEN} | screens
    assert kinds[EventType.PAGE].name == "Home"
    assert kinds[EventType.PAGE].properties["title"] == "Shop"
    identify = kinds[EventType.IDENTIFY]
    assert (identify.user_id, identify.traits["plan"]) == ("ada", "pro")
    assert identify.anonymous_id
    added = kinds[EventType.TRACK]
    assert (added.name, added.properties["price"], added.properties["name"]) == ("Product Added", 39.5, "Ünïcode ✓")
    assert (kinds[EventType.GROUP].group_id, kinds[EventType.GROUP].traits["size"]) == ("team-7", 4)
    assert kinds[EventType.ALIAS].previous_id == "ada"
    library = "analytics.js" if sdk.startswith("segment") else "RudderLabs JavaScript SDK"
    for event in events:
        client = event.client
        assert (client["platform"], client["library"], client["os"]) == ("web", library, "Linux")
        assert client["browser"] in ("HeadlessChrome", "Chrome")
        assert client["ip"] == "127.0.0.0"


SEGMENT, RUDDER = "npm:@segment/analytics-next", "npm:@rudderstack/analytics-js"
EVERY_CALL = ("identify", "track", "page", "group", "alias")


@pytest.mark.parametrize(
    "sdk",
    [
        pytest.param("segment", marks=pytest.mark.matrix("SDK", SEGMENT, *EVERY_CALL, "screen")),
        pytest.param("segment batching", marks=pytest.mark.matrix("SDK", SEGMENT, "batch")),
        pytest.param("rudder", marks=pytest.mark.matrix("SDK", RUDDER, *EVERY_CALL)),
        pytest.param("rudder beacon", marks=pytest.mark.matrix("SDK", RUDDER, "batch", "beacon")),
    ],
)
async def test_every_call_arrives_once_from_a_page_of_another_origin(
    served: Served, shop: str, tab: Page, sdk: str
) -> None:
    source = await make_calls(served, shop, tab, sdk)
    check(await arrived(served, tab, source, 6 if sdk.startswith("segment") else 5), sdk)
    gateway = f"http://127.0.0.1:{served.port}/"
    assert [one["url"] for one in tab.requests if not one["url"].startswith((shop, gateway, "data:"))] == []
    assert tab.complaints == []


@pytest.mark.parametrize(
    "sdk",
    [
        pytest.param("segment", marks=pytest.mark.matrix("SDK", SEGMENT, "retry")),
        pytest.param("rudder", marks=pytest.mark.matrix("SDK", RUDDER, "retry")),
    ],
)
async def test_a_refusal_for_now_makes_them_come_again_and_nothing_is_lost(
    served: Served, shop: str, tab: Page, sdk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest, refused = Intake.ingest, list[int]()

    async def sometimes(self: Intake, delivery: Delivery) -> Receipt:
        if len(refused) < 3:
            refused.append(len(delivery.messages))
            raise Unavailable("The gateway has as much to do as it can take.")
        return await ingest(self, delivery)

    monkeypatch.setattr(Intake, "ingest", sometimes)
    monkeypatch.setitem(LOAD, f"{sdk} again", LOAD[sdk])
    source = await make_calls(served, shop, tab, f"{sdk} again")
    check(await arrived(served, tab, source, 6 if sdk == "segment" else 5), sdk)
    assert len(refused) == 3
