"""Presets: what other tools' exports say, as messages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.collect.lines import Refused
from gateway.collect.mapping import Mapping, Preset
from gateway.collect.presets import EXPORTS, XesLog, about, preset
from gateway.errors import InvalidInput
from gateway.pipeline.messages import Origin, read_message
from gateway.store.events import from_document

SEGMENT: dict[str, Any] = {
    "_metadata": {"bundled": []},
    "anonymousId": "a1",
    "channel": "client",
    "context": {"library": {"name": "analytics.js", "version": "next-1.70.0"}, "page": {"path": "/"}},
    "event": "Order Completed",
    "integrations": {"All": True},
    "messageId": "ajs-1",
    "originalTimestamp": "2024-03-13T13:21:14.000Z",
    "projectId": "p",
    "properties": {"total": 9.5},
    "receivedAt": "2024-03-13T10:21:15.000Z",
    "sentAt": "2024-03-13T13:21:15.000Z",
    "timestamp": "2024-03-13T10:21:14.000Z",
    "type": "track",
    "userId": None,
    "version": 2,
    "writeKey": "k",
}
POSTHOG: dict[str, Any] = {
    "uuid": "0185-1",
    "event": "order completed",
    "distinct_id": "ada",
    "properties": {"$device_id": "d1", "$lib": "web", "total": 9.5, "$current_url": "https://shop.example/"},
    "timestamp": "2024-03-13 10:21:14.000000",
    "created_at": "2024-03-13 10:21:15.000000",
    "elements_chain": "",
    "person_id": "p1",
    "team_id": 1,
    "ip": "192.0.2.77",
    "set": None,
    "set_once": None,
}
MIXPANEL: dict[str, Any] = {
    "event": "Order Completed",
    "properties": {"time": 1710325274, "distinct_id": "ada", "$insert_id": "i1", "mp_lib": "web", "total": 9.5},
}
AMPLITUDE: dict[str, Any] = {
    "event_type": "Order Completed",
    "event_time": "2024-03-13 10:21:14.000000",
    "user_id": "ada",
    "device_id": "d1",
    "$insert_id": "i1",
    "uuid": "u1",
    "event_properties": {"total": 9.5},
    "user_properties": {"plan": "pro"},
    "ip_address": "192.0.2.77",
    "amplitude_id": 7,
}
ROWS: dict[str, dict[str, Any]] = {"segment": SEGMENT, "posthog": POSTHOG, "mixpanel": MIXPANEL, "amplitude": AMPLITUDE}


def message(name: str, row: dict[str, Any], *maps: str) -> Any:
    return Mapping.parse(maps, preset=EXPORTS[name]).message(row)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_row_of_each_export_is_an_event_of_its_time(name: str) -> None:
    origin = Origin("w", "s", 2_000_000_000_000, None, 32_768, correct_skew=False)
    event = from_document(read_message(message(name, ROWS[name]), origin, seq=0, fallback_id=lambda: "none"))
    assert event.name.lower() == "order completed"
    assert event.at == 1_710_325_274_000
    assert event.properties["total"] == 9.5
    assert event.identity.value == {"segment": "a1"}.get(name, "ada")
    assert event.message_id == {"segment": "ajs-1", "posthog": "0185-1"}.get(name, "i1")


@pytest.mark.parametrize("name", EXPORTS)
def test_an_address_is_where_it_is_cut_before_it_is_stored(name: str) -> None:
    told = json.dumps({key: value for key, value in message(name, ROWS[name]).items() if key != "context"})
    assert "192.0.2.77" not in told


@pytest.mark.parametrize("name", EXPORTS)
def test_a_row_without_a_time_is_refused(name: str) -> None:
    row = {key: value for key, value in ROWS[name].items() if not key.lower().endswith(("time", "timestamp", "at"))}
    if name == "mixpanel":
        row["properties"] = {"distinct_id": "ada"}
    with pytest.raises(Refused, match="no time"):
        message(name, row)


def test_segments_archive_loses_only_what_delivery_added() -> None:
    kept = SEGMENT.keys() - {"_metadata", "projectId", "version", "writeKey"}
    assert message("segment", SEGMENT) == {key: SEGMENT[key] for key in kept}


@pytest.mark.parametrize("key", ["originalTimestamp", "sentAt", "receivedAt"])
def test_an_archive_of_old_has_its_time_elsewhere(key: str) -> None:
    row = {"type": "track", "event": "e", "userId": "u", key: "2014-01-01T00:00:00Z"}
    assert message("segment", row)["timestamp"] == "2014-01-01T00:00:00Z"


def test_posthogs_objects_may_be_text() -> None:
    row = POSTHOG | {"properties": json.dumps(POSTHOG["properties"]), "set": '{"plan": "pro"}'}
    told = message("posthog", row)
    assert told["properties"]["total"] == 9.5
    assert told["traits"] == {"plan": "pro"}
    assert told["context"]["ip"] == "192.0.2.77"
    assert message("posthog", POSTHOG | {"properties": "{broken"})["properties"] == {"properties": "{broken"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, {"type": "track", "userId": "ada"}),
        ({"person_mode": "propertyless"}, {"type": "track", "anonymousId": "ada"}),
        ({"distinct_id": "d1"}, {"type": "track", "anonymousId": "d1"}),
        ({"event": "$pageview"}, {"type": "page", "userId": "ada"}),
        (
            {"event": "$identify", "properties": {"$anon_distinct_id": "d1"}},
            {"type": "identify", "userId": "ada", "anonymousId": "d1"},
        ),
    ],
)
def test_posthogs_events_keep_their_meaning(row: dict[str, Any], expected: dict[str, str]) -> None:
    told = message("posthog", POSTHOG | row)
    assert {key: told[key] for key in ("type", "userId", "anonymousId") if key in told} == expected


def test_amplitudes_user_properties_become_traits() -> None:
    told = message("amplitude", AMPLITUDE)
    assert (told["traits"], told["anonymousId"]) == ({"plan": "pro"}, "d1")


@pytest.mark.parametrize(
    ("zone", "at"), [(None, "10:21:14"), ("UTC", "10:21:14"), ("Europe/Berlin", "09:21:14"), ("US/Pacific", "17:21:14")]
)
def test_mixpanels_times_are_in_the_projects_zone(zone: str | None, at: str) -> None:
    chosen = preset("mixpanel", zone=zone)
    assert chosen is not None
    found = datetime.fromtimestamp(chosen.message(MIXPANEL)["timestamp"], UTC)
    assert found.isoformat() == f"2024-03-13T{at}+00:00"


@pytest.mark.parametrize(("name", "zone"), [("mixpanel", "Mars/Phobos"), ("mixpanel", "../etc"), ("segment", "UTC")])
def test_a_zone_that_makes_no_sense_is_refused(name: str, zone: str) -> None:
    with pytest.raises(InvalidInput):
        preset(name, zone=zone)


def test_a_map_replaces_what_it_names() -> None:
    told = message("mixpanel", MIXPANEL, "userId=properties.total", "event==Paid")
    assert (told["userId"], told["event"]) == (9.5, "Paid")
    log = Mapping.parse(["userId=case:customer"], ["A=B"], preset=XesLog())
    row = {"case:concept:name": "c1", "case:customer": "7", "concept:name": "A", "time:timestamp": "2024-01-01"}
    told = log.message(row)
    assert (told["userId"], told["event"]) == ("7", "B")


def test_presets_are_known_by_name_and_a_wrong_one_is_told() -> None:
    assert list(about()) == [*EXPORTS, "xes"]
    assert preset("segment") is EXPORTS["segment"]
    assert preset("xes") == XesLog()
    with pytest.raises(InvalidInput, match="Did you mean posthog"):
        preset("posthogg")
    with pytest.raises(InvalidInput, match="not for XES"):
        preset("segment", xes=XesLog(only_complete=True))
    with pytest.raises(InvalidInput, match="--only-mapped"):
        Mapping.parse([], only_mapped=True, preset=XesLog())


def test_what_reads_otherwise_is_described_otherwise() -> None:
    presets: list[Preset] = [*EXPORTS.values(), XesLog(), XesLog("session"), XesLog(only_complete=True)]
    mappings = [Mapping(), *(Mapping(preset=one) for one in presets)]
    described = [tuple(mapping.describe()) for mapping in mappings]
    assert len(set(described)) == len(described)
