"""Presets of `import`: how the exports of other tools become messages, without a --map."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.collect import amplitude, mixpanel, posthog
from gateway.collect.bodies import read_json
from gateway.collect.lines import LeftOut, Refused
from gateway.collect.mapping import Preset
from gateway.collect.xes import CASE
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject

TraceIs = Literal["userId", "anonymousId", "session"]
TRACE_IS: tuple[str, ...] = get_args(TraceIs)

_LATEST = 32_503_680_000  # seconds: the year 3000
_NAME, _TIME, _TRANSITION = "concept:name", "time:timestamp", "lifecycle:transition"
#: What delivery added to a message in an archive; it is no part of what was sent.
_DELIVERY = frozenset({"_metadata", "projectId", "request_ip", "rudderId", "version", "writeKey"})


@dataclass(frozen=True, slots=True)
class Export:
    """One JSON object a line, each of them one message. `about` says in one line what the file is."""

    name: str
    about: str
    translate: Callable[[JsonObject], Any]
    kind: Literal["ndjson"] = "ndjson"
    zone: str = "UTC"

    def describe(self) -> str:
        return f"preset {self.name}" + ("" if self.zone == "UTC" else f" {self.zone}")

    def message(self, record: JsonObject) -> JsonObject:
        message: JsonObject = self.translate(record)
        return message


@dataclass(frozen=True, slots=True)
class XesLog:
    """Events of an XES log as track events; attributes of the event and, under `case:`, of its trace as properties.

    `trace_is`: the trace's name is a user, an anonymous visitor, or (session) nobody: then --map says who.
    `classifier` makes up the event's name of several attributes, joined by `+`.
    """

    trace_is: TraceIs = "userId"
    only_complete: bool = False
    classifier: str | None = None
    keys: tuple[str, ...] = (_NAME,)
    name: str = "xes"
    kind: Literal["xes"] = "xes"

    def with_classifier(self, known: Mapping[str, tuple[str, ...]]) -> XesLog:
        """With the keys that a file's classifier names; raises InvalidInput when it has none of that name."""
        if self.classifier is None:
            return self
        if self.classifier not in known:
            raise InvalidInput(
                f"The log has no classifier {self.classifier!r}.",
                hint=f"It has: {', '.join(sorted(known))}." if known else "It has none at all.",
            )
        return replace(self, keys=known[self.classifier])

    def describe(self) -> str:
        return f"preset xes {self.trace_is} {self.only_complete} {self.classifier}"

    def message(self, record: JsonObject) -> JsonObject:
        transition = record.get(_TRANSITION)
        if self.only_complete and isinstance(transition, str) and transition.lower() != "complete":
            raise LeftOut
        properties = dict(record)
        time = properties.pop(_TIME, None)
        if time is None:
            raise Refused("no_time", f"The event has no {_TIME}.")
        name = "+".join(str(record[key]) for key in self.keys if record.get(key) is not None)
        if self.keys == (_NAME,):
            properties.pop(_NAME, None)
        message = {"type": "track", "event": name, "timestamp": time, "properties": properties}
        if self.trace_is != "session":
            who = properties.pop(f"{CASE}{_NAME}", None) or properties.get(f"{CASE}identity:id")
            message[self.trace_is] = str(who) if isinstance(who, float) else who
        return message


def _from_segment(record: JsonObject) -> JsonObject:
    """A message of an archive. Its `timestamp` is corrected already, and is the time."""
    message = {key: value for key, value in record.items() if key not in _DELIVERY}
    if message.get("timestamp") is None:
        found = (record.get(key) for key in ("originalTimestamp", "sentAt", "receivedAt"))
        message["timestamp"] = next((time for time in found if time is not None), None)
    return message


def _from_posthog(record: JsonObject) -> Any:
    """A row of a batch export or of the table `events`, whose objects may be JSON in a string."""
    row = {key: value for key, value in record.items() if value not in (None, "")}
    for key in ("properties", "person_properties", "elements", "set", "set_once"):
        if isinstance(row.get(key), str):
            row[key] = _unpacked(row[key])
    ip = row.pop("ip", None)  # as a property it is cut like every other address before it is stored
    properties = row.get("properties", {})
    if isinstance(properties, dict):
        beside = {"$ip": ip, "$set": row.pop("set", None), "$set_once": row.pop("set_once", None)}
        properties = {key: value for key, value in beside.items() if value} | properties
        if row.get("person_mode") == "propertyless":
            properties["$process_person_profile"] = False
        row["properties"] = properties
    return posthog.translate([row])[0]


def _from_mixpanel(record: JsonObject, zone: ZoneInfo | None = None) -> Any:
    """An event of the raw export. Projects made before 2023 count its seconds from 1970 in their own time zone.

    https://docs.mixpanel.com/docs/export-methods: of an hour that a clock repeats it cannot be told which it was; the
    first is taken.
    """
    properties = record.get("properties")
    time = properties.get("time") if isinstance(properties, dict) else None
    if zone is None or isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < _LATEST:
        return mixpanel.translate_events([record])[0]
    assert isinstance(properties, dict)
    there = datetime.fromtimestamp(time, UTC).replace(tzinfo=zone)
    return mixpanel.translate_events([{**record, "properties": {**properties, "time": there.timestamp()}}])[0]


def _from_amplitude(record: JsonObject) -> Any:
    """A row of the Export API, which names some things otherwise than the HTTP API."""
    row = {key: value for key, value in record.items() if value is not None}
    for exported, sent in (("event_time", "time"), ("$insert_id", "insert_id"), ("ip_address", "ip")):
        if exported in row:
            row.setdefault(sent, row.pop(exported))
    row.setdefault("insert_id", row.get("uuid"))
    return amplitude.translate([row])[0]


def _unpacked(text: str) -> Any:
    try:
        return read_json(text.encode("utf-8", "surrogatepass"))
    except InvalidInput:
        return text


EXPORTS = {
    preset.name: preset
    for preset in (
        Export("segment", "Segment's archive or RudderStack's dump: one message a line, as it was sent", _from_segment),
        Export("posthog", "PostHog's batch export as JSON lines, or rows of its table `events`", _from_posthog),
        Export("mixpanel", "Mixpanel's raw event export", _from_mixpanel),
        Export("amplitude", "Amplitude's Export API, its files put together", _from_amplitude),
    )
}
_XES_ABOUT = "an XES event log (IEEE 1849): traces are users; chosen by itself for such files"


def about() -> dict[str, str]:
    """Every preset by its name, with what it reads."""
    return {name: preset.about for name, preset in EXPORTS.items()} | {"xes": _XES_ABOUT}


def preset(name: str | None, *, xes: XesLog | None = None, zone: str | None = None) -> Preset | None:
    """The preset of this name; `xes` are options that only an XES log has, None where none was given.

    `zone`: the time zone that Mixpanel's export counts in, by its name in the time zone database.
    """
    if zone is not None:
        if name != "mixpanel":
            raise InvalidInput("--time-zone is for --preset mixpanel; other times say their zone.")
        try:
            found = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidInput(f"There is no time zone {zone!r}.", hint="For example Europe/Berlin.") from None
        return replace(EXPORTS[name], zone=zone, translate=partial(_from_mixpanel, zone=found))
    if name == "xes" or (name is None and xes is not None):
        return xes or XesLog()
    if xes is not None:
        raise InvalidInput(f"The preset {name} is not for XES logs.", hint="Leave the options of XES out.")
    if name is None:
        return None
    if name not in EXPORTS:
        close = get_close_matches(name, about(), n=1)
        hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(about())}."
        raise InvalidInput(f"There is no preset {name!r}.", hint=hint)
    return EXPORTS[name]
