"""What sent an event, told from what SDKs and browsers say about themselves."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pipeline.addresses import Addresses
from gateway.pipeline.clients import NOBODY, Peer, client_of
from gateway.pipeline.withheld import NOTHING, Withheld

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.5 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
PIXEL = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
)
GALAXY_TAB = PIXEL.replace(" Mobile", "")
MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.4 Safari/605.1.15"
)
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
EDGE = CHROME.replace("X11; Linux x86_64", "Windows NT 10.0; Win64; x64") + " Edg/141.0.0.0"
GOOGLEBOT = (
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; "
    "+http://www.google.com/bot.html) Chrome/141.0.0.0 Safari/537.36"
)
HEADLESS = CHROME.replace("Chrome/", "HeadlessChrome/")
SMART_TV = (
    "Mozilla/5.0 (SMART-TV; LINUX; Tizen 8.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/8.0 TV Safari/537.36"
)
PLAYSTATION = "Mozilla/5.0 (PlayStation; PlayStation 5/9.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4"


def client(context: dict[str, Any], *, channel: Any = None, peer: Peer = NOBODY) -> dict[str, Any]:
    return dict(client_of(context, channel, NOTHING, peer, Addresses()))


@pytest.mark.parametrize(
    ("agent", "system", "browser", "device"),
    [
        (CHROME, "Linux", "Chrome 141", "desktop"),
        (IPHONE, "iOS 18.5", "Mobile Safari 18", "mobile"),
        (IPAD, "iOS 18.5", "Mobile Safari 18", "tablet"),
        (PIXEL, "Android 10", "Chrome Mobile 141", "mobile"),
        (GALAXY_TAB, "Android 10", "Chrome 141", "tablet"),
        (MAC, "Mac OS X 10.15", "Safari 18", "desktop"),
        (WINDOWS, "Windows 10", "Firefox 140", "desktop"),
        (EDGE, "Windows 10", "Edge 141", "desktop"),
        (GOOGLEBOT, "", "Googlebot 2", "bot"),
        (HEADLESS, "Linux", "HeadlessChrome 141", "bot"),
        (SMART_TV, "Tizen 8.0", None, "tv"),
        (PLAYSTATION, None, None, "console"),
    ],
)
def test_a_browser_is_known_by_its_user_agent(agent: str, system: str | None, browser: str | None, device: str) -> None:
    found = client({"userAgent": agent, "library": {"name": "analytics.js", "version": "npm:next-1.84.3"}})
    assert (found["platform"], found["library"], found["libraryVersion"]) == ("web", "analytics.js", "npm:next-1.84.3")
    if system is not None:
        assert f"{found.get('os', '')} {found.get('osVersion', '')}".strip() == system
    if browser is not None:
        assert f"{found['browser']} {found['browserVersion']}" == browser
    assert found["device"] == device


@pytest.mark.parametrize(
    ("library", "platform"),
    [
        ("analytics.js", "web"),
        ("RudderLabs JavaScript SDK", "web"),
        ("posthog-js", "web"),
        ("amplitude-ts", "web"),
        ("analytics-python", "server"),
        ("segment-analytics-python", "server"),
        ("@segment/analytics-node", "server"),
        ("@rudderstack/rudder-sdk-node", "server"),
        ("amplitude-node-ts", "server"),
        ("analytics-ruby", "server"),
        ("analytics-go", "server"),
        ("analytics-java", "server"),
        ("analytics-php", "server"),
        ("Analytics.NET", "server"),
        ("analytics-swift", "ios"),
        ("analytics-ios", "ios"),
        ("posthog_ios", "ios"),
        ("axios", None),
        ("community-backend", None),
        ("sdk-unity", "mobile"),
        ("rudder-ios-library", "ios"),
        ("analytics-kotlin", "android"),
        ("analytics-android", "android"),
        ("com.rudderstack.android.sdk.core", "android"),
        ("analytics-react-native", "mobile"),
        ("analytics_flutter", "mobile"),
        ("something-else", None),
    ],
)
def test_the_platform_is_the_librarys(library: str, platform: str | None) -> None:
    assert client({"library": {"name": library, "version": "1"}}).get("platform") == platform


def test_an_app_says_itself_what_it_runs_on() -> None:
    context = {
        "library": {"name": "analytics-react-native", "version": "2.21.1"},
        "app": {"name": "Shop", "version": "7.4", "build": 7},
        "os": {"name": "iOS", "version": "18.5"},
        "device": {"type": "ios", "model": "iPad14,3", "id": "secret"},
    }
    assert client(context) == {
        "platform": "ios",
        "library": "analytics-react-native",
        "libraryVersion": "2.21.1",
        "app": "Shop",
        "appVersion": "7.4",
        "os": "iOS",
        "osVersion": "18.5",
        "device": "tablet",
    }


def test_rudderstacks_browser_sdk_is_a_library_and_no_app() -> None:
    name = {"name": "RudderLabs JavaScript SDK", "version": "3.34.1"}
    context = {"app": name, "library": name, "os": {"name": "", "version": ""}, "userAgent": CHROME}
    found = client(context, channel="web")
    assert "app" not in found
    assert found["os"] == "Linux"


def test_a_servers_word_about_its_visitor_is_the_visitors_device_on_a_server() -> None:
    found = client({"library": {"name": "analytics-node", "version": "3"}, "userAgent": IPHONE})
    assert (found["platform"], found["device"], found["browser"]) == ("server", "mobile", "Mobile Safari")


@pytest.mark.parametrize(
    ("agent", "library", "version", "platform"),
    [
        ("analytics-python/2.3.4", "analytics-python", "2.3.4", "server"),
        ("python-requests/2.32.3", "python-requests", "2.32.3", "server"),
        ("Go-http-client/1.1", "Go-http-client", "1.1", "server"),
        ("curl/8.9", "curl", "8.9", None),
        (CHROME, None, None, "web"),
    ],
)
def test_without_a_library_in_the_event_the_request_tells(
    agent: str, library: str | None, version: str | None, platform: str | None
) -> None:
    found = client({}, peer=Peer(agent))
    assert (found.get("library"), found.get("libraryVersion"), found.get("platform")) == (library, version, platform)
    assert ("browser" in found) is (agent == CHROME)


@pytest.mark.parametrize("odd", [7, True, [], {}, {"name": []}, {"name": {"a": 1}, "version": 7}, "x" * 30_000, None])
@pytest.mark.parametrize("key", ["library", "app", "os", "device", "userAgent", "location"])
def test_whatever_stands_there_does_no_harm(key: str, odd: Any) -> None:
    found = client({key: odd}, channel=odd, peer=Peer("x" * 30_000, "nowhere"))
    assert all(isinstance(value, str) and len(value) <= 512 for value in found.values())


def test_the_requests_address_is_a_visitors_only_from_a_device() -> None:
    peer = Peer(CHROME, "203.0.113.7", "DE")
    web = client_of({"library": {"name": "analytics.js"}}, None, NOTHING, peer, Addresses())
    server = client_of({"library": {"name": "analytics-go"}}, None, NOTHING, peer, Addresses())
    told = client_of({"library": {"name": "analytics-go"}}, None, Withheld("198.51.100.9"), peer, Addresses())
    assert (web["ip"], web["country"]) == ("203.0.113.0", "DE")
    assert not {"ip", "country"} & server.keys()
    assert (told["ip"], "country" in told) == ("198.51.100.0", False)
    dropped = client_of({"library": {"name": "analytics.js"}}, None, NOTHING, peer, Addresses("drop"))
    assert (dropped["country"], "ip" in dropped) == ("DE", False)


@pytest.mark.parametrize(("said", "country"), [("DE", "DE"), ("de", None), ("Germany", None), (49, None), (None, None)])
def test_the_senders_own_word_on_the_country_is_the_last_resort(said: Any, country: str | None) -> None:
    assert client({"location": {"country": said}}).get("country") == country


def test_what_is_found_out_about_one_event_is_not_written_into_the_next() -> None:
    web = {"library": {"name": "analytics.js", "version": "one"}}
    client_of(web, None, NOTHING, Peer(CHROME, "203.0.113.7", "DE"), Addresses())
    again = client_of(web, None, NOTHING, Peer(CHROME, None, None), Addresses())
    assert not {"ip", "country"} & again.keys()
