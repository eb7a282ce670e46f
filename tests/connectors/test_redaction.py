"""What is said of a failure has no secret in it, however it is written."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.redaction import masked, reason_of

SECRET = 'se"cret/+value'


@pytest.mark.parametrize("written", [SECRET, quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]])
def test_it_is_hidden_in_each_form(written: str) -> None:
    assert masked(f"refused {written} there", [SECRET]) == "refused […] there"


@pytest.mark.parametrize("user", ["", "u:", "us:", "use:"])
@pytest.mark.parametrize("end", ["", ":", ":more"])
def test_it_is_hidden_in_base64_wherever_it_stands_there(user: str, end: str) -> None:
    told = base64.b64encode(f"{user}{SECRET}{end}".encode()).decode()
    other = base64.b64encode(f"{user}{'?' * len(SECRET)}{end}".encode()).decode()
    before, hidden, after = masked(told, [SECRET]).partition("[…]")
    assert hidden
    # Only letters that hold a part of what stands beside the secret are left.
    assert other.startswith(before[:-1])
    assert other.endswith(after[1:])


@given(st.text(alphabet="abcdefgh0123", min_size=8, max_size=40), st.text(max_size=20), st.integers(6, 40))
def test_its_beginning_at_the_end_of_what_was_cut_is_hidden(secret: str, before: str, kept: int) -> None:
    said = masked(before + secret[:kept], [secret])
    assert not said.endswith(secret[:6]) or len(secret[:kept]) < 6
    assert "[…]" in said


def test_what_was_sent_and_what_looks_like_people_is_hidden_too() -> None:
    said = reason_of("ada@shop.example of Acme Ltd has no topsecret", {"company": "Acme Ltd"}, ["topsecret"])
    assert said == "[…] of […] has no […]"
