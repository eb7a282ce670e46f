"""Parts of translating another vendor's items into messages of the Segment specification.

Every item becomes exactly one message, whatever it holds: what is wrong with it is for intake to say. What a message
has no place for stays in its `properties`, or under the vendor's name at its top, so that nothing is lost.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gateway.clock import random_id
from gateway.model.event import JsonObject
from gateway.model.identity import MAX_ID_CHARS, digest
from gateway.pipeline.messages import MAX_MESSAGE_ID_CHARS
from gateway.pipeline.times import parse_time

#: Where a vendor's property belongs in the context: one name, or the name of an object and one inside it.
Places = Mapping[str, tuple[str, ...]]

#: The vendors' own names for traits that the Segment specification reserves a name for.
RESERVED_TRAITS = {
    "$avatar": "avatar",
    "$created": "createdAt",
    "$email": "email",
    "$first_name": "firstName",
    "$last_name": "lastName",
    "$name": "name",
    "$phone": "phone",
}


_ADDRESS = ("ip",)


def objects(value: Any) -> JsonObject:
    """A copy of a JSON object, to take things out of; empty when it is none."""
    return dict(value) if isinstance(value, dict) else {}


def given(value: Any) -> Any:
    """The value, or None for what stands for no value at all."""
    return None if value == "" else value


def take(source: JsonObject, *keys: str) -> Any:
    """Take the first of these keys that has a value out of `source`; None when none has."""
    for key in keys:
        if given(source.get(key)) is not None:
            return source.pop(key)
    return None


def take_time(source: JsonObject, key: str) -> Any:
    """A time stamp as intake reads it. What is no time stays where it is too, since intake keeps only times."""
    value = source.get(key)
    number = isinstance(value, str) and value.isascii() and value.strip().replace(".", "", 1).isdecimal()
    time = float(str(value)) if number else value
    if parse_time(time) is None:
        return value
    source.pop(key)
    return time


def take_message_id(source: JsonObject, key: str) -> str | None:
    """The vendor's id of an event as a messageId; one that is too long is hashed, and stays where it is too."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    text = str(value)
    if len(text) > MAX_MESSAGE_ID_CHARS:
        return digest(text).hex()
    source.pop(key)
    return text


def take_context(source: JsonObject, places: Places, context: JsonObject) -> None:
    """Move plain values from `source` to their places in the context, as far as those are free.

    A second address is dropped: what stays in `source` is stored as it is.
    """
    for key in [key for key in source if key in places]:
        value = source[key]
        if value in (None, "") or isinstance(value, dict | list):
            continue
        *group, name = places[key]
        target = context.setdefault(group[0], {}) if group else context
        if isinstance(target, dict) and name not in target:
            target[name] = source.pop(key)
        elif places[key] == _ADDRESS:
            source.pop(key)


def take_library(
    source: JsonObject, name_key: str, version_key: str, context: JsonObject, *, name: Callable[[str], str] = str
) -> None:
    """Say in the context which library sent it; `name` makes one that says the vendor too."""
    library: JsonObject = {}
    if isinstance(source.get(name_key), str) and source[name_key]:
        library["name"] = name(source.pop(name_key))
    if isinstance(source.get(version_key), str | int | float) and source[version_key] != "":
        library["version"] = source.pop(version_key)
    if library:
        context["library"] = library


def take_user_hash(source: JsonObject) -> str | None:
    """The proof of the userId, which write keys may ask for."""
    return source.pop("userHash") if isinstance(source.get("userHash"), str) else None


def page_name(*titles: Any) -> str | None:
    """The first that can name a page, cut to what a name may have."""
    return next((title[:MAX_ID_CHARS] for title in titles if isinstance(title, str) and title.strip()), None)


def take_traits(
    source: JsonObject, *, sets: str, once: str | None = None, unset: str | None = None
) -> tuple[JsonObject, JsonObject]:
    """Take profile operations out: traits (an unset one is null), and those that count only while nothing is known.

    What is no object, or for `unset` no list of names, stays where it is.
    """
    certain: JsonObject = {}
    if unset is not None:
        names = source.get(unset)
        if isinstance(names, dict) and all(value == "-" for value in names.values()):  # Amplitude's way to list names
            names = list(names)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            certain = dict.fromkeys(map(_trait, names))
            source.pop(unset)
    certain |= _take_object(source, sets)
    return certain, {} if once is None else _take_object(source, once)


def _take_object(source: JsonObject, key: str) -> JsonObject:
    if not isinstance(source.get(key), dict):
        return {}
    values = source.pop(key)
    return {name if _trait(name) in values else _trait(name): value for name, value in values.items()}


def _trait(name: str) -> str:
    return RESERVED_TRAITS.get(name, name)


def message(kind: Any, **parts: Any) -> JsonObject:
    """A message of a type, without the parts that say nothing."""
    return {"type": kind, **{key: value for key, value in parts.items() if value not in (None, "", {}, [])}}


def group_stand_in(kind: Any, key: Any) -> str:
    """Who an event about a group belongs to when it names nobody: posthog-node's own name for it."""
    return f"${kind}_{key}"[:MAX_ID_CHARS]


def message_ids(messages: list[Any], body_digest: bytes, *, stamped: bool) -> list[str]:
    """An id for each message that has none: repeatable if a client's time tells a retry from a second, equal event.

    Two equal messages of one request are two events. `stamped` says that the request itself carries its time.
    """
    seen: Counter[bytes] = Counter()
    ids = []
    for index, one in enumerate(messages):
        if not isinstance(one, dict) or "messageId" in one:
            ids.append("")
        elif "timestamp" in one:
            content = digest(json.dumps(one, sort_keys=True))
            seen[content] += 1
            ids.append(digest(content, seen[content].to_bytes(4, "big")).hex())
        elif stamped:
            ids.append(digest(body_digest, index.to_bytes(4, "big")).hex())
        else:
            ids.append(random_id())
    return ids
