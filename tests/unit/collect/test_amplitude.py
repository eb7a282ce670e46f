"""Amplitude's items as messages: who did it, what is kept where, and that nothing is lost or raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.collect.amplitude import translate, translate_groups
from tests.unit.collect.items import JSON, MARKED_JSON, looked_for, marks_in, objects_of, verdict

KEYS = [
    *("user_id", "device_id", "insert_id", "time", "event_properties", "user_properties", "group_properties", "groups"),
    *("library", "platform", "os_name", "app_version", "ip", "idfa", "adid", "revenue", "price", "plan", "event_id"),
    *("session_id", "type", "traits", "messageId", "group_type", "group_value"),
]
NAMES = ["Product Viewed", "$identify", "$groupidentify", "[Amplitude] Page Viewed", "[Amplitude] Screen Viewed"]
OPERATIONS = ["$set", "$setOnce", "$add", "$append", "$unset", "$clearAll", "plan"]


def event(name: str = "Product Viewed", **item: Any) -> dict[str, Any]:
    (message,) = translate([{"event_type": name, **item}])
    assert isinstance(message, dict)
    return message


def test_both_ids_say_that_they_are_one_person() -> None:
    message = event(user_id="ada", device_id="d1")
    assert (message["userId"], message["anonymousId"], message["previousId"]) == ("ada", "d1", "d1")
    assert event(user_id="ada") == {"type": "track", "event": "Product Viewed", "userId": "ada"}
    assert event(device_id="d1") == {"type": "track", "event": "Product Viewed", "anonymousId": "d1"}


def test_times_ids_and_libraries_find_their_places() -> None:
    message = event(
        user_id="ada",
        insert_id="i1",
        time=1710325274123,
        library="amplitude-python/1.3.0",
        platform="iOS",
        os_name="ios",
        os_version="17",
        app_version="2.1",
        ip="203.0.113.9",
        event_properties={"color": "red"},
        revenue=3.5,
        session_id=7,
        plan={"branch": "main"},
    )
    assert message == {
        "type": "track",
        "event": "Product Viewed",
        "userId": "ada",
        "messageId": "i1",
        "timestamp": 1710325274123,
        "properties": {"color": "red", "revenue": 3.5},
        "context": {
            "library": {"name": "amplitude-python", "version": "1.3.0"},
            "device": {"type": "iOS"},
            "os": {"name": "ios", "version": "17"},
            "app": {"version": "2.1"},
            "ip": "203.0.113.9",
            "sessionId": 7,
        },
        "amplitude": {"plan": {"branch": "main"}},
    }


def test_the_address_of_the_request_is_meant_without_saying_it() -> None:
    assert "context" not in event(user_id="ada", ip="$remote")


def test_profile_operations() -> None:
    message = event(
        "$identify",
        user_id="ada",
        device_id="d1",
        user_properties={
            "$set": {"plan": "pro"},
            "$setOnce": {"first": "ad"},
            "$add": {"n": 1},
            "$unset": {"old": "-"},
        },
    )
    assert (message["type"], message["anonymousId"]) == ("identify", "d1")
    assert (message["traits"], message["traitsOnce"]) == ({"plan": "pro", "old": None}, {"first": "ad"})
    assert message["properties"] == {"user_properties": {"$add": {"n": 1}}}


def test_plain_user_properties_are_traits_of_any_event() -> None:
    assert event(user_id="ada", user_properties={"plan": "pro"})["traits"] == {"plan": "pro"}


def test_groups() -> None:
    item = {"groups": {"company": "acme"}, "group_properties": {"$set": {"size": 4}}}
    message = event("$groupidentify", **item)
    assert (message["type"], message["groupId"], message["anonymousId"]) == ("group", "acme", "$company_acme")
    assert message["traits"] == {"size": 4}
    assert event("$groupidentify", user_id="ada", **item)["userId"] == "ada"
    (message,) = translate_groups([{"group_type": "company", "group_value": "acme", "group_properties": {"size": 4}}])
    assert (message["groupId"], message["traits"]) == ("acme", {"size": 4})


def test_pages_and_screens() -> None:
    properties = {"[Amplitude] Page Title": "Lamps", "[Amplitude] Page Location": "https://x/"}
    page = event("[Amplitude] Page Viewed", device_id="d1", event_properties=properties)
    assert (page["type"], page["name"]) == ("page", "Lamps")
    assert page["context"]["page"] == {"url": "https://x/", "title": "Lamps"}
    screen = event("[Amplitude] Screen Viewed", device_id="d1", event_properties={"[Amplitude] Screen Name": "Cart"})
    assert (screen["type"], screen["name"]) == ("screen", "Cart")


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ("x", "not_an_object"),
        ({}, "no_identity"),
        ({"event_type": "x", "user_id": True}, "wrong_type"),
        ({"user_id": "ada"}, "no_event_name"),
    ],
)
def test_a_hostile_item_is_quarantined_beside_good_ones(item: Any, code: str) -> None:
    good = {"event_type": "x", "user_id": "ada"}
    assert [verdict(message) for message in translate([good, item, good])] == ["accepted", code, "accepted"]


PROFILES = objects_of(OPERATIONS, JSON | st.dictionaries(st.text(), JSON, max_size=3))


@looked_for
@given(
    st.lists(
        JSON
        | st.builds(
            lambda item, name, profile: {**item, "event_type": name, **profile},
            objects_of(KEYS, JSON),
            st.sampled_from(NAMES) | JSON,
            st.fixed_dictionaries({}, optional={"user_properties": PROFILES, "group_properties": PROFILES}),
        )
    )
)
def test_any_items_become_as_many_messages(items: list[Any]) -> None:
    for read in (translate, translate_groups):
        messages = read(items)
        assert len(messages) == len(items)
        for message in messages:
            verdict(message)


@looked_for
@given(st.sampled_from(NAMES), objects_of(KEYS, MARKED_JSON), objects_of(OPERATIONS, MARKED_JSON))
def test_no_event_loses_content(name: str, item: dict[str, Any], profile: dict[str, Any]) -> None:
    item = {**item, "event_type": name, "user_properties": profile}
    for read in (translate, translate_groups):
        (message,) = read([item])
        assert set(marks_in(item)) <= set(marks_in(message))
