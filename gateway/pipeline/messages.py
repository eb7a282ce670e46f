"""From one sent message to an event as it is stored, or to the reason why it cannot be one.

A message is what the Segment specification's six calls send. Whatever is wrong with one message stays with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.model.event import CALLS, DECISIONS, SYSTEM_SK, SYSTEM_TYPES, EventType, JsonObject
from gateway.model.identity import MAX_ID_CHARS, SURROGATE, digest
from gateway.pipeline.addresses import Addresses
from gateway.pipeline.clients import NOBODY, Peer, client_of
from gateway.pipeline.times import corrected, time_in
from gateway.pipeline.withheld import NOTHING, Withheld
from gateway.store.database import Document
from gateway.store.events import escaped

MAX_DEPTH = 32
MAX_KEYS = 256
MAX_KEY_BYTES = 128
MAX_MESSAGE_ID_CHARS = 100
MAX_INT = 2**63 - 1
MIN_INT = -(2**63)

_TYPES = {kind.value: kind for kind in CALLS}
#: What the gateway itself may store.
_SYSTEM_TYPES = {kind.value: kind for kind in SYSTEM_TYPES}
#: What a file that an export wrote may hold.
_IMPORTED_TYPES = _TYPES | {kind.value: kind for kind in DECISIONS}
_MOST_DECIDED = 1_000
_SK = re.compile(rf"[ua]:.{{1,{MAX_ID_CHARS}}}", re.DOTALL)
# Every digit becomes a zero: a long number is then found at the speed of a search.
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
#: Keys that were seen to need nothing: the same few come with every event.
_plain_keys: set[str] = set()
_MOST_PLAIN_KEYS = 10_000
_PLAIN_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
_NOT_CONTENT = frozenset({"sentAt", "receivedAt", "writeKey"})
_PLACED_ALWAYS = _NOT_CONTENT | {
    *("type", "messageId", "userId", "anonymousId", "previousId", "groupId"),
    *("timestamp", "originalTimestamp", "properties", "traits", "context"),
}
#: Keys that have a place of their own in an event, by whether it is a track.
_PLACED = {True: _PLACED_ALWAYS | {"event"}, False: _PLACED_ALWAYS | {"name"}}
_NO_DATABASE = Addresses()


class Unacceptable(Exception):
    """This message cannot become an event. `code` is stable, the text says what to change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a message came from. Times are milliseconds. `system`: the gateway itself, on an operator's behalf;
    `decisions`: a file of an operator's, in which merges and splits may stand, as an export holds them. `plain`: the
    door has seen that nothing but keys can need cleaning."""

    workspace: str
    source: str
    received_at: int
    sent_at: int | None
    max_event_bytes: int
    correct_skew: bool = True
    peer: Peer = NOBODY
    user_hash_secret: str | None = None
    system: bool = False
    decisions: bool = False
    plain: bool = False


@dataclass(slots=True)
class _Cleaning:
    """What `_clean` met on its way through one message."""

    flags: set[str]
    keys: int = 0
    escape: bool = False


def read_message(
    message: Any,
    origin: Origin,
    *,
    seq: int,
    fallback_id: Callable[[], str],
    withheld: Withheld = NOTHING,
    addresses: Addresses = _NO_DATABASE,
) -> Document:
    """The event a message says, in its stored form (store/events.py).

    `withheld` is what `withhold` took out of it. Raises Unacceptable.
    """
    kind = _kind(message, origin)
    content, canonical, cleaning = _content(message, plain=origin.plain)
    _check_size(kind, content, canonical, origin)
    user_id, anonymous_id = _sender(content, withheld, origin.user_hash_secret)
    message_id = _message_id(content) or fallback_id()
    sent_at = time_in(message, "sentAt", cleaning.flags) or origin.sent_at
    timestamp = time_in(content, "timestamp", cleaning.flags)
    original = time_in(content, "originalTimestamp", cleaning.flags)
    context = _object(content, "context")
    client = client_of(context, content.get("channel"), withheld, origin.peer, addresses)
    if withheld.ip is not None and "ip" in client:
        context = {**context, "ip": client["ip"]}
    guard = escaped if cleaning.escape else _as_is
    document = {
        "_id": digest(origin.workspace, origin.source, message_id),
        "workspace": origin.workspace,
        "source": origin.source,
        "messageId": message_id,
        "type": message["type"],
        "name": _name(content, kind),
        "userId": user_id,
        "anonymousId": anonymous_id,
        "previousId": _previous_id(content, kind),
        "groupId": _identifier(content, "groupId"),
        "sk": _sk(message["type"], user_id, anonymous_id),
        "at": corrected(timestamp, original, sent_at, origin.received_at, skew=origin.correct_skew),
        "seq": seq,
        "receivedAt": origin.received_at,
        "sentAt": sent_at,
        "originalTimestamp": timestamp if original is None else original,
        "timestamp": timestamp,
        "properties": guard(_object(content, "properties")),
        "traits": guard(_traits(content, kind)),
        "context": guard(context),
        "extra": guard(_extra(content, kind)),
        "client": client,
        "hash": digest(canonical),
        "flags": sorted(cleaning.flags),
    }
    return {"escaped": True, **document} if cleaning.escape else document


def _sk(word: str, user_id: str | None, anonymous_id: str | None) -> str:
    """What it is stored under: as Identity.sk and Event.sk say, without making either."""
    sk = f"a:{anonymous_id}" if user_id is None else f"u:{user_id}"
    return SYSTEM_SK + sk if word in _SYSTEM_TYPES else sk


def _as_is(value: JsonObject) -> JsonObject:
    return value


def _kind(message: Any, origin: Origin) -> EventType:
    if not isinstance(message, dict):
        raise Unacceptable("not_an_object", 'A message must be a JSON object such as {"type": "track", …}.')
    sent_type = message.get("type")
    kinds = _SYSTEM_TYPES if origin.system else _IMPORTED_TYPES if origin.decisions else _TYPES
    kind = kinds.get(sent_type) if isinstance(sent_type, str) else None
    if kind is None:
        raise Unacceptable("unknown_type", f"`type` must be one of {', '.join(_TYPES)}.")
    return kind


def _check_size(kind: EventType, content: JsonObject, canonical: bytes, origin: Origin) -> None:
    if origin.decisions and kind in DECISIONS and not origin.system:
        _check_decision(content)
    elif len(canonical) > origin.max_event_bytes and not origin.system:
        raise Unacceptable(
            "event_too_large",
            f"The event has {len(canonical):,} bytes; the limit is {origin.max_event_bytes:,}. Send less in it.",
        )


def _sender(content: JsonObject, withheld: Withheld, secret: str | None) -> tuple[str | None, str | None]:
    """userId and anonymousId, at least one of them."""
    user_id = _identifier(content, "userId")
    anonymous_id = _identifier(content, "anonymousId")
    if user_id is None and anonymous_id is None:
        raise Unacceptable("no_identity", "A message needs a `userId` or an `anonymousId`.")
    if secret is not None and user_id is not None:
        _check_user_hash(withheld, user_id, secret)
    return user_id, anonymous_id


def _check_decision(content: JsonObject) -> None:
    """Whether a merge or split names whom it is about as the gateway writes it. Raises Unacceptable."""
    named: list[Any] = []
    properties = _object(content, "properties")
    for side in ("one", "other"):
        sks = properties.get(side)
        if not isinstance(sks, list) or not sks:
            raise _no_decision()
        named += sks
    if len(named) > _MOST_DECIDED or not all(isinstance(sk, str) and _SK.fullmatch(sk) for sk in named):
        raise _no_decision()


def _no_decision() -> Unacceptable:
    return Unacceptable(
        "wrong_decision",
        f"A merge or split names up to {_MOST_DECIDED:,} identities in `properties.one` and `properties.other`, each "
        "as `u:` and a userId or `a:` and an anonymousId; take it as `export` wrote it.",
    )


def _check_user_hash(withheld: Withheld, user_id: str, secret: str) -> None:
    if withheld.user_hash is None:
        raise Unacceptable(
            "user_hash_missing",
            "With this write key a userId must be proven: have your server compute `userHash`, the hexadecimal "
            "HMAC-SHA256 of the userId under the key's secret, and send it with every message of that user.",
        )
    if not withheld.proves(user_id, secret):
        raise Unacceptable(
            "user_hash_wrong",
            "`userHash` is not the hexadecimal HMAC-SHA256 of this userId under the key's secret. Check that the "
            "secret is the key's own and that exactly the userId is hashed.",
        )


def _content(message: JsonObject, *, plain: bool = False) -> tuple[JsonObject, bytes, _Cleaning]:
    """What the message says whenever it is sent, its canonical JSON, and what had to be cleaned in it.

    Most messages need no cleaning, and a look at their canonical JSON proves it at a fraction of the cost.
    """
    content = message
    if not _NOT_CONTENT.isdisjoint(message):
        content = {key: value for key, value in message.items() if key not in _NOT_CONTENT}
    cleaning = _Cleaning(set())
    try:
        canonical = orjson.dumps(content, option=_PLAIN_JSON)
        clean = not _suspect(content, None if plain else canonical)
    except TypeError:  # lone surrogates, long integers, deep nesting, what is no plain JSON
        clean = False
    if not clean:
        content = _clean(content, cleaning, 1)
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    return content, canonical, cleaning


def _suspect(content: JsonObject, canonical: bytes | None) -> bool:
    """Whether there may be anything for `_clean` to do; False is certain.

    NaN is written as null. Without canonical JSON the content is known to be plain but for its keys.
    """
    if canonical is not None and (
        b"\\" in canonical or b"null" in canonical or b"0" * 19 in canonical.translate(_DIGITS)
    ):
        return True
    return not _plain(content)


def _plain(content: JsonObject) -> bool:
    """Whether no key in it needs anything, and there are few; of what orjson writes without looking at subclasses."""
    keys = 0
    waiting: list[Any] = [content]
    for value in waiting:  # which grows
        items: Iterable[Any] = value
        if type(value) is dict:
            keys += len(value)
            if keys > MAX_KEYS or not (_plain_keys.issuperset(value) or _plain_too(value)):
                return False
            items = value.values()
        for item in items:
            if (kind := type(item)) is dict or kind is list:
                waiting.append(item)
        if len(waiting) > MAX_DEPTH:
            return False
    return True


def _plain_too(keys: Iterable[str]) -> bool:
    if any("." in key or "$" in key or len(key.encode()) > MAX_KEY_BYTES for key in keys):
        return False
    if len(_plain_keys) < _MOST_PLAIN_KEYS:
        _plain_keys.update(keys)
    return True


def _clean(value: Any, cleaning: _Cleaning, depth: int) -> Any:
    """`value` with what cannot be stored replaced and flagged; raises Unacceptable where that would lie."""
    if isinstance(value, str):
        return _clean_text(value, cleaning)
    if isinstance(value, dict):
        _check_nesting(depth)
        cleaning.keys += len(value)
        if cleaning.keys > MAX_KEYS:
            raise Unacceptable("too_many_keys", f"An event may have {MAX_KEYS} keys; put repeated data into lists.")
        return {_clean_key(key, cleaning): _clean(item, cleaning, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        _check_nesting(depth)
        return [_clean(item, cleaning, depth + 1) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            cleaning.flags.add("not_a_number")
            return None
        return value
    if not MIN_INT <= value <= MAX_INT:
        raise _too_big()
    return value


def _clean_text(text: str, cleaning: _Cleaning) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        cleaning.flags.add("lone_surrogate")
        return SURROGATE.sub("\ufffd", text)
    return text


def _clean_key(key: str, cleaning: _Cleaning) -> str:
    if "\0" in key:
        raise Unacceptable("nul_in_key", "A key holds a NUL character; rename it.")
    key = _clean_text(key, cleaning)
    if len(key) > MAX_KEY_BYTES or (not key.isascii() and len(key.encode()) > MAX_KEY_BYTES):
        raise Unacceptable("key_too_long", f"A key may have {MAX_KEY_BYTES} bytes; put long text into values.")
    if "$" in key or "." in key:
        cleaning.escape = True
    return key


def _check_nesting(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise Unacceptable("too_deep", f"An event may be nested {MAX_DEPTH} levels deep; flatten it.")


def _too_big() -> Unacceptable:
    return Unacceptable("integer_out_of_range", "A number is beyond 64 bits; send such ids as strings.")


def _identifier(message: JsonObject, key: str) -> str | None:
    value = message.get(key)
    if value is None or value == "":
        return None
    if type(value) is str and len(value) <= MAX_ID_CHARS:  # as mostly
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Unacceptable("wrong_type", f"`{key}` must be a string.")
    if len(value) > MAX_ID_CHARS:
        raise Unacceptable("id_too_long", f"`{key}` may have {MAX_ID_CHARS} characters.")
    return value


def _message_id(message: JsonObject) -> str | None:
    value = _identifier(message, "messageId")
    if value is not None and len(value) > MAX_MESSAGE_ID_CHARS:
        raise Unacceptable("id_too_long", f"`messageId` may have {MAX_MESSAGE_ID_CHARS} characters.")
    return value


def _previous_id(message: JsonObject, kind: EventType) -> str | None:
    previous = _identifier(message, "previousId")
    if kind is EventType.ALIAS and (previous is None or message.get("userId") is None):
        raise Unacceptable("incomplete_alias", "`alias` needs `previousId` and `userId`.")
    return previous


def _name(message: JsonObject, kind: EventType) -> str:
    name = message.get("event" if kind is EventType.TRACK else "name")
    if kind is EventType.TRACK and (not isinstance(name, str) or not name.strip()):
        raise Unacceptable("no_event_name", "`track` needs `event`, the name of what happened.")
    if name is not None and not isinstance(name, str):
        raise Unacceptable("wrong_type", "`name` must be a string.")
    name = (name or kind.value).strip()
    if len(name) > MAX_ID_CHARS:
        raise Unacceptable("name_too_long", f"An event's name may have {MAX_ID_CHARS} characters.")
    return name or kind.value


def _object(message: JsonObject, key: str) -> JsonObject:
    value = message.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unacceptable("wrong_type", f"`{key}` must be an object.")
    return value


def _extra(content: JsonObject, kind: EventType) -> JsonObject:
    """What has no place of its own."""
    placed = _PLACED[kind is EventType.TRACK]
    return {} if placed.issuperset(content) else {key: value for key, value in content.items() if key not in placed}


def _traits(message: JsonObject, kind: EventType) -> JsonObject:
    """An identify's traits; RudderStack's SDKs send them in the context."""
    traits = _object(message, "traits")
    if traits or kind is not EventType.IDENTIFY:
        return traits
    return _object(_object(message, "context"), "traits")
