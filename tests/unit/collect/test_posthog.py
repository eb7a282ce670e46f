"""PostHog's items as messages: who did it, what is kept where, and that nothing is lost or raised."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from gateway.collect.facades import Request
from gateway.collect.posthog import reader, translate
from tests.unit.collect.items import JSON, MARKED_JSON, looked_for, marks_in, objects_of, verdict

KEYS = [
    *("distinct_id", "$device_id", "$process_person_profile", "$anon_distinct_id", "alias", "$lib", "$lib_version"),
    *("$set", "$set_once", "$unset", "$group_type", "$group_key", "$group_set", "$groups", "$current_url", "$os"),
    *("$is_server", "$ip", "$insert_id", "title", "$screen_name", "userHash", "price", "$useragent"),
]
TOP = ["distinct_id", "uuid", "timestamp", "$set", "$set_once", "offset", "type", "messageId", "traits", "context"]
NAMES = ["Product Viewed", "$identify", "$create_alias", "$groupidentify", "$pageview", "$screen", "$set"]


def event(name: Any = "Product Viewed", distinct: Any = "ada", *, top: Any = None, **properties: Any) -> dict[str, Any]:
    (message,) = translate([{"event": name, "distinct_id": distinct, "properties": properties, **(top or {})}])
    assert isinstance(message, dict)
    return message


@pytest.mark.parametrize(
    ("properties", "user", "anonymous"),
    [
        ({}, "ada", None),
        ({"$device_id": "d1"}, "ada", None),
        ({"$device_id": "ada"}, None, "ada"),
        ({"$process_person_profile": False}, None, "ada"),
        ({"$process_person_profile": True}, "ada", None),
    ],
)
def test_who_did_it(properties: dict[str, Any], user: str | None, anonymous: str | None) -> None:
    message = event(**properties)
    assert (message.get("userId"), message.get("anonymousId")) == (user, anonymous)


def test_the_distinct_id_may_stand_in_the_properties() -> None:
    (message,) = translate([{"event": "x", "properties": {"distinct_id": "ada", "token": "wk_x"}}])
    assert message == {"type": "track", "event": "x", "userId": "ada"}


def test_times_ids_and_libraries_find_their_places() -> None:
    message = event(
        top={"uuid": "018e-uuid", "timestamp": "2024-03-13T10:21:14Z", "api_key": "wk_x"},
        **{"$lib": "web", "$lib_version": "1.2", "$os": "Linux", "$current_url": "https://x/", "$ip": "203.0.113.9"},
        **{"price": 3, "token": "wk_x", "$session_id": "s1"},
    )
    assert message == {
        "type": "track",
        "event": "Product Viewed",
        "userId": "ada",
        "messageId": "018e-uuid",
        "timestamp": "2024-03-13T10:21:14Z",
        "properties": {"price": 3},
        "context": {
            "library": {"name": "posthog-js", "version": "1.2"},
            "os": {"name": "Linux"},
            "page": {"url": "https://x/"},
            "ip": "203.0.113.9",
            "sessionId": "s1",
        },
    }


def test_a_servers_system_is_not_taken_for_a_users() -> None:
    message = event(**{"$lib": "posthog-python", "$os": "Linux", "$is_server": True})
    assert message["context"] == {"library": {"name": "posthog-python"}}
    assert message["properties"] == {"$os": "Linux", "$is_server": True}


def test_identify_links_and_tells_traits() -> None:
    message = event(
        "$identify", **{"$anon_distinct_id": "d1", "$set": {"$email": "a@x.example"}, "$set_once": {"first": "ad"}}
    )
    assert (message["type"], message["userId"], message["anonymousId"]) == ("identify", "ada", "d1")
    assert (message["traits"], message["traitsOnce"]) == ({"email": "a@x.example"}, {"first": "ad"})


def test_traits_come_with_any_event() -> None:
    assert event(**{"$set": {"plan": "pro"}})["traits"] == {"plan": "pro"}
    message = event("$set", top={"$set": {"plan": "pro"}}, **{"$unset": ["old"], "$device_id": "d1"})
    assert (message["type"], message["traits"]) == ("identify", {"plan": "pro", "old": None})
    assert "anonymousId" not in message, "only $identify links"


@pytest.mark.parametrize(
    ("distinct", "properties", "user", "previous"),
    [
        ("ada", {"alias": "d1"}, "ada", "d1"),
        ("d1", {"alias": "ada", "$lib": "posthog-python"}, "ada", "d1"),
        ("d1", {"alias": "ada", "$device_id": "d1"}, "ada", "d1"),
    ],
)
def test_alias_links(distinct: str, properties: dict[str, Any], user: str, previous: str) -> None:
    message = event("$create_alias", distinct, **properties)
    assert (message["type"], message["userId"], message["previousId"]) == ("alias", user, previous)


def test_groups() -> None:
    group = {"$group_type": "company", "$group_key": "acme", "$group_set": {"size": 4}}
    message = event("$groupidentify", **group)
    assert (message["type"], message["groupId"], message["userId"]) == ("group", "acme", "ada")
    assert (message["traits"], message["properties"]) == ({"size": 4}, {"$group_type": "company"})
    assert event("$groupidentify", "$company_acme", **group)["anonymousId"] == "$company_acme"


def test_pages_and_screens() -> None:
    page = event("$pageview", title="Lamps", **{"$current_url": "https://x/"})
    assert (page["type"], page["name"]) == ("page", "Lamps")
    screen = event("$screen", **{"$screen_name": "Cart"})
    assert (screen["type"], screen["name"]) == ("screen", "Cart")
    assert len(event("$pageview", title="t" * 300)["name"]) == 255


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (None, "not_an_object"),
        ({}, "no_identity"),
        ({"event": "x"}, "no_identity"),
        ({"event": "x", "distinct_id": ["ada"]}, "wrong_type"),
        ({"event": 1, "distinct_id": "ada"}, "no_event_name"),
        ({"event": "$create_alias", "distinct_id": "ada"}, "incomplete_alias"),
    ],
)
def test_a_hostile_item_is_quarantined_beside_good_ones(item: Any, code: str) -> None:
    good = {"event": "x", "distinct_id": "ada"}
    assert [verdict(message) for message in translate([good, item, good])] == ["accepted", code, "accepted"]


@looked_for
@given(
    st.lists(
        JSON
        | st.builds(
            lambda top, name, properties: {**top, "event": name, "properties": properties},
            objects_of(TOP, JSON),
            st.sampled_from(NAMES) | JSON,
            objects_of(KEYS, JSON) | JSON,
        )
    )
)
def test_any_items_become_as_many_messages(items: list[Any]) -> None:
    messages = translate(items)
    assert len(messages) == len(items)
    for message in messages:
        verdict(message)


@looked_for
@given(st.sampled_from(NAMES), objects_of(KEYS, MARKED_JSON), objects_of(TOP, MARKED_JSON))
def test_no_event_loses_content(name: str, properties: dict[str, Any], top: dict[str, Any]) -> None:
    item = {**top, "event": name, "properties": properties}
    (message,) = translate([item])
    assert set(marks_in(item)) <= set(marks_in(message))


@pytest.mark.parametrize(
    ("item", "timestamp"),
    [
        ({"offset": 1_500}, 1_710_325_198_500),
        ({"offset": 0}, 1_710_325_200_000),
        ({"offset": 5, "timestamp": "2024-03-13T10:21:14Z"}, "2024-03-13T10:21:14Z"),
        ({"offset": "soon"}, None),
        ({"offset": True}, None),
    ],
)
def test_an_event_of_a_browser_says_how_long_before_the_request_it_was(item: dict[str, Any], timestamp: Any) -> None:
    batch = json.dumps([{"event": "x", "distinct_id": "ada", **item}]).encode()
    parcel = reader(10_000)(Request(Headers({}), {"_": "1710325200000"}, batch))
    (message,) = parcel.translate(parcel.items)
    assert message.get("timestamp") == timestamp
