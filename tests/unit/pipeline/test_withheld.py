"""What messages say that is never stored as sent."""

from __future__ import annotations

import hmac
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pipeline.addresses import Addresses
from gateway.pipeline.clients import Peer
from gateway.pipeline.messages import Origin, Unacceptable, read_message
from gateway.pipeline.withheld import NOTHING, with_ip, withhold
from gateway.store.events import from_document

SECRET = "a-secret-of-the-key"
HASH = hmac.new(SECRET.encode(), b"ada", "sha256").hexdigest()
PLACES: list[dict[str, Any]] = [
    {"userHash": HASH},
    {"context": {"userHash": HASH, "locale": "de"}},
    {"traits": {"userHash": HASH, "plan": "pro"}},
    {"context": {"traits": {"userHash": HASH, "plan": "pro"}}},
]


def message(**more: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": "ada", "anonymousId": "a1", "messageId": "m1", **more}


def read(sent: Any, *, secret: str | None = None, peer: Peer | None = None, addresses: Addresses | None = None) -> Any:
    origin = Origin("w", "s", 1_780_000_000_000, None, 32_768, peer=peer or Peer(), user_hash_secret=secret)
    rest, withheld = withhold(sent)
    addresses = addresses or Addresses()
    return from_document(read_message(rest, origin, seq=1, fallback_id=str, withheld=withheld, addresses=addresses))


def refused(sent: Any) -> str:
    with pytest.raises(Unacceptable) as reason:
        read(sent, secret=SECRET)
    assert "HMAC-SHA256" in str(reason.value)
    return reason.value.code


@pytest.mark.parametrize("place", PLACES)
def test_the_proof_of_a_user_is_found_wherever_sdks_let_it_stand_and_never_stored(place: dict[str, Any]) -> None:
    sent = message(**place)
    before = deepcopy(sent)
    event = read(sent, secret=SECRET)
    assert event.user_id == "ada"
    assert HASH not in repr(event)
    assert "userHash" not in repr(event)
    assert sent == before
    bare = deepcopy(place)
    for part in (bare, bare.get("context", {}), bare.get("traits", {}), bare.get("context", {}).get("traits", {})):
        part.pop("userHash", None)
    assert event.content_hash == read(message(**bare)).content_hash


@pytest.mark.parametrize("wrong", ["", HASH[:-1], HASH[:-1] + "é", HASH.encode().hex(), 7, None, [HASH]])
def test_a_user_without_the_right_proof_is_not_believed(wrong: Any) -> None:
    code = "user_hash_wrong" if isinstance(wrong, str) and wrong else "user_hash_missing"
    assert refused(message(userHash=wrong)) == code


def test_capitals_and_blanks_do_not_matter_and_another_users_proof_does() -> None:
    assert read(message(userHash=f" {HASH.upper()} "), secret=SECRET).user_id == "ada"
    assert refused(message(userId="bob", userHash=HASH)) == "user_hash_wrong"
    assert refused(message()) == "user_hash_missing"


def test_a_number_as_user_id_is_proven_as_text() -> None:
    proof = hmac.new(SECRET.encode(), b"42", "sha256").hexdigest()
    assert read(message(userId=42, userHash=proof), secret=SECRET).user_id == "42"


def test_a_visitor_has_nothing_to_prove() -> None:
    assert read(message(userId=None), secret=SECRET).user_id is None


@pytest.mark.parametrize("kind", ["track", "page", "screen", "group", "identify", "alias"])
def test_every_call_that_names_a_user_must_prove_it(kind: str) -> None:
    sent = message(type=kind, event="e", groupId="g", previousId="a1")
    assert refused(sent) == "user_hash_missing"
    assert read({**sent, "userHash": HASH}, secret=SECRET).user_id == "ada"


@pytest.mark.parametrize("keep", ["truncate", "drop"])
def test_an_address_is_stored_without_its_end_or_not_at_all(keep: Any) -> None:
    sent = message(context={"ip": "203.0.113.77", "locale": "de"})
    event = read(sent, addresses=Addresses(keep))
    kept = {"ip": "203.0.113.0"} if keep == "truncate" else {}
    assert event.context == {"locale": "de", **kept}
    assert event.client == kept
    assert "203.0.113.77" not in repr(event)


def test_who_carried_a_message_is_no_part_of_what_it_says() -> None:
    at_home = read(message(context={"ip": "203.0.113.77"}), peer=Peer("Mozilla/5.0", "198.51.100.1", "DE"))
    on_the_train = read(message(context={"ip": "192.0.2.5"}), peer=Peer("other/1.0", "198.51.100.2", "FR"))
    dropped = read(message(context={"ip": "192.0.2.5"}), addresses=Addresses("drop"))
    assert at_home.content_hash == on_the_train.content_hash == dropped.content_hash
    assert at_home.id == on_the_train.id


@pytest.mark.parametrize("ip", ["nonsense", "203.0.113.77" * 20, 7, None, {"a": "203.0.113.77"}])
def test_what_is_no_address_is_left_out(ip: Any) -> None:
    assert read(message(context={"ip": ip})).context == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["userHash", "ip", "traits", "context", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_anything_can_be_read_and_nothing_else_is_taken_out(sent: Any) -> None:
    before = repr(sent)
    rest, withheld = withhold(sent)
    assert repr(sent) == before
    if withheld is NOTHING:
        assert rest is sent
    else:
        assert "userHash" not in rest
        context = rest.get("context")
        if isinstance(context, dict):
            assert not {"ip", "userHash"} & context.keys()
    with_ip(rest, "203.0.113.0")
