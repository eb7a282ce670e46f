"""Bodies under limits: what is counted, what is kept in flight, what JSON is read as."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message

from gateway.collect.bodies import RECEIVE_SECONDS, Bodies, read_json, read_object
from gateway.errors import InvalidInput, Late, TooLarge, Unavailable
from gateway.pipeline.budget import Budget
from tests.pace import PATIENCE


class Sender:
    """Sends a body in pieces; counts how many were taken. It never disconnects: waiting for more hangs."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.taken = 0

    async def __call__(self) -> Message:
        if self.taken == len(self.chunks):
            await asyncio.Event().wait()
        chunk = self.chunks[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": chunk, "more_body": self.taken < len(self.chunks)}


async def read(bodies: Bodies, sender: Sender, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asyncio.timeout(PATIENCE), bodies.read(Headers(named), sender) as body:
        return body


async def test_a_body_in_pieces_is_put_together() -> None:
    assert await read(Bodies(10), Sender(b"ab", b"", b"cd")) == b"abcd"


async def test_the_limit_is_the_last_size_that_passes() -> None:
    assert await read(Bodies(10), Sender(b"x" * 10)) == b"x" * 10
    with pytest.raises(TooLarge):
        await read(Bodies(10), Sender(b"x" * 11))


async def test_a_zipped_body_is_counted_unzipped() -> None:
    zipped = gzip.compress(b"x" * 1_000)
    assert await read(
        Bodies(1_000), Sender(*(zipped[at : at + 3] for at in range(0, len(zipped), 3))), content_encoding="gzip"
    )
    with pytest.raises(TooLarge):
        await read(Bodies(999), Sender(zipped), content_encoding="gzip")


async def test_a_zipped_body_that_shrinks_when_unzipped_is_counted_as_sent() -> None:
    header_with_long_name = b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 5_000 + b"\0" + gzip.compress(b"{}")[10:]
    assert await read(Bodies(6_000), Sender(header_with_long_name), content_encoding="gzip") == b"{}"
    with pytest.raises(TooLarge):
        await read(Bodies(4_000), Sender(header_with_long_name), content_encoding="gzip")


async def test_what_a_bomb_unzips_to_is_never_held() -> None:
    bomb = Sender(gzip.compress(b"\0" * 100_000_000))
    budget = Budget()
    with pytest.raises(TooLarge):
        await read(Bodies(1_000, budget=budget), bomb, content_encoding="gzip")
    assert budget.held == 0


async def test_a_sender_of_too_much_is_listened_to_for_a_while_so_that_it_hears_the_answer() -> None:
    sender = Sender(*[b"x" * 10] * 4)
    with pytest.raises(TooLarge):
        await read(Bodies(10), sender)
    assert sender.taken == 4


async def test_a_sender_of_far_too_much_is_not_listened_to_for_ever() -> None:
    sender = Sender(*[b"x" * 10] * 1_000)
    with pytest.raises(TooLarge):
        await read(Bodies(10), sender, content_length="10000")
    assert sender.taken < 10


async def test_a_broken_body_that_has_ended_is_answered_at_once() -> None:
    with pytest.raises(InvalidInput):
        await read(Bodies(100), Sender(gzip.compress(b"{}")[:-1]), content_encoding="gzip")


async def test_bodies_in_flight_share_one_budget() -> None:
    bodies = Bodies(10, budget=Budget(15))
    async with bodies.read(Headers(), Sender(b"x" * 10)):
        with pytest.raises(Unavailable):
            await read(bodies, Sender(b"x" * 6))
        unread = Sender(b"x" * 6)
        with pytest.raises(Unavailable):
            await read(bodies, unread, content_length="6")
        assert unread.taken == 0, "refused before a byte of it was read"
        assert await read(bodies, Sender(b"x" * 5)) == b"x" * 5
    assert await read(bodies, Sender(b"x" * 6)) == b"x" * 6


async def test_a_failed_request_gives_its_bytes_back() -> None:
    bodies = Bodies(10, budget=Budget(10))
    with pytest.raises(RuntimeError):
        async with bodies.read(Headers(), Sender(b"x" * 10)):
            raise RuntimeError
    assert await read(bodies, Sender(b"x" * 10))


async def test_a_sender_that_stalls_is_given_up() -> None:
    async def stalled() -> Message:
        await asyncio.sleep(5)
        return {"type": "http.request"}

    with pytest.raises(Late, match="did not arrive"):
        async with Bodies(10, seconds=0.05).read(Headers(), stalled):
            pass


async def test_a_handler_that_times_out_is_not_blamed_on_the_sender() -> None:
    with pytest.raises(TimeoutError):
        async with Bodies(10).read(Headers(), Sender(b"{}")):
            raise TimeoutError


async def test_a_sender_that_hangs_up_is_told_apart() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        async with Bodies(10).read(Headers(), gone):
            pass


@pytest.mark.parametrize("length", ["", "-1", "x", "99x", "²"])
async def test_a_length_that_is_no_number_is_not_relied_on(length: str) -> None:
    assert await read(Bodies(10), Sender(b"{}"), **({"content_length": length} if length.isascii() else {})) == b"{}"


# -- JSON -----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_whatever_a_json_library_writes_is_read_to_the_digit(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value
    assert repr(read_json(json.dumps(value).encode())) == repr(value)


@pytest.mark.parametrize(
    "number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**19, 10**30, -(2**63), -(2**63) - 1, -(10**19), 10**3_999]
)
def test_integers_keep_their_digits(number: int) -> None:
    assert read_json(f'{{"id": {number}}}'.encode()) == {"id": number}


def test_an_endless_number_is_cut_but_stays_out_of_range() -> None:
    assert read_json(b"[" + b"7" * 10_000 + b"]")[0] > 2**63


@pytest.mark.parametrize("depth", [1, 254, 255, 300, 512])
def test_nesting_up_to_512_levels_is_read(depth: int) -> None:
    value = read_json(b"[" * depth + b"]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize("depth", [513, 1_000, 1_024, 1_025, 100_000])
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("digits", [b"", b"1" * 25])
def test_deeper_nesting_is_refused(depth: int, pair: tuple[bytes, bytes], digits: bytes) -> None:
    opening, closing = pair
    text = b"[" + (digits or b"1") + b"," + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"]"
    with pytest.raises(InvalidInput, match="deeper than 512"):
        read_json(text)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(read_json(b"[" + b",".join([b"[[]]"] * 5_000) + b"]")) == 5_000


@pytest.mark.parametrize("text", [b"", b" ", b"1", b"null", b"[]", b'"{}"', b"{", b"{'a': 1}", b"\xff", b'{"a": "\n"}'])
def test_what_is_no_object_is_refused_with_the_way_out(text: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_object(text)
    assert refused.value.hint


def test_no_message_repeats_what_was_sent() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_object(b'{"email": "ada@example.org", ')
    assert "ada" not in str(refused.value)


@pytest.mark.parametrize("pieces", [1, 5])
async def test_a_length_that_is_too_large_is_answered_as_soon_as_nothing_more_comes(pieces: int) -> None:
    """The sender says 11 bytes and stops after a few: nobody waits 30 s for the others."""
    sender, began = Sender(*([b"x"] * 11)), time.monotonic()

    async def stalling() -> Message:
        if sender.taken == pieces:
            await asyncio.Event().wait()
        return await sender()

    with pytest.raises(TooLarge):
        async with Bodies(10).read(Headers({"content-length": "11"}), stalling):
            pass
    assert sender.taken == pieces
    assert time.monotonic() - began < RECEIVE_SECONDS / 2
