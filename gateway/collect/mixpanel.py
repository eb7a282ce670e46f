"""What Mixpanel's SDKs send, as messages of the Segment specification.

Who did it follows Mixpanel's simplified identity merge: `$user_id`, else a plain `distinct_id`, is the userId;
`$device_id`, else a `distinct_id` that starts with `$device:`, is the anonymousId; an event with both links them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.responses import Response

from gateway.access.keys import WRITE_PREFIX
from gateway.collect.answers import PIXEL, answer
from gateway.collect.bodies import read_json
from gateway.collect.facades import Parcel, Request, as_items, basic_password, json_of, one_key, told_of
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
from gateway.errors import InvalidInput, TooLarge
from gateway.model.event import JsonObject, Receipt

DEVICE_PREFIX = "$device:"

_PLACES = {
    "$app_build_number": ("app", "build"),
    "$app_version": ("app", "version"),
    "$app_version_string": ("app", "version"),
    "$brand": ("device", "brand"),
    "$browser": ("browser", "name"),
    "$browser_version": ("browser", "version"),
    "$carrier": ("network", "carrier"),
    "$city": ("location", "city"),
    "$current_url": ("page", "url"),
    "$device": ("device", "name"),
    "$ip": ("ip",),
    "$manufacturer": ("device", "manufacturer"),
    "$model": ("device", "model"),
    "$os": ("os", "name"),
    "$os_version": ("os", "version"),
    "$referrer": ("page", "referrer"),
    "$region": ("location", "region"),
    "$screen_height": ("screen", "height"),
    "$screen_width": ("screen", "width"),
    "$user_agent": ("userAgent",),
    "$wifi": ("network", "wifi"),
    "ip": ("ip",),
    "mp_country_code": ("location", "country"),
}
#: What the libraries call themselves, where that is not the end of their package's name.
_LIBRARIES = {"web": "browser", "iphone": "ios"}


def translate_events(items: list[Any]) -> list[Any]:
    """Messages of `/track` and `/import`, one per item."""
    return [_event(item) for item in items]


def translate_profiles(items: list[Any]) -> list[Any]:
    """Messages of `/engage`, one per item: an identify.

    `$set` and `$set_once` become traits, `$unset` traits that are null. Operations that need the former value
    (`$add`, `$append`, `$union`, `$remove`, …) and `$delete` stand in the event's properties as they were sent.
    """
    return [_profile(item) for item in items]


def translate_groups(items: list[Any]) -> list[Any]:
    """Messages of `/groups`, one per item: a group. A group's profile belongs to nobody: see `group_stand_in`."""
    return [_group(item) for item in items]


def _event(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    rest = dict(item)
    name, properties = rest.pop("event", None), rest.get("properties")
    if properties is not None and not isinstance(properties, dict):
        return message("track", event=name, properties=properties, mixpanel=_without_token(rest, "properties"))
    source = objects(rest.pop("properties", None))
    source.pop("token", None)
    context: JsonObject = {}
    parts = {
        "messageId": take_message_id(source, "$insert_id"),
        "timestamp": take_time(source, "time"),
        "userHash": take_user_hash(source),
    }
    build = _RESERVED.get(name, _track) if isinstance(name, str) else _track
    parts |= build(name, source)
    take_library(source, "mp_lib", "$lib_version", context, name=_library)
    take_context(source, _PLACES, context)
    return message(
        parts.pop("type"), **parts, properties=source, context=context, mixpanel=_without_token(rest, "properties")
    )


def _track(name: Any, source: JsonObject) -> JsonObject:
    return {"type": "track", "event": name, **_who(source)}


def _page(name: Any, source: JsonObject) -> JsonObject:
    title = page_name(source.get("current_page_title"), source.get("current_url_path"))
    return {"type": "page", "event": name, "name": title, **_who(source)}


def _identify(name: Any, source: JsonObject) -> JsonObject:
    """The browser says `distinct_id` and `$anon_distinct_id`, the HTTP API `$identified_id` and `$anon_id`."""
    device = given(source.get("$device_id"))
    user = take(source, "$identified_id", "$user_id", "distinct_id")
    for key in ("$user_id", "distinct_id"):
        if key in source and source[key] == user:
            source.pop(key)
    before = take(source, "$anon_id", "$anon_distinct_id")
    if device is not None and before is not None and _device(before) is None and before != device:
        source["$anon_distinct_id"] = before  # somebody who was logged in on this device before: not the same person
        before = None
    if before is not None and device is not None and device in (before, _device(before)):
        source.pop("$device_id")
    anonymous = take(source, "$device_id") if before is None else _device(before) or before
    return {"type": "identify", "event": name, "userId": user, "anonymousId": anonymous}


def _alias(name: Any, source: JsonObject) -> JsonObject:
    """`alias` is the id from now on, `distinct_id` the one before."""
    before, user = take(source, "distinct_id"), take(source, "alias")
    return {"type": "alias", "event": name, "userId": user, "previousId": _device(before) or before}


def _merge(name: Any, source: JsonObject) -> JsonObject:
    """Of two ids the one of a device is the former one, else the second."""
    ids = source.get("$distinct_ids")
    if not isinstance(ids, list) or len(ids) != 2:
        return {"type": "alias", "event": name, **_who(source)}
    user, before = reversed(ids) if _device(ids[0]) else ids
    return {"type": "alias", "event": name, "userId": user, "previousId": _device(before) or before}


_RESERVED: dict[str, Callable[[Any, JsonObject], JsonObject]] = {
    "$create_alias": _alias,
    "$identify": _identify,
    "$merge": _merge,
    "$mp_web_page_view": _page,
}


def _profile(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    source = _without_token(item)
    context: JsonObject = {}
    parts = {"timestamp": take_time(source, "$time"), "userHash": take_user_hash(source)}
    if "distinct_id" not in source and "$distinct_id" in source:
        source["distinct_id"] = source.pop("$distinct_id")
    who = _who(source)
    who.pop("previousId", None)  # an identify links by its anonymousId
    traits, once = take_traits(source, sets="$set", once="$set_once", unset="$unset")
    take_context(source, _PLACES, context)
    return message("identify", **parts, **who, traits=traits, traitsOnce=once, properties=source, context=context)


def _group(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    source = _without_token(item)
    kind, key = source.get("$group_key"), source.get("$group_id")
    context: JsonObject = {}
    parts = {"timestamp": take_time(source, "$time"), "userHash": take_user_hash(source), **_who(source)}
    if "userId" not in parts and "anonymousId" not in parts and isinstance(key, str | int):
        parts["anonymousId"] = group_stand_in(kind, key)
    traits, once = take_traits(source, sets="$set", once="$set_once", unset="$unset")
    take(source, "$group_id")
    take_context(source, _PLACES, context)
    return message("group", groupId=key, **parts, traits=traits, traitsOnce=once, properties=source, context=context)


def _who(source: JsonObject) -> JsonObject:
    """The identities an item names, taken out of it."""
    user, device = take(source, "$user_id"), take(source, "$device_id")
    distinct = given(source.get("distinct_id"))
    from_distinct = _device(distinct)
    if from_distinct is not None and device in (None, from_distinct):
        device = from_distinct
        source.pop("distinct_id")
    elif distinct is not None and from_distinct is None and distinct in (user, device):
        source.pop("distinct_id")
    elif distinct is not None and from_distinct is None and user is None:
        user = source.pop("distinct_id")
    who: JsonObject = {}
    if user is not None:
        who["userId"] = user
    if device is not None:
        who["anonymousId"] = device
    if user is not None and device is not None and user != device:
        who["previousId"] = device
    return who


def _device(distinct_id: Any) -> str | None:
    """The device that a distinct_id stands for, if it stands for one."""
    if isinstance(distinct_id, str) and distinct_id.startswith(DEVICE_PREFIX):
        return distinct_id[len(DEVICE_PREFIX) :] or None
    return None


def _library(name: str) -> str:
    return f"mixpanel-{_LIBRARIES.get(name, name)}"


def _without_token(item: JsonObject, *keys: str) -> JsonObject:
    return {key: value for key, value in item.items() if key not in ("$token", "token", *keys)}


# -- HTTP -----------------------------------------------------------------------------------------------------------

MAX_LINES = 10_000


def read_track(request: Request) -> Parcel:
    """`/track`: one event or a list, in a form field or the address (`data`), as JSON or base64."""
    return _parcel(request, translate_events, _key_of_event)


def read_engage(request: Request) -> Parcel:
    """`/engage`: profile operations."""
    return _parcel(request, translate_profiles, _key_of_profile)


def read_groups(request: Request) -> Parcel:
    """`/groups`: operations on the profiles of groups."""
    return _parcel(request, translate_groups, _key_of_profile)


def read_import(request: Request) -> Parcel:
    """`/import`: JSON or NDJSON, answered with counts; the older form with `data`, answered as `/track` is."""
    if request.body.lstrip()[:1] not in (b"{", b"["):
        return replace(_parcel(request, translate_events, _key_of_event), historical=True)
    items = _lines(request.body)
    key = _key(request, request.query, [_key_of_event(item) for item in items])
    return Parcel(key, items, translate_events, partial(_imported, len(items)), historical=True)


def phrase(status: int, code: str, reason: str) -> JsonObject:
    """A refusal as Mixpanel's SDKs look for it."""
    return {"status": 0, "error": reason}


def _parcel(request: Request, translate: Callable[[list[Any]], list[Any]], key_of: Callable[[Any], object]) -> Parcel:
    fields = request.query
    if request.body.lstrip()[:1] in (b"{", b"["):
        data: str | bytes | None = request.body
    else:
        fields = request.fields()
        data = fields.get("data")
    if not data:
        raise InvalidInput("There is no `data`.", hint="Send events as the field `data` of a form, or as a JSON body.")
    items = as_items(json_of(data))
    reply = partial(_taken, verbose=fields.get("verbose") == "1", image=fields.get("img") == "1")
    return Parcel(_key(request, fields, [key_of(item) for item in items]), items, translate, reply)


def _lines(body: bytes) -> list[Any]:
    """A JSON list or object, or one JSON text a line; a line that is none is an item that intake will refuse."""
    try:
        return as_items(read_json(body))
    except InvalidInput:
        if b"\n" not in body.strip():
            raise
    if body.count(b"\n") > MAX_LINES:
        raise TooLarge(f"The body has more than {MAX_LINES:,} lines.", hint="Send it in parts.")
    return [_line(line) for line in body.split(b"\n") if line.strip()]


def _line(line: bytes) -> Any:
    try:
        return read_json(line)
    except InvalidInput:
        return line.decode("utf-8", "replace")


def _key(request: Request, fields: dict[str, str], found: list[object]) -> object:
    """The token of the items; else a service account's secret, or the older ways to name a project."""
    return one_key(found) or next(
        (
            key
            for key in (basic_password(request.headers), fields.get("api_key"), fields.get("project_id"))
            if key is not None and key.startswith(WRITE_PREFIX)
        ),
        fields.get("api_key") or fields.get("token"),
    )


def _key_of_event(item: Any) -> object:
    return objects(item.get("properties")).get("token") if isinstance(item, dict) else None


def _key_of_profile(item: Any) -> object:
    return item.get("$token") if isinstance(item, dict) else None


def _taken(receipt: Receipt, *, verbose: bool, image: bool) -> Response:
    if image:
        return Response(PIXEL, media_type="image/gif", headers={"Cache-Control": "no-store"})
    if verbose:
        return answer({"status": 1, "error": None, **told_of(receipt)})
    return Response("1", media_type="text/plain")


def _imported(count: int, receipt: Receipt) -> Response:
    refused = receipt.conflict + receipt.quarantined + receipt.refused
    return answer({"code": 200, "num_records_imported": count - refused, "status": "OK", **told_of(receipt)})
