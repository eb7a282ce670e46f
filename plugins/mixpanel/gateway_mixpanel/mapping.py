"""From an event of the gateway to one of Mixpanel's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from gateway.plugin import Event, EventType, Message, Skip

_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}\Z")
_NAMES = {EventType.PAGE: "Viewed {} Page", EventType.SCREEN: "Viewed {} Screen"}
#: What the gateway decides: an event's own property of such a name is left out.
_OURS = frozenset({"token", "time", "distinct_id", "$insert_id", "$device_id", "$user_id"})
_CLIENT = {
    "browser": "$browser",
    "browserVersion": "$browser_version",
    "os": "$os",
    "osVersion": "$os_version",
    "appVersion": "$app_version_string",
    "device": "$device",
    "country": "mp_country_code",
    "library": "mp_lib",
    "libraryVersion": "$lib_version",
}
_PAGE = {"url": "$current_url", "referrer": "$referrer"}
_CAMPAIGN = {
    "source": "utm_source",
    "medium": "utm_medium",
    "name": "utm_campaign",
    "term": "utm_term",
    "content": "utm_content",
}


def payload_of(message: Message) -> dict[str, Any] | Skip:
    """The payload of a track, page or screen event; profiles, groups and aliases have none."""
    event = message.event
    if event is None:
        return Skip(f"Mixpanel gets events, no {message.kind}")
    if event.type is not EventType.TRACK and event.type not in _NAMES:
        return Skip(f"Mixpanel gets events, no {event.type.value}")
    properties = {**_about(event), **{key: value for key, value in event.properties.items() if key not in _OURS}}
    return {
        "event": _name(event),
        "properties": {**properties, **_identity(event), "time": event.at, "$insert_id": insert_id(message.key)},
    }


def insert_id(key: str) -> str:
    """A key in the form of an `$insert_id`: at most 36 letters, digits and hyphens."""
    return key if _INSERT_ID.match(key) else hashlib.sha256(key.encode()).hexdigest()[:32]


def _name(event: Event) -> str:
    if event.type is EventType.TRACK:
        return event.name
    named = "" if event.name == event.type.value else event.name
    return " ".join(_NAMES[event.type].format(named).split())


def _identity(event: Event) -> dict[str, str]:
    """As Mixpanel's simplified merge wants it: an event that has both ids joins them."""
    ids: dict[str, str] = {}
    if event.anonymous_id is not None:
        ids |= {"$device_id": event.anonymous_id, "distinct_id": f"$device:{event.anonymous_id}"}
    if event.user_id is not None:
        ids |= {"$user_id": event.user_id, "distinct_id": event.user_id}
    return ids


def _about(event: Event) -> dict[str, Any]:
    """What software and page it came from. Its address stays here: what intake keeps of it places nobody."""
    return {
        **_renamed(dict(event.client), _CLIENT),
        **_renamed(event.context.get("page"), _PAGE),
        **_renamed(event.context.get("campaign"), _CAMPAIGN),
    }


def _renamed(found: Any, names: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {}
    return {names[key]: value for key, value in found.items() if key in names and value not in (None, "")}
