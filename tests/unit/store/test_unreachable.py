"""What the driver says of a host that gives no answer, and what is made of it."""

from __future__ import annotations

import pytest

from gateway.errors import Unavailable
from gateway.store.unreachable import why_unreachable


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("connection closed", "does not speak as mongod does"),
        ("Connection is closed", "does not speak as mongod does"),
        ("connection is already closed", "does not speak as mongod does"),
        ("[Errno 104] Connection reset by peer", "does not speak as mongod does"),
        ("[Errno 32] Broken pipe", "does not speak as mongod does"),
        ("Message length (1347703880) is larger than server max message size (48000000)", "does not speak as mongod"),
        ("timed out", "does not answer"),
        ("[Errno 111] Connection refused", "nothing listens at"),
    ],
)
async def test_the_same_fault_in_other_words(words: str, said: str) -> None:
    cause = OSError(
        f"db:27017: {words} (configured timeouts: socketTimeoutMS: 700.0ms, connectTimeoutMS: 700.0ms), Timeout: 2.0s"
    )
    assert said in await _said(cause)


async def test_a_host_of_which_nothing_was_heard_in_time() -> None:
    assert "does not answer" in await _said(OSError("No servers found yet, Timeout: 0.3s, Topology Description: <…>"))


async def _said(cause: OSError) -> str:
    error = Unavailable("MongoDB does not answer.", hint="Try again in a moment.")
    error.__cause__ = cause
    return (await why_unreachable("mongodb+srv://db", error)).said
