"""What software sent an event: library, app, operating system, browser, kind of device, and from which country.

Nothing here is part of an event's content: the same message sent again over another network stays the same event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from ua_parser import Domain
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from gateway.model.event import Client, JsonObject
from gateway.pipeline.addresses import Addresses, country_code
from gateway.pipeline.withheld import Withheld

MAX_TEXT = 100
MAX_USER_AGENT = 512
_MOST_KNOWN = 4_096
_EMPTY: JsonObject = {}

#: Those whose requests come straight from a visitor's device, so that the request's address is the visitor's.
DEVICE_PLATFORMS = frozenset({"web", "ios", "android", "mobile"})
_CHANNELS = {"web": "web", "browser": "web", "mobile": "mobile", "server": "server", "sources": "server"}

_WEB_LIBRARY = re.compile(r"analytics\.js|javascript|browser|posthog-js|^web$|gtm|amplitude-ts", re.IGNORECASE)
_IOS_LIBRARY = re.compile(r"(?<![a-z])ios(?![a-z])|swift|cocoa|objc|iphone", re.IGNORECASE)
_ANDROID_LIBRARY = re.compile(r"android|kotlin", re.IGNORECASE)
_MOBILE_LIBRARY = re.compile(
    r"react[-_ ]?native|flutter|xamarin|(?<![a-z])unity(?![a-z])|cordova|capacitor|maui", re.IGNORECASE
)
_SERVER_LIBRARY = re.compile(
    r"python|node|ruby|golang|\bgo\b|java(?!script)|php|\.net|csharp|rust|elixir|clojure|\bc\+\+|perl|http",
    re.IGNORECASE,
)
_PRODUCT = re.compile(r"([A-Za-z@][\w@./ -]{0,80}?)/v?(\d[\w.+-]{0,40})")

_TABLET = re.compile(r"iPad|Tablet|PlayBook|Kindle|Silk/|Android(?!.*Mobi)", re.IGNORECASE)
_TELEVISION = re.compile(r"\bTV\b|SmartTV|AppleTV|GoogleTV|HbbTV|Web0S|BRAVIA|Roku|CrKey|\bAFT[A-Z]", re.IGNORECASE)
_CONSOLE = re.compile(r"PlayStation|Xbox|Nintendo", re.IGNORECASE)
_BOT = re.compile(r"bot\b|bots\b|crawl|spider|slurp|headless|lighthouse|preview|monitor", re.IGNORECASE)
_DESKTOPS = frozenset({"Windows", "Mac OS X", "macOS", "Linux", "Ubuntu", "Fedora", "Debian", "Chrome OS", "FreeBSD"})


@dataclass(frozen=True, slots=True)
class Peer:
    """The request that brought a message, as far as HTTP tells; `country` is a trusted proxy's word."""

    user_agent: str | None = None
    ip: str | None = None
    country: str | None = None


NOBODY = Peer()


def client_of(context: JsonObject, channel: Any, withheld: Withheld, peer: Peer, addresses: Addresses) -> Client:
    """What sent a message with this context and channel, as far as it can be told.

    The answer is shared between events and never to be changed.
    """
    software = _software(context, channel, peer.user_agent)
    from_device = software.get("platform") in DEVICE_PLATFORMS
    ip = withheld.ip or (peer.ip if from_device else None)
    country = None
    if addresses.know_countries or peer.country is not None or "location" in context:
        country = _country(context, ip, withheld, peer.country if from_device else None, addresses)
    kept = None if ip is None else addresses.storable(ip)
    if country is None and kept is None:
        return software
    client = software.copy()
    if country is not None:
        client["country"] = country
    if kept is not None:
        client["ip"] = kept
    return client


def _country(
    context: JsonObject, ip: str | None, withheld: Withheld, of_proxy: str | None, addresses: Addresses
) -> str | None:
    """By the proxy for the request's own address; by the database; else as the sender says."""
    if of_proxy is not None and withheld.ip is None:
        return of_proxy
    found = addresses.country(ip) if ip is not None else None
    if found is None:
        location = context.get("location")
        found = of_proxy or (country_code(location.get("country")) if isinstance(location, dict) else None)
    return found


#: What software was behind which words; the same few come with every event.
_known: dict[tuple[Any, ...], Client] = {}


def _software(context: JsonObject, channel: Any, request_agent: str | None) -> Client:
    library, app, os, device = context.get("library"), context.get("app"), context.get("os"), context.get("device")
    if not isinstance(library, dict):
        library = _EMPTY
    if not isinstance(app, dict):
        app = _EMPTY
    if not isinstance(os, dict):
        os = _EMPTY
    if not isinstance(device, dict):
        device = _EMPTY
    words = (
        context.get("userAgent"),
        request_agent,
        library.get("name"),
        library.get("version"),
        app.get("name"),
        app.get("version"),
        os.get("name"),
        os.get("version"),
        device.get("type"),
        device.get("model"),
        channel,
    )
    try:
        found = _known.get(words)
    except TypeError:  # a list or an object where a word should be
        found = None
    if found is not None:
        return found
    agents = [_text(word, MAX_USER_AGENT) for word in words[:2]]
    found = _found_out(*agents, *(_text(word, MAX_TEXT) for word in words[2:]))
    if all(word is None or (isinstance(word, str) and len(word) <= MAX_USER_AGENT) for word in words):
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[words] = found
    return found


def _found_out(
    agent: str | None,
    request_agent: str | None,
    library: str | None,
    library_version: str | None,
    app: str | None,
    app_version: str | None,
    os: str | None,
    os_version: str | None,
    device_type: str | None,
    device_model: str | None,
    channel: str | None,
) -> Client:
    if library is None and (product := _product(request_agent)):
        library, library_version = product
    platform = _platform(library, device_type, os, channel, agent or request_agent)
    if agent is None and platform == "web":
        agent = request_agent
    parsed = {} if agent is None else _parsed(agent)
    if os is None and parsed:
        os, os_version = parsed.get("os"), parsed.get("osVersion")
    if app == library:
        app = app_version = None  # RudderStack's browser SDK names itself in both places
    found = {
        "platform": platform,
        "library": library,
        "libraryVersion": library_version,
        "app": app,
        "appVersion": app_version,
        "os": os,
        "osVersion": os_version,
        "browser": parsed.get("browser") if platform != "server" or "device" in parsed else None,
        "browserVersion": parsed.get("browserVersion") if platform != "server" or "device" in parsed else None,
        "device": parsed.get("device") or _hand_held(platform, device_model),
    }
    return {key: value for key, value in found.items() if value is not None}  # type: ignore[return-value]


def _platform(
    library: str | None, device_type: str | None, os: str | None, channel: str | None, agent: str | None
) -> str | None:
    """Where the code runs that sent it: the device says it best, then the library, then how it came."""
    for said in (device_type, os):
        if said is not None:
            word = said.lower()
            if word in ("ios", "ipados", "android"):
                web = library is not None and _WEB_LIBRARY.search(library)
                return "web" if web else "android" if word == "android" else "ios"
    for pattern, platform in (
        (_WEB_LIBRARY, "web"),
        (_MOBILE_LIBRARY, "mobile"),
        (_IOS_LIBRARY, "ios"),
        (_ANDROID_LIBRARY, "android"),
        (_SERVER_LIBRARY, "server"),
    ):
        if library is not None and pattern.search(library):
            return platform
    if channel is not None and channel.lower() in _CHANNELS:
        return _CHANNELS[channel.lower()]
    return "web" if agent is not None and agent.startswith("Mozilla/") else None


def _product(agent: str | None) -> tuple[str, str] | None:
    """Name and version of the library that a request's User-Agent starts with; None for browsers."""
    if agent is None or agent.startswith("Mozilla/"):
        return None
    found = _PRODUCT.match(agent)
    return None if found is None else (found[1], found[2])


@lru_cache(_MOST_KNOWN)
def _parsed(agent: str) -> dict[str, str]:
    """Browser, operating system and kind of device of a user agent."""
    result = _resolver()(agent, Domain.USER_AGENT | Domain.OS)
    found: dict[str, str] = {}
    for key, part, depth in (("browser", result.user_agent, 1), ("os", result.os, 2)):
        if part is not None:
            found[key] = part.family[:MAX_TEXT]
            numbers = [number for number in (part.major, part.minor)[:depth] if number]
            if numbers:
                found[f"{key}Version"] = ".".join(numbers)[:MAX_TEXT]
    kind = _kind(agent, found.get("os"))
    if kind is not None:
        found["device"] = kind
    return found


@cache
def _resolver() -> Resolver:
    """The parser without its rules for device models, which take most of its time to start and are not asked for."""
    browsers, systems, _ = load_lazy_builtins()
    return Resolver((browsers, systems, []))


def _kind(agent: str, os: str | None) -> str | None:
    for pattern, kind in (
        (_BOT, "bot"),
        (_CONSOLE, "console"),
        (_TELEVISION, "tv"),
        (_TABLET, "tablet"),
    ):
        if pattern.search(agent):
            return kind
    if "Mobi" in agent or os in ("iOS", "Android"):
        return "mobile"
    return "desktop" if os in _DESKTOPS else None


def _hand_held(platform: str | None, model: str | None) -> str | None:
    if platform not in ("ios", "android", "mobile"):
        return None
    return "tablet" if model is not None and _TABLET.search(model) else "mobile"


def _text(value: Any, at_most: int) -> str | None:
    return value[:at_most] if isinstance(value, str) and value else None
