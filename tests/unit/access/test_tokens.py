"""Tokens open what they say, until they end, and only if we signed them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest

from gateway.access.tokens import AUDIENCE, ISSUER, PAGE_PERMISSIONS, Tokens
from gateway.clock import FrozenClock
from gateway.errors import Forbidden, Unauthenticated
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS, Scope

NOW = 1_710_325_274_567
SECRET = "s" * 43
ADA = Identity("userId", "ada")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def tokens(clock: FrozenClock) -> Tokens:
    return Tokens(SECRET, clock)


def claims(**other: Any) -> dict[str, Any]:
    good = {"iss": ISSUER, "aud": AUDIENCE, "ws": "acme", "sub": "ada", "idt": "userId", "exp": NOW // 1000 + 60}
    return {key: value for key, value in (good | other).items() if value is not None}


def test_a_user_token_opens_one_identity_and_carries_no_permission(tokens: Tokens) -> None:
    assert tokens.read(tokens.mint_user("acme", ADA, 60)) == Scope("acme", subject=ADA)


def test_a_visitor_token_says_so(tokens: Tokens) -> None:
    anonymous = Identity("anonymousId", "a-1")
    scope = tokens.read(tokens.mint_user("acme", anonymous, 60))
    assert scope == Scope("acme", subject=anonymous, visitor=True)


def test_a_page_token_opens_everybody_without_personal_data(tokens: Tokens) -> None:
    scope = tokens.read(tokens.mint_page("demo", 60))
    assert scope == Scope("demo", permissions=PAGE_PERMISSIONS)
    assert "pii:read" not in scope.permissions
    assert PERMISSIONS.keys() >= PAGE_PERMISSIONS


def test_a_page_token_is_renewed_for_half_a_day_and_no_longer(tokens: Tokens, clock: FrozenClock) -> None:
    token = tokens.mint_page("demo", 60)
    for _ in range(24):
        clock.advance(30 * 60_000)
        token = tokens.renew_page(token, 60)
    assert tokens.read(token) == Scope("demo", permissions=PAGE_PERMISSIONS)
    clock.advance(30 * 60_000)
    with pytest.raises(Unauthenticated, match="open too long"):
        tokens.renew_page(token, 60)


def test_no_other_token_is_renewed(tokens: Tokens) -> None:
    with pytest.raises(Forbidden):
        tokens.renew_page(tokens.mint_user("acme", ADA, 60), 60)


def test_a_token_ends_when_it_says(tokens: Tokens, clock: FrozenClock) -> None:
    token, end = tokens.mint_user("acme", ADA, 2), tokens.expiry(2)
    assert end == 1_710_325_394_000
    clock.at = end - 1
    assert tokens.read(token).subject == ADA
    clock.at = end
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.read(token)


def test_a_token_is_judged_by_the_gateways_clock_not_by_the_machines(clock: FrozenClock) -> None:
    clock.at = 4_000_000_000_000
    far_ahead = Tokens(SECRET, clock)
    assert far_ahead.read(far_ahead.mint_user("acme", ADA, 60)).subject == ADA


def test_claims_of_the_test_are_good(tokens: Tokens) -> None:
    assert tokens.read(jwt.encode(claims(), SECRET, "HS256")) == Scope("acme", subject=ADA)


FOREIGN = {
    "nothing": "",
    "no token": "not.a.token",
    "one part": "abc",
    "not ASCII": "äöü.ß.é",
    "another secret": jwt.encode(claims(), "t" * 43, "HS256"),
    "another algorithm": jwt.encode(claims(), SECRET * 2, "HS512"),
    "no algorithm": jwt.encode(claims(), "", "none"),
    "another audience": jwt.encode(claims(aud="elsewhere"), SECRET, "HS256"),
    "another issuer": jwt.encode(claims(iss="elsewhere"), SECRET, "HS256"),
    "no audience": jwt.encode(claims(aud=None), SECRET, "HS256"),
    "no issuer": jwt.encode({key: value for key, value in claims().items() if key != "iss"}, SECRET, "HS256"),
    "no end": jwt.encode(claims(exp=None), SECRET, "HS256"),
    "no workspace": jwt.encode(claims(ws=None), SECRET, "HS256"),
    "claims that are a list": ".".join(
        urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256","typ":"JWT"}', b"[]", b"x")
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_token_that_is_not_ours_opens_nothing(tokens: Tokens, case: str) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        tokens.read(FOREIGN[case])


def test_a_changed_token_opens_nothing(tokens: Tokens) -> None:
    head, _, signature = tokens.mint_user("acme", ADA, 60).split(".")
    _, body, _ = jwt.encode(claims(sub="eve"), SECRET, "HS256").split(".")
    with pytest.raises(Unauthenticated, match="not valid"):
        tokens.read(f"{head}.{body}.{signature}")


def test_no_message_repeats_the_token(tokens: Tokens) -> None:
    foreign = jwt.encode(claims(), "t" * 43, "HS256")
    with pytest.raises(Unauthenticated) as refused:
        tokens.read(foreign)
    assert foreign not in str(refused.value)
    assert refused.value.__cause__ is None
