"""Events as an XES log (IEEE 1849): a trace per case, properties as typed attributes, the rest in our extension.

XES cannot say everything a message says: nested values, null, ids of several kinds, text with characters that XML
forbids. An event carries that in `journey:…` attributes, above all `journey:message`: JSON, in which every such
character is escaped. Other tools show these as columns; `import` puts the very message together again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

from gateway.model.event import JsonObject

URI = "urn:journey-gateway:xes:1"
PREFIX = "journey"
NAME, TIME = "concept:name", "time:timestamp"

#: Fields of a message with an attribute of their own, for filters in other tools; `timestamp` and the name have XES's.
TEXT_FIELDS = ("type", "messageId", "userId", "anonymousId", "previousId", "groupId")
TIME_FIELDS = ("originalTimestamp", "sentAt", "receivedAt")
REST = f"{PREFIX}:message"

#: What XML 1.0 cannot hold, not even as a character reference.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile(r'[&<>"\t\n\r]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_RESERVED = frozenset({NAME, TIME})
_MAX_INT = 2**63 - 1

_EXTENSIONS = (
    ("Concept", "concept", "http://www.xes-standard.org/concept.xesext"),
    ("Time", "time", "http://www.xes-standard.org/time.xesext"),
    ("Lifecycle", "lifecycle", "http://www.xes-standard.org/lifecycle.xesext"),
    ("Organizational", "org", "http://www.xes-standard.org/org.xesext"),
    ("Journey", PREFIX, URI),
)


def header(log_name: str) -> bytes:
    """The file up to its first trace."""
    extensions = "".join(
        f'<extension name="{name}" prefix="{prefix}" uri="{uri}"/>\n' for name, prefix, uri in _EXTENSIONS
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<log xes.version="1849.2023" xes.features="" xmlns="http://www.xes-standard.org/">\n'
        f"{extensions}"
        f'<global scope="trace">\n{_text(NAME, "")}</global>\n'
        f'<global scope="event">\n{_text(NAME, "")}{_date(TIME, "1970-01-01T00:00:00.000Z")}</global>\n'
        f'<classifier name="Event Name" keys="{NAME}"/>\n'
        f"{_text(NAME, log_name)}"
    ).encode()


FOOTER = b"</log>\n"


def trace_start(name: str, attributes: Iterable[tuple[str, str | int]] = ()) -> bytes:
    """The beginning of a trace, with attributes of our extension behind its name."""
    own = "".join(_scalar(f"{PREFIX}:{key}", value) for key, value in attributes)
    return f"<trace>\n{_text(NAME, name)}{own}".encode()


TRACE_END = b"</trace>\n"


def event(message: JsonObject, *, stage: str | None = None) -> bytes:
    """One message. Its time has milliseconds and Z, as `wire.message_of` writes it."""
    rest = {key: value for key, value in message.items() if key not in ("timestamp", *TEXT_FIELDS, *TIME_FIELDS)}
    name_field = "event" if message["type"] == "track" else "name"
    name = rest.pop(name_field, None)
    parts = ["<event>\n", _text(NAME, message["type"] if name is None else name), _date(TIME, message["timestamp"])]
    if name is not None and (FORBIDDEN.search(name) or (name_field == "name" and name == message["type"])):
        rest[name_field] = name
    for field in TEXT_FIELDS:
        value = message.get(field)
        if value is not None:
            parts.append(_text(f"{PREFIX}:{field}", value))
            if FORBIDDEN.search(value):
                rest[field] = value
    parts += [_date(f"{PREFIX}:{field}", message[field]) for field in TIME_FIELDS if field in message]
    if stage is not None:
        parts.append(_text(f"{PREFIX}:stage", stage))
    if "properties" in rest:
        native, nested = _split(rest.pop("properties"))
        parts += native
        if nested:
            rest["properties"] = nested
    if rest:
        # ASCII alone: a control character or half a surrogate is written as \u….
        parts.append(_text(REST, json.dumps(rest, sort_keys=True, separators=(",", ":"))))
    parts.append("</event>\n")
    return "".join(parts).encode()


def _split(properties: JsonObject) -> tuple[Iterator[str], JsonObject]:
    """The attributes of those properties that XES can say exactly, and the others."""
    native = {key: value for key, value in properties.items() if _exact(key, value)}
    nested = {key: value for key, value in properties.items() if key not in native}
    return (_scalar(key, native[key]) for key in sorted(native)), nested


def _exact(key: str, value: Any) -> bool:
    if not key or key in _RESERVED or key.startswith(f"{PREFIX}:") or FORBIDDEN.search(key):
        return False
    if isinstance(value, str):
        return FORBIDDEN.search(value) is None
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_MAX_INT - 1 <= value <= _MAX_INT
    return isinstance(value, float) and isfinite(value)


def _scalar(key: str, value: str | int | float) -> str:
    if isinstance(value, str):
        return _text(key, value)
    if isinstance(value, bool):
        return f'<boolean key="{_escaped(key)}" value="{"true" if value else "false"}"/>\n'
    return f'<{"int" if isinstance(value, int) else "float"} key="{_escaped(key)}" value="{value!r}"/>\n'


def _text(key: str, value: str) -> str:
    readable = FORBIDDEN.sub("\ufffd", value)
    return f'<string key="{_escaped(key)}" value="{_escaped(readable)}"/>\n'


def _date(key: str, value: str) -> str:
    return f'<date key="{key}" value="{value}"/>\n'


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)
