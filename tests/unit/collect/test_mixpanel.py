"""Mixpanel's items as messages: who did it, what is kept where, and that nothing is lost or raised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.collect.mixpanel import translate_events, translate_groups, translate_profiles
from tests.unit.collect.items import JSON, MARKED_JSON, looked_for, marks_in, objects_of, verdict

KEYS = [
    *("distinct_id", "$user_id", "$device_id", "$insert_id", "time", "mp_lib", "$lib_version", "alias", "userHash"),
    *("$distinct_ids", "$anon_id", "$anon_distinct_id", "$identified_id", "$os", "$current_url", "ip", "$ip", "price"),
    *("current_page_title", "$app_version", "$app_version_string"),
]
OPERATIONS = [
    *("$distinct_id", "distinct_id", "$user_id", "$device_id", "$time", "$ip", "$set", "$set_once", "$add", "$append"),
    *("$union", "$remove", "$unset", "$delete", "$group_key", "$group_id", "userHash"),
]
NAMES = ["Product Viewed", "$identify", "$create_alias", "$merge", "$mp_web_page_view"]


def event(name: Any = "Product Viewed", **properties: Any) -> dict[str, Any]:
    (message,) = translate_events([{"event": name, "properties": {"token": "wk_x", **properties}}])
    assert isinstance(message, dict)
    return message


def profile(**operations: Any) -> dict[str, Any]:
    (message,) = translate_profiles([{"$token": "wk_x", "$distinct_id": "ada", **operations}])
    assert isinstance(message, dict)
    return message


def ids(message: dict[str, Any]) -> tuple[Any, Any, Any]:
    return message.get("userId"), message.get("anonymousId"), message.get("previousId")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"distinct_id": "ada"}, ("ada", None, None)),
        ({"distinct_id": 42}, (42, None, None)),
        ({"distinct_id": "$device:d1"}, (None, "d1", None)),
        ({"distinct_id": "$device:d1", "$device_id": "d1"}, (None, "d1", None)),
        ({"distinct_id": "d1", "$device_id": "d1"}, (None, "d1", None)),
        ({"distinct_id": "ada", "$device_id": "d1", "$user_id": "ada"}, ("ada", "d1", "d1")),
        ({"distinct_id": "ada", "$device_id": "d1"}, ("ada", "d1", "d1")),
        ({"distinct_id": "$device:d1", "$user_id": "ada"}, ("ada", "d1", "d1")),
        ({"$user_id": "ada"}, ("ada", None, None)),
        ({"distinct_id": "", "$device_id": "d1"}, (None, "d1", None)),
    ],
)
def test_who_did_it(sent: dict[str, Any], expected: tuple[Any, Any, Any]) -> None:
    message = event(**sent)
    assert ids(message) == expected
    assert "properties" not in message or message["properties"] == {"distinct_id": ""}


def test_ids_that_contradict_each_other_are_kept() -> None:
    assert event(**{"distinct_id": "eve", "$user_id": "ada"})["properties"] == {"distinct_id": "eve"}


def test_times_ids_and_libraries_find_their_places() -> None:
    message = event(
        **{
            "distinct_id": "ada",
            "$insert_id": "i1",
            "time": 1710325274.25,
            "mp_lib": "python",
            "$lib_version": "5.4.1",
        },
        **{"$os": "iOS", "$current_url": "https://shop.example/", "ip": "203.0.113.9", "price": 3, "token": "wk_x"},
    )
    assert message == {
        "type": "track",
        "event": "Product Viewed",
        "userId": "ada",
        "messageId": "i1",
        "timestamp": 1710325274.25,
        "properties": {"price": 3},
        "context": {
            "library": {"name": "mixpanel-python", "version": "5.4.1"},
            "os": {"name": "iOS"},
            "page": {"url": "https://shop.example/"},
            "ip": "203.0.113.9",
        },
    }


@pytest.mark.parametrize("time", [1710325274, 1710325274000, "1710325274", "2024-03-13T10:21:14Z"])
def test_a_time_is_read_in_every_form(time: Any) -> None:
    assert "properties" not in event(distinct_id="ada", time=time)


def test_a_time_that_is_none_is_kept_and_flagged() -> None:
    message = event(distinct_id="ada", time="yesterday")
    assert (message["timestamp"], message["properties"]) == ("yesterday", {"time": "yesterday"})


def test_a_long_insert_id_is_hashed_and_kept() -> None:
    message = event(**{"distinct_id": "ada", "$insert_id": "i" * 101})
    assert len(message["messageId"]) == 32
    assert message["properties"] == {"$insert_id": "i" * 101}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"distinct_id": "ada", "$anon_distinct_id": "$device:d1", "$device_id": "d1"}, ("ada", "d1")),
        ({"distinct_id": "ada", "$user_id": "ada", "$device_id": "d1"}, ("ada", "d1")),
        ({"$identified_id": "ada", "$anon_id": "d1"}, ("ada", "d1")),
        ({"$identified_id": "ada", "$anon_id": "$device:d1", "distinct_id": "ada"}, ("ada", "d1")),
        ({"distinct_id": "ada", "$anon_distinct_id": "former-user", "$device_id": "d1"}, ("ada", "d1")),
    ],
)
def test_identify_links(sent: dict[str, Any], expected: tuple[Any, Any]) -> None:
    message = event("$identify", **sent)
    assert (message["type"], message["userId"], message["anonymousId"]) == ("identify", *expected)


def test_alias_and_merge_link() -> None:
    alias = event("$create_alias", distinct_id="$device:d1", alias="ada")
    assert (alias["type"], *ids(alias)) == ("alias", "ada", None, "d1")
    for pair in (["$device:d1", "ada"], ["ada", "$device:d1"], ["ada", "d1"]):
        merge = event("$merge", **{"$distinct_ids": pair})
        assert (merge["type"], *ids(merge)) == ("alias", "ada", None, "d1")
    assert verdict(event("$merge", **{"$distinct_ids": ["ada"]}, distinct_id="ada")) == "incomplete_alias"


def test_a_page_view_is_a_page() -> None:
    message = event(
        "$mp_web_page_view", distinct_id="ada", current_page_title="Lamps", **{"$current_url": "https://x/"}
    )
    assert (message["type"], message["name"], message["context"]["page"]["url"]) == ("page", "Lamps", "https://x/")


def test_what_can_be_a_trait_becomes_one() -> None:
    message = profile(**{"$set": {"$email": "a@x.example", "plan": "pro"}, "$ip": "203.0.113.9", "$time": 1710325274})
    assert message["type"] == "identify"
    assert message["traits"] == {"email": "a@x.example", "plan": "pro"}
    assert message["context"] == {"ip": "203.0.113.9"}
    assert profile(**{"$set_once": {"$name": "Ada"}})["traitsOnce"] == {"name": "Ada"}
    assert profile(**{"$unset": ["plan", "$email"]})["traits"] == {"plan": None, "email": None}
    assert profile(**{"$set": {"$email": "a", "email": "b"}})["traits"] == {"$email": "a", "email": "b"}


@pytest.mark.parametrize(
    "operation",
    [{"$add": {"n": 1}}, {"$append": {"n": 1}}, {"$union": {"n": [1]}}, {"$remove": {"n": 1}}, {"$delete": ""}],
)
def test_what_cannot_be_a_trait_stays_in_the_event(operation: dict[str, Any]) -> None:
    message = profile(**operation)
    assert message["properties"] == operation
    assert verdict(message) == "accepted"


def test_a_groups_profile_is_a_group() -> None:
    (message,) = translate_groups([{"$token": "t", "$group_key": "company", "$group_id": "Acme", "$set": {"size": 4}}])
    assert message["type"] == "group"
    assert (message["groupId"], message["anonymousId"], message["traits"]) == ("Acme", "$company_Acme", {"size": 4})
    assert message["properties"] == {"$group_key": "company"}


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (1, "not_an_object"),
        ({}, "no_identity"),
        ({"event": "x", "properties": {}}, "no_identity"),
        ({"event": "x", "properties": [1]}, "no_identity"),
        ({"event": "x", "properties": {"distinct_id": ["ada"]}}, "wrong_type"),
        ({"properties": {"distinct_id": "ada"}}, "no_event_name"),
        ({"event": "x", "properties": {"distinct_id": "a" * 256}}, "id_too_long"),
    ],
)
def test_a_hostile_item_is_quarantined_beside_good_ones(item: Any, code: str) -> None:
    good = {"event": "x", "properties": {"distinct_id": "ada"}}
    assert [verdict(message) for message in translate_events([good, item, good])] == ["accepted", code, "accepted"]


@looked_for
@given(
    st.lists(
        JSON | st.fixed_dictionaries({"event": st.sampled_from(NAMES) | JSON, "properties": objects_of(KEYS, JSON)})
    )
)
def test_any_events_become_as_many_messages(items: list[Any]) -> None:
    messages = translate_events(items)
    assert len(messages) == len(items)
    for message in messages:
        verdict(message)


@looked_for
@given(st.lists(JSON | objects_of(OPERATIONS, JSON)))
def test_any_profiles_become_as_many_messages(items: list[Any]) -> None:
    for translate in (translate_profiles, translate_groups):
        messages = translate(items)
        assert len(messages) == len(items)
        for message in messages:
            verdict(message)


@looked_for
@given(st.sampled_from(NAMES), objects_of(KEYS, MARKED_JSON), objects_of(["meta", "type", "traits"], MARKED_JSON))
def test_no_event_loses_content(name: str, properties: dict[str, Any], rest: dict[str, Any]) -> None:
    assume(not {"ip", "$ip"} <= properties.keys())  # of two addresses one is dropped: neither may stay whole
    item = {**rest, "event": name, "properties": properties}
    (message,) = translate_events([item])
    assert set(marks_in(item)) <= set(marks_in(message)) | libraries(message)


@looked_for
@given(objects_of(OPERATIONS, MARKED_JSON))
def test_no_profile_loses_content(item: dict[str, Any]) -> None:
    assume(not {"ip", "$ip"} <= item.keys())
    for translate in (translate_profiles, translate_groups):
        (message,) = translate([item])
        assert set(marks_in(item)) <= set(marks_in(message))


def libraries(message: dict[str, Any]) -> set[str]:
    return {message.get("context", {}).get("library", {}).get("name", "").removeprefix("mixpanel-")}


@pytest.mark.parametrize("translate", [translate_events, translate_profiles, translate_groups])
def test_no_address_stays_in_what_is_stored_as_it_is(translate: Any) -> None:
    addresses = {"$ip": "203.0.113.7", "ip": "203.0.113.8"}
    item = {"event": "Opened", "properties": {"distinct_id": "ada", **addresses}}
    if translate is not translate_events:
        item = {"$distinct_id": "ada", "$group_key": "team", "$group_id": "7", "$set": {"plan": "pro"}, **addresses}
    (message,) = translate([item])
    assert message["context"].pop("ip") == "203.0.113.7"
    assert "203.0.113" not in str(message)
