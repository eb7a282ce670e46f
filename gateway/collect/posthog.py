"""What PostHog's SDKs send, as messages of the Segment specification.

A distinct id is the userId, unless the event says that it stands for nobody known: `$process_person_profile` is false,
or it is the id of the device (`$device_id`), as in a browser before `identify`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.responses import Response

from gateway.collect.answers import answer
from gateway.collect.bodies import read_json, read_object
from gateway.collect.facades import Parcel, Reader, Request, as_items, json_of, one_key, told_of, unzip
from gateway.collect.translating import (
    given,
    group_stand_in,
    message,
    objects,
    page_name,
    take,
    take_context,
    take_library,
    take_message_id,
    take_time,
    take_traits,
    take_user_hash,
)
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject, Receipt
from gateway.pipeline.times import parse_time

_PLACES = {
    "$app_build": ("app", "build"),
    "$app_name": ("app", "name"),
    "$app_namespace": ("app", "namespace"),
    "$app_version": ("app", "version"),
    "$browser_language": ("locale",),
    "$current_url": ("page", "url"),
    "$device_id": ("device", "id"),
    "$ip": ("ip",),
    "$locale": ("locale",),
    "$pathname": ("page", "path"),
    "$raw_user_agent": ("userAgent",),
    "$referrer": ("page", "referrer"),
    "$screen_height": ("screen", "height"),
    "$screen_width": ("screen", "width"),
    "$session_id": ("sessionId",),
    "$timezone": ("timezone",),
    "$useragent": ("userAgent",),
}
#: Server libraries tell these of the server, which is nobody's device.
_DEVICE_PLACES = _PLACES | {
    "$browser": ("browser", "name"),
    "$browser_version": ("browser", "version"),
    "$device": ("device", "name"),
    "$device_manufacturer": ("device", "manufacturer"),
    "$device_model": ("device", "model"),
    "$device_name": ("device", "name"),
    "$device_type": ("device", "type"),
    "$os": ("os", "name"),
    "$os_version": ("os", "version"),
}
_LIBRARIES = {"web": "posthog-js"}
_NOT_CONTENT = ("api_key", "token")


def translate(items: list[Any]) -> list[Any]:
    """Messages of a batch, one per item.

    `$set` and `$set_once` become traits, `$unset` traits that are null, whatever the event they come with.
    """
    return [_event(item) for item in items]


def _event(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    rest = {key: value for key, value in item.items() if key not in _NOT_CONTENT and key != "sent_at"}
    name = rest.pop("event", None)
    properties = rest.pop("properties", None)
    source = {key: value for key, value in objects(properties).items() if key != "token"}
    if properties is not None and not isinstance(properties, dict):
        source["properties"] = properties
    context: JsonObject = {}
    parts: JsonObject = {"timestamp": take_time(rest, "timestamp"), "messageId": take_message_id(rest, "uuid")}
    if parts["messageId"] is None:
        parts["messageId"] = take_message_id(source, "$insert_id")
    for key in ("$set", "$set_once"):
        if key in rest and key not in source:
            source[key] = rest.pop(key)
    distinct = take(rest, "distinct_id") or given(source.get("distinct_id"))
    if distinct is not None and source.get("distinct_id") == distinct:
        source.pop("distinct_id")
    parts["userHash"] = take_user_hash(source)
    build = _RESERVED.get(name, _track) if isinstance(name, str) else _track
    parts |= build(name, source, distinct)
    if parts["type"] != "group":
        parts["traits"], parts["traitsOnce"] = take_traits(source, sets="$set", once="$set_once", unset="$unset")
    take_library(source, "$lib", "$lib_version", context, name=lambda lib: _LIBRARIES.get(lib, lib))
    take_context(source, _PLACES if source.get("$is_server") is True else _DEVICE_PLACES, context)
    return message(parts.pop("type"), **parts, properties=source, context=context, posthog=rest)


def _anonymous(source: JsonObject, distinct: Any) -> bool:
    return source.get("$process_person_profile") is False or (
        distinct is not None and distinct == source.get("$device_id")
    )


def _who(source: JsonObject, distinct: Any) -> JsonObject:
    return {"anonymousId": distinct} if _anonymous(source, distinct) else {"userId": distinct}


def _track(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    return {"type": "track", "event": name, **_who(source, distinct)}


def _page(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    title = page_name(source.get("title"), source.get("$title"))
    return {"type": "page", "event": name, "name": title, **_who(source, distinct)}


def _screen(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    title = page_name(source.get("$screen_name"))
    return {"type": "screen", "event": name, "name": title, **_who(source, distinct)}


def _set(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    return {"type": "identify", "event": name, **_who(source, distinct)}


def _identify(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    anonymous = take(source, "$anon_distinct_id")
    if anonymous == distinct:
        anonymous = None
    return {"type": "identify", "event": name, "userId": distinct, "anonymousId": anonymous}


def _alias(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    """Which of the two ids is the former one depends on who says it.

    posthog-python calls `distinct_id` the previous one, and in a browser it is the visitor's; elsewhere `alias` is.
    """
    other = take(source, "alias")
    if source.get("$lib") == "posthog-python" or _anonymous(source, distinct):
        distinct, other = other, distinct
    return {"type": "alias", "event": name, "userId": distinct, "previousId": other}


def _group(name: Any, source: JsonObject, distinct: Any) -> JsonObject:
    kind, key = source.get("$group_type"), take(source, "$group_key")
    nobody = distinct == group_stand_in(kind, key)
    traits, _ = take_traits(source, sets="$group_set")
    who = {"anonymousId": distinct} if nobody else _who(source, distinct)
    return {"type": "group", "event": name, "groupId": key, "traits": traits, **who}


_RESERVED: dict[str, Callable[[Any, JsonObject, Any], JsonObject]] = {
    "$create_alias": _alias,
    "$groupidentify": _group,
    "$identify": _identify,
    "$pageview": _page,
    "$screen": _screen,
    "$set": _set,
}


# -- HTTP -----------------------------------------------------------------------------------------------------------


def flags_document() -> JsonObject:
    """What there is to say about flags and settings: the gateway evaluates none, and nothing went wrong."""
    return {
        "flags": {},
        "featureFlags": {},
        "featureFlagPayloads": {},
        "errorsWhileComputingFlags": False,
        "quotaLimited": [],
        "config": {"enable_collect_everything": True},
        "supportedCompression": ["gzip", "gzip-js"],
        "hasFeatureFlags": False,
        "autocapture_opt_out": False,
        "autocaptureExceptions": False,
        "capturePerformance": False,
        "captureDeadClicks": False,
        "defaultIdentifiedOnly": True,
        "elementsChainAsString": True,
        "heatmaps": False,
        "isAuthenticated": False,
        "sessionRecording": False,
        "siteApps": [],
        "surveys": False,
        "toolbarParams": {},
    }


def reader(max_bytes: int) -> Reader:
    """Reads `/batch/`, `/capture/`, `/e/` and `/i/v0/e/`: a batch, a list or one event, plain, zipped or in a form."""

    def read(request: Request) -> Parcel:
        return parcel_of(content_of(request, max_bytes), request)

    return read


def parcel_of(content: Any, request: Request) -> Parcel:
    """A body's content as a parcel."""
    shared = content if isinstance(content, dict) else {}
    batch = (
        _batch_of(shared) if shared.get("batch") is not None else shared.get("data") if "event" not in shared else None
    )
    items = as_items(content if batch is None else batch)
    sent = parse_time(shared.get("sent_at"))
    if sent is None and request.query.get("_", "").isdecimal():
        sent = parse_time(int(request.query["_"][:20]))  # posthog-js: when it made the request
    if sent is not None:
        items = [_dated(item, sent) for item in items]
    key = shared.get("api_key") or shared.get("token") or one_key([_key_of(item) for item in items])
    key = key or request.query.get("token") or request.query.get("api_key")
    reply = _captured if batch is not None or len(items) != 1 else _captured_one
    return Parcel(key, items, translate, reply, sent, historical=shared.get("historical_migration") is True)


def _batch_of(content: JsonObject) -> list[Any]:
    batch = content.get("batch")
    if isinstance(batch, dict) and "event" in batch:
        return [batch]  # one event without its brackets
    if not isinstance(batch, list):
        raise InvalidInput("`batch` must be a list of events.", hint="Send one event by itself to /capture/.")
    return batch


def _dated(item: Any, sent: int) -> Any:
    """posthog-js says of an event how long before the request it was (`offset`, ms), and no time."""
    offset = item.get("offset") if isinstance(item, dict) else None
    if not isinstance(offset, int | float) or isinstance(offset, bool) or "timestamp" in item:
        return item
    rest = {key: value for key, value in item.items() if key != "offset"}
    return {**rest, "timestamp": sent - int(offset)} if abs(offset) < sent else item


def key_of_flags(max_bytes: int) -> Callable[[Request], object]:
    """The key in a question for flags."""

    def key_of(request: Request) -> object:
        content = content_of(request, max_bytes) if request.body.strip() else {}
        shared = content if isinstance(content, dict) else {}
        return shared.get("api_key") or shared.get("token") or request.query.get("token")

    return key_of


def content_of(request: Request, max_bytes: int) -> Any:
    """The JSON in a body; `compression` in the address or the form says how it is packed."""
    body, how = request.body, request.query.get("compression", "")
    if body[:2] == b"\x1f\x8b":
        return read_json(unzip(body, max_bytes))
    if body.lstrip()[:1] not in (b"{", b"["):
        fields = request.fields()
        how = how or fields.get("compression", "")
        body = fields.get("data", "").encode() or body
    if how == "lz64":
        raise InvalidInput("This compression is not known.", hint="Use a release of the SDK that sends gzip or base64.")
    return json_of(body)


def phrase(status: int, code: str, reason: str) -> JsonObject:
    """A refusal as PostHog's SDKs look for it."""
    return {"type": "authentication_error" if status == 401 else "validation_error", "detail": reason, "attr": None}


def _key_of(item: Any) -> object:
    if not isinstance(item, dict):
        return None
    return item.get("api_key") or item.get("token") or objects(item.get("properties")).get("token")


def _captured(receipt: Receipt) -> Response:
    return answer({"status": "Ok", **told_of(receipt)})


def _captured_one(receipt: Receipt) -> Response:
    return answer({"status": 1, **told_of(receipt)})


def read_v1(request: Request) -> Parcel:
    """`/i/v1/analytics/events`, the newer protocol: sentinel properties in `options`, an answer for each event."""
    content = read_object(request.body)
    items = _batch_of(content)
    library, _, version = request.headers.get("posthog-sdk-info", "").partition("/")
    sdk = {"$lib": library, "$lib_version": version} if library else {}
    sent = parse_time(request.headers.get("posthog-request-timestamp"))
    return Parcel(
        None,
        items,
        lambda found: translate([_from_v1(item, sdk) for item in found]),
        partial(_results, items),
        sent,
        historical=content.get("historical_migration") is True,
    )


def _from_v1(item: Any, sdk: JsonObject) -> Any:
    """An event of the newer protocol in the form of the older one."""
    if not isinstance(item, dict):
        return item
    rest = dict(item)
    properties = rest.pop("properties", None)
    if properties is not None and not isinstance(properties, dict):
        return item
    options = rest.pop("options", None)
    if isinstance(options, dict):
        lifted = {_OPTIONS.get(key, key): value for key, value in options.items()}
    else:
        lifted = {} if options is None else {"options": options}
    for key in ("session_id", "window_id"):
        if key in rest:
            lifted[f"${key}"] = rest.pop(key)
    return {**rest, "properties": {**sdk, **lifted, **objects(properties)}}


_OPTIONS = {
    "cookieless_mode": "$cookieless_mode",
    "disable_skew_correction": "$ignore_sent_at",
    "process_person_profile": "$process_person_profile",
    "product_tour_id": "$product_tour_id",
}


def _results(items: list[Any], receipt: Receipt) -> Response:
    """`warning` is as final as `ok`: an event that is quarantined, or not as planned, is kept, and sending it again
    changes nothing."""
    reasons = {problem.index: problem.message for problem in (*receipt.warnings, *receipt.problems)}
    return answer(
        {
            "results": {
                item["uuid"]: {"result": "warning", "details": reasons[index]} if index in reasons else {"result": "ok"}
                for index, item in enumerate(items)
                if isinstance(item, dict) and isinstance(item.get("uuid"), str)
            }
        }
    )
