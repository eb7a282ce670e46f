"""One message to one event: stamps, identities, limits, and nothing that stops its neighbours."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.collect.bodies import read_plain_object
from gateway.errors import InvalidInput
from gateway.model.event import CALLS, DECISIONS, SYSTEM_TYPES, Event
from gateway.pipeline import messages
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.pipeline.times import parse_time
from gateway.store.events import from_document, to_document

RECEIVED = 1_780_000_000_000
MINUTE = 60_000


def origin(**changes: Any) -> Origin:
    given = {"workspace": "w", "source": "s", "received_at": RECEIVED, "sent_at": None, "max_event_bytes": 32_768}
    return Origin(**{**given, **changes})


def read(message: Any, **changes: Any) -> Event:
    return from_document(read_message(message, origin(**changes), seq=1, fallback_id=lambda: "made-up"))


def track(**more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "View", "userId": "ada", "messageId": "m1", **more}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@given(JSON | st.fixed_dictionaries({"type": st.just("track"), "event": JSON, "userId": JSON, "properties": JSON}))
def test_anything_is_an_event_that_can_be_stored_or_a_reason(message: Any) -> None:
    event, reason = None, None
    try:
        event = read(message)
    except Unacceptable as refused:
        reason = refused
    assert (event is None) != (reason is None)
    if event is not None:
        orjson.dumps(event.properties)
        assert event.user_id or event.anonymous_id
    if reason is not None:
        assert reason.code
        assert str(reason)


@given(
    offset=st.integers(-10 * 365 * 24 * 60, 10 * 365 * 24 * 60),
    delay=st.integers(0, 5_000),
    age=st.integers(0, 72 * 60 * MINUTE),
)
def test_a_wrong_device_clock_is_corrected_to_within_the_network_time(offset: int, delay: int, age: int) -> None:
    true = RECEIVED - delay - age
    shift = offset * MINUTE
    event = read(track(timestamp=(true + shift)), sent_at=RECEIVED - delay + shift)
    allowed = delay if abs(shift - delay) > MINUTE else MINUTE
    assert abs(event.at - true) <= allowed


def test_small_skew_is_left_alone_so_that_transit_does_not_reorder() -> None:
    assert read(track(timestamp=RECEIVED - 30_000), sent_at=RECEIVED - 20_000).at == RECEIVED - 30_000


def test_a_far_future_event_is_at_most_a_minute_late() -> None:
    assert read(track(timestamp=RECEIVED + 10**9)).at == RECEIVED + MINUTE


def test_an_import_keeps_old_times() -> None:
    assert read(track(timestamp=1_000_000_000), correct_skew=False).at == 1_000_000_000_000


def test_of_two_different_time_stamps_timestamp_is_when_it_happened() -> None:
    skewed = {"sentAt": RECEIVED - 3_600_000, "originalTimestamp": RECEIVED - 3_605_000}
    event = read(track(timestamp=RECEIVED - 9_000_000, **skewed))
    assert event.at == event.timestamp == RECEIVED - 9_000_000
    assert event.original_timestamp == RECEIVED - 3_605_000
    assert event.sent_at == RECEIVED - 3_600_000


@pytest.mark.parametrize("names", [("timestamp",), ("originalTimestamp",), ("timestamp", "originalTimestamp")])
def test_one_time_stamp_is_the_senders_clock_whatever_its_name(names: tuple[str, ...]) -> None:
    sent = RECEIVED - 3_600_000
    event = read(track(sentAt=sent, **dict.fromkeys(names, sent - 5_000)))
    assert event.at == RECEIVED - 5_000
    assert event.original_timestamp == sent - 5_000


def test_a_time_that_is_none_is_flagged_and_replaced() -> None:
    event = read(track(timestamp="yesterday"))
    assert event.at == RECEIVED
    assert event.flags == ("clock_suspect",)


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("2026-01-05T10:00:00Z", 1_767_607_200_000),
        ("2026-01-05T10:00:00.123456+00:00", 1_767_607_200_123),
        ("2026-01-05 11:00:00+01:00", 1_767_607_200_000),
        ("2026-01-05 10:00:00", 1_767_607_200_000),
        (1_767_607_200, 1_767_607_200_000),
        (1_767_607_200_000, 1_767_607_200_000),
        ("", None),
        (True, None),
        ([], None),
        ("9999-99-99", None),
        (math.inf, None),
        (math.nan, None),
    ],
)
def test_times_are_read(written: object, milliseconds: int | None) -> None:
    assert parse_time(written) == milliseconds


def test_the_same_message_has_one_id_whatever_time_it_is_sent() -> None:
    first, again = read(track(sentAt=RECEIVED)), read(track(sentAt=RECEIVED + 9), received_at=RECEIVED + 10)
    assert first.id == again.id
    assert first.content_hash == again.content_hash


def test_other_content_under_one_id_has_another_hash() -> None:
    first, other = read(track()), read(track(properties={"a": 1}))
    assert first.id == other.id
    assert first.content_hash != other.content_hash


def test_ids_are_apart_by_source_and_workspace() -> None:
    ids = {read(track()).id, read(track(), source="s2").id, read(track(), workspace="w2").id}
    assert len(ids) == 3


def test_a_number_as_user_id_is_its_text() -> None:
    assert read(track(userId=42)).user_id == "42"


def test_null_ids_are_no_ids() -> None:
    event = read(track(userId=None, anonymousId="a"))
    assert (event.user_id, event.anonymous_id) == (None, "a")


def test_an_identify_takes_traits_from_the_context_too() -> None:
    event = read({"type": "identify", "userId": "ada", "context": {"traits": {"plan": "pro"}}})
    assert event.traits == {"plan": "pro"}


def test_whatever_else_a_message_holds_is_kept() -> None:
    event = read(track(integrations={"All": False}, channel="server", version=1))
    assert event.extra == {"integrations": {"All": False}, "channel": "server", "version": 1}


def test_a_self_alias_links_nothing() -> None:
    assert read({"type": "alias", "userId": "ada", "previousId": "ada"}).link() is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (1, "not_an_object"),
        ({}, "unknown_type"),
        (track(type="trak"), "unknown_type"),
        (track(type=["track"]), "unknown_type"),
        (track(event=""), "no_event_name"),
        (track(event=7), "no_event_name"),
        (track(userId=None), "no_identity"),
        (track(userId={"$ne": None}), "wrong_type"),
        (track(properties=[1]), "wrong_type"),
        (track(messageId="x" * 101), "id_too_long"),
        (track(userId="x" * 256), "id_too_long"),
        (track(event="x" * 256), "name_too_long"),
        (track(properties={"n": 2**63}), "integer_out_of_range"),
        (track(properties={"n": 10**25}), "integer_out_of_range"),
        (track(properties={"a\0b": 1}), "nul_in_key"),
        (track(properties={"k" * 129: 1}), "key_too_long"),
        (track(properties={str(n): n for n in range(300)}), "too_many_keys"),
        (track(properties={"text": "x" * 40_000}), "event_too_large"),
        ({"type": "alias", "userId": "ada"}, "incomplete_alias"),
    ],
)
def test_what_cannot_be_an_event_says_why(message: Any, code: str) -> None:
    with pytest.raises(Unacceptable) as refused:
        read(message)
    assert refused.value.code == code


def test_nesting_has_a_limit() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    with pytest.raises(Unacceptable, match="32 levels"):
        read(track(properties={"deep": deep}))


def test_what_can_be_mended_is_mended_and_flagged() -> None:
    event = read(track(properties={"a": "x\ud800y", "b": math.nan, "c": "emoji \U0001f600"}))
    assert event.properties == {"a": "x\ufffdy", "b": None, "c": "emoji \U0001f600"}
    assert event.flags == ("lone_surrogate", "not_a_number")


AWKWARD = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, 1e19, 9.3e18, 1e300, 0.1, math.nan])
    | st.text(st.sampled_from('ab$.\0"\\:{[,1e\ud800ü'), max_size=8)
    | st.sampled_from(["x" * 130, '":' * 200, "{" * 40, "null", "1e5", ":1e5", "é" * 70]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.sampled_from('ab$.\0"\\:ü'), max_size=4) | st.just("k" * 129), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=3), AWKWARD, max_size=4))
def test_the_short_cut_for_clean_messages_changes_nothing(properties: dict[str, Any]) -> None:
    def outcome() -> Any:
        try:
            return read_message(track(properties=properties), origin(), seq=1, fallback_id=lambda: "made-up")
        except Unacceptable as reason:
            return reason.code

    short = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "_suspect", lambda content, canonical: True)
        assert outcome() == short


@given(st.dictionaries(st.text(max_size=3), AWKWARD, max_size=4))
def test_what_a_door_says_of_a_plain_body_changes_nothing(properties: dict[str, Any]) -> None:
    body = json.dumps(track(properties=properties), ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        message, plain = read_plain_object(body)
    except InvalidInput:
        return

    def outcome(plain: bool) -> Any:
        try:
            return read_message(message, origin(plain=plain), seq=1, fallback_id=lambda: "made-up")
        except Unacceptable as reason:
            return reason.code

    assert outcome(plain) == outcome(False)


@pytest.mark.parametrize(
    "text",
    ['"\\ud800"', '"\\u0000"', "NaN", "-Infinity", "1e400", str(2**63), str(-(2**63) - 1), "9" * 30, "0." + "1" * 25],
)
def test_a_body_with_anything_to_mend_is_not_plain(text: str) -> None:
    assert not read_plain_object(f'{{"a": {text}}}'.encode())[1]


def test_a_body_of_ordinary_json_is_plain() -> None:
    body = '{"a": [1, -2.5, 1e9, null, true, {"é.$": "grün 2026-01-05T10:00:00.123Z"}], "b": 123456789012345678}'
    assert read_plain_object(body.encode())[1]


@pytest.mark.parametrize(
    "message",
    [
        track(),
        track(anonymousId="a", properties={"a": {"b": [1]}}, traits={"t": 1}, context={"os": {"name": "iOS"}}, more=1),
        track(properties={"a.b": {"$c": 1}}, timestamp="never"),
        {"type": "page", "anonymousId": "a", "messageId": "m", "sentAt": RECEIVED},
    ],
)
def test_the_stored_form_is_that_of_the_event(message: Any) -> None:
    document = read_message(message, origin(), seq=1, fallback_id=lambda: "made-up")
    event = from_document(document)
    again = to_document(event, escape="escaped" in document)
    assert list(again.items()) == list(document.items())


def test_the_short_cut_is_not_slow_on_hostile_text() -> None:
    for text in ("." * 30_000, '"' * 15_000, "$a" * 15_000, "1" * 18 + "x" * 30_000, ":1.1" * 7_000):
        began = time.perf_counter()
        content = {"a": text, "b": {text[:100]: 1}, "c": [{text[:100]: [text]}]}
        messages._suspect(content, orjson.dumps(content))
        assert time.perf_counter() - began < 0.2


@pytest.mark.parametrize("kind", sorted(SYSTEM_TYPES))
def test_an_operators_word_comes_from_the_gateway_alone(kind: str) -> None:
    sides = {"one": ["a:k"], "other": ["u:" + "x" * 40_000]}
    message = {"type": kind, "anonymousId": "k", "name": f"gateway.{kind}", "properties": sides}
    with pytest.raises(Unacceptable) as refused:
        read(message)
    assert refused.value.code == "unknown_type"
    event = read(message, system=True)
    assert (event.sk, event.link()) == ("s:a:k", None)
    assert kind not in CALLS
    decision = event.decision()
    assert (decision is not None) == (kind in DECISIONS)
    if decision is None:
        return
    assert (decision.kind, [one.value for one in decision.one]) == (kind, ["k"])


def test_the_gateway_itself_sends_no_calls() -> None:
    with pytest.raises(Unacceptable):
        read(track(), system=True)
