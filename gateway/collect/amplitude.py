"""What Amplitude's SDKs send, as messages of the Segment specification.

`user_id` is the userId, `device_id` the anonymousId; an event with both says that they are one person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from gateway.clock import Clock
from gateway.collect.answers import answer
from gateway.collect.bodies import read_object
from gateway.collect.facades import Parcel, Request, as_items, json_of, told_of
from gateway.collect.translating import (
    group_stand_in,
    message,
    objects,
    page_name,
    take,
    take_context,
    take_message_id,
    take_time,
    take_traits,
    take_user_hash,
)
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject, Receipt
from gateway.pipeline.times import parse_time

_FORM = 'Send {"api_key": "wk_…", "events": […]}.'
_PLACES = {
    "adid": ("device", "advertisingId"),
    "android_id": ("device", "id"),
    "app_version": ("app", "version"),
    "carrier": ("network", "carrier"),
    "city": ("location", "city"),
    "country": ("location", "country"),
    "device_brand": ("device", "brand"),
    "device_manufacturer": ("device", "manufacturer"),
    "device_model": ("device", "model"),
    "dma": ("location", "dma"),
    "idfa": ("device", "advertisingId"),
    "idfv": ("device", "id"),
    "ip": ("ip",),
    "language": ("locale",),
    "location_lat": ("location", "latitude"),
    "location_lng": ("location", "longitude"),
    "os_name": ("os", "name"),
    "os_version": ("os", "version"),
    "platform": ("device", "type"),
    "region": ("location", "region"),
    "session_id": ("sessionId",),
    "user_agent": ("userAgent",),
}
_PAGE_PLACES = {
    "[Amplitude] Page Location": ("page", "url"),
    "[Amplitude] Page Path": ("page", "path"),
    "[Amplitude] Page Title": ("page", "title"),
    "referrer": ("page", "referrer"),
}
#: What an event earned stands beside its properties; numbers are worked out from properties.
_REVENUE = ("price", "quantity", "revenue", "currency", "productId", "revenueType")
_OPERATIONS = frozenset(
    {
        "$set",
        "$setOnce",
        "$add",
        "$append",
        "$prepend",
        "$preInsert",
        "$postInsert",
        "$remove",
        "$unset",
        "$clearAll",
    }
)
#: What SDKs write where the address of the request is meant; that one counts anyway.
_REMOTE = "$remote"


def translate(items: list[Any]) -> list[Any]:
    """Messages of a batch, one per item.

    `user_properties` become traits: plain ones and `$set`, `$setOnce`, and null for `$unset`. Operations that need the
    former value (`$add`, `$append`, …) stand in the event's properties as they were sent.
    """
    return [_event(item) for item in items]


def translate_groups(items: list[Any]) -> list[Any]:
    """Messages of `/groupidentify`, one per `{group_type, group_value, group_properties}`."""
    return [_group_profile(item) for item in items]


def _event(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    rest = dict(item)
    if rest.get("ip") == _REMOTE:
        rest.pop("ip")
    name = rest.pop("event_type", None)
    properties = _properties(rest)
    context: JsonObject = {}
    parts: JsonObject = {
        "messageId": take_message_id(rest, "insert_id"),
        "timestamp": take_time(rest, "time"),
        "userHash": take_user_hash(properties),
        **_who(rest),
    }
    parts |= _kind(name, rest, properties, known=parts["userId"] is not None or parts["anonymousId"] is not None)
    of_group = parts["type"] == "group"
    parts["traits"], parts["traitsOnce"] = _operations(
        rest, properties, "group_properties" if of_group else "user_properties"
    )
    _take_library(rest, context)
    take_context(rest, _PLACES, context)
    if parts["type"] == "page":
        take_context(properties, _PAGE_PLACES, context)
    return message(parts.pop("type"), **parts, properties=properties, context=context, amplitude=rest)


def _kind(name: Any, rest: JsonObject, properties: JsonObject, *, known: bool) -> JsonObject:
    """The type of message that an event is, with what only this type has."""
    if name == "$identify":
        return {"type": "identify", "event": name, "previousId": None}  # an identify links by its anonymousId
    if name == "$groupidentify":
        return {"type": "group", "event": name, **_group(rest, known=known)}
    if name == "[Amplitude] Page Viewed":
        title = page_name(properties.get("[Amplitude] Page Title"), properties.get("[Amplitude] Page Path"))
        return {"type": "page", "event": name, "name": title}
    if name == "[Amplitude] Screen Viewed":
        return {"type": "screen", "event": name, "name": page_name(properties.get("[Amplitude] Screen Name"))}
    return {"type": "track", "event": name}


def _group(rest: JsonObject, *, known: bool) -> JsonObject:
    """The first group it names, and whom the event belongs to if it names nobody; `groups` itself stays."""
    for kind, key in objects(rest.get("groups")).items():
        first = key[0] if isinstance(key, list) and key else key
        return {"groupId": first} | ({} if known else {"anonymousId": group_stand_in(kind, first)})
    return {}


def _group_profile(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    rest, properties = dict(item), JsonObject()
    kind, key = rest.get("group_type"), take(rest, "group_value")
    traits, once = _operations(rest, properties, "group_properties")
    context: JsonObject = {}
    take_context(rest, _PLACES, context)
    parts = {"traits": traits, "traitsOnce": once, "properties": properties, "context": context, "amplitude": rest}
    return message("group", groupId=key, anonymousId=group_stand_in(kind, key), **parts)


def _who(rest: JsonObject) -> JsonObject:
    user, device = take(rest, "user_id"), take(rest, "device_id")
    linked = user is not None and device is not None and user != device
    return {"userId": user, "anonymousId": device, "previousId": device if linked else None}


def _properties(rest: JsonObject) -> JsonObject:
    """The event's properties, with what it earned; what is no object stays under its own name."""
    sent = rest.pop("event_properties", None)
    properties = objects(sent)
    if sent is not None and not isinstance(sent, dict):
        properties["event_properties"] = sent
    for key in _REVENUE:
        if rest.get(key) is not None and key not in properties:
            properties[key] = rest.pop(key)
    return properties


def _operations(rest: JsonObject, properties: JsonObject, key: str) -> tuple[JsonObject, JsonObject]:
    """Traits out of profile properties; what cannot be a trait goes to the event's properties under this key."""
    sent = rest.get(key)
    if not isinstance(sent, dict):
        return {}, {}
    operations = {name: value for name, value in sent.items() if name in _OPERATIONS}
    plain = {name: value for name, value in sent.items() if name not in _OPERATIONS}
    rest.pop(key)
    certain, once = take_traits(operations, sets="$set", once="$setOnce", unset="$unset")
    clash = {name: value for name, value in certain.items() if name in plain}
    if clash:
        operations["$set"] = clash
    if operations:
        (rest if key in properties else properties)[key] = operations
    return certain | plain, once


def _take_library(rest: JsonObject, context: JsonObject) -> None:
    """`amplitude-python/1.3.0`, or without a version."""
    library = rest.get("library")
    if not isinstance(library, str) or not library:
        return
    rest.pop("library")
    name, _, version = library.rpartition("/")
    context["library"] = {"name": name, "version": version} if name else {"name": library}


# -- HTTP -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Calls:
    """Amplitude's calls; their answers say when they were given."""

    clock: Clock

    def read_events(self, request: Request) -> Parcel:
        """`/2/httpapi` and `/batch`: `{"api_key", "events", "client_upload_time"}`."""
        return self.parcel_of(read_object(request.body, _FORM), len(request.body))

    def parcel_of(self, content: JsonObject, size: int) -> Parcel:
        """A body's content as a parcel."""
        events = content.get("events")
        if not isinstance(events, list):
            raise InvalidInput("`events` must be a list.", hint=_FORM)
        sent = parse_time(content.get("client_upload_time"))
        return Parcel(content.get("api_key"), events, translate, self._reply(len(events), size), sent)

    def _reply(self, count: int, size: int) -> Callable[[Receipt], Response]:
        def reply(receipt: Receipt) -> Response:
            return answer(
                {
                    "code": 200,
                    "events_ingested": count,
                    "payload_size_bytes": size,
                    "server_upload_time": self.clock.now(),
                    **told_of(receipt),
                }
            )

        return reply


def read_identify(request: Request) -> Parcel:
    """`/identify`: a form with `api_key` and `identification`."""
    key, items = _identification(request)
    return Parcel(key, items, lambda found: translate([_identified(item) for item in found]), _success)


def read_group_identify(request: Request) -> Parcel:
    """`/groupidentify`: a form with `api_key` and `identification`."""
    key, items = _identification(request)
    return Parcel(key, items, translate_groups, _success)


def phrase(status: int, code: str, reason: str) -> JsonObject:
    """A refusal as Amplitude's SDKs read it: they go by the number in the body, and know a bad key by its text."""
    error = f"Invalid API key: {reason}" if status == 401 else reason
    return {"code": status, "reason": code, "error": error}


def _identification(request: Request) -> tuple[object, list[Any]]:
    if request.body.lstrip()[:1] == b"{":
        content: JsonObject = read_object(request.body)
        return content.get("api_key"), as_items(content.get("identification"))
    fields = request.fields()
    sent = fields.get("identification")
    if not sent:
        raise InvalidInput("There is no `identification`.", hint="Send it as a field of the form, as JSON.")
    return fields.get("api_key"), as_items(json_of(sent))


def _identified(item: Any) -> Any:
    return {"event_type": "$identify", **item} if isinstance(item, dict) else item


def _success(receipt: Receipt) -> Response:
    return Response("success", media_type="text/plain")
