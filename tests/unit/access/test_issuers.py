"""Tokens of OpenID Connect providers: what they open, and every way to forge one."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from gateway.access import jwks
from gateway.access.callers import MAX_TOKEN_CHARS
from gateway.access.grant import Grant
from gateway.clock import FrozenClock
from gateway.errors import SetupError
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from tests.unit.access.provider import (
    ADA,
    AUDIENCE,
    EC,
    EC_384,
    ED,
    NOW,
    RSA,
    RSA_2,
    SHORT_RSA,
    Provider,
    callers_for,
    jwk,
    opened,
    pem,
    refused,
    running_provider,
)


def raw(header: Any, claims: Any, signature: bytes = b"x") -> str:
    """A token of which nothing is checked."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


# -- what opens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "kid", "algorithm"), [(RSA, "rsa", "RS256"), (EC, "ec", "ES256"), (ED, "ed", "EdDSA")])
async def test_a_token_opens_its_subject_and_no_more(
    provider: Provider, clock: FrozenClock, key: Any, kid: str, algorithm: str
) -> None:
    callers = callers_for(clock, provider.issuer())
    token = provider.token(NOW, key, kid, algorithm, scope="pii:read", permissions=["journeys:read"], ws="other")
    assert await opened(callers, token) == Grant(ADA, expires_at=(NOW + 3600 + 60) * 1000)


async def test_an_issuer_may_say_which_claim_names_whom(provider: Provider, clock: FrozenClock) -> None:
    issuer = provider.issuer(subject="anonymousId", subject_claim="https://acme.example/visitor")
    token = provider.token(NOW, **{"https://acme.example/visitor": "a-1"})
    scope = (await opened(callers_for(clock, issuer), token)).scope
    assert scope == Scope("acme", subject=Identity("anonymousId", "a-1"), visitor=True)


@pytest.mark.parametrize("audience", [AUDIENCE, ["account", AUDIENCE], [AUDIENCE, 7]])
async def test_the_audience_may_be_one_of_several(provider: Provider, clock: FrozenClock, audience: Any) -> None:
    callers = callers_for(clock, provider.issuer(audience=("mobile", AUDIENCE)))
    assert (await opened(callers, provider.token(NOW, aud=audience))).scope == ADA


async def test_other_algorithms_open_when_they_are_listed(provider: Provider, clock: FrozenClock) -> None:
    provider.keys = [jwk(RSA, "rsa"), jwk(EC_384, "ec", alg="ES384"), jwk(ED, "ed", alg="Ed25519")]
    callers = callers_for(clock, provider.issuer(algorithms=("PS256", "ES384", "EdDSA")))
    for key, kid, algorithm in ((RSA, "rsa", "PS256"), (EC_384, "ec", "ES384"), (ED, "ed", "EdDSA")):
        assert (await opened(callers, provider.token(NOW, key, kid, algorithm))).scope == ADA
    assert "RS256" not in await refused(callers, provider.token(NOW))


async def test_a_token_without_kid_opens_when_there_is_one_key_only(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    assert (await opened(callers, provider.token(NOW, kid=None))).scope == ADA
    provider.keys.append(jwk(RSA_2, "rsa-2"))
    clock.advance(int(jwks.FRESH_SECONDS * 1000) + 1)
    fresh = callers_for(clock, provider.issuer())
    assert "does not list" in await refused(fresh, provider.token(NOW + 601, kid=None))


async def test_leeway_is_given_on_both_sides_by_the_gateways_clock(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer(leeway_seconds=30))
    for times in ({"nbf": NOW + 30}, {"iat": NOW + 30}, {"exp": NOW - 29}, {"exp": NOW - 29.5}, {"iat": None}):
        assert (await opened(callers, provider.token(NOW, **times))).scope == ADA, times


async def test_a_token_that_was_good_ends_when_it_says(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer(leeway_seconds=0))
    token = provider.token(NOW, exp=NOW + 10)
    assert (await opened(callers, token)).expires_at == (NOW + 10) * 1000
    clock.advance(9_999)
    await opened(callers, token)
    clock.advance(1)
    assert "expired" in await refused(callers, token)


# -- what a configuration may give besides --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "given"),
    [
        ({}, set()),
        ({"permissions": ["kpis:read", "pii:read", 7]}, {"kpis:read"}),
        ({"permissions": "openid kpis:read journeys:read"}, {"kpis:read", "journeys:read"}),
        ({"permissions": {"kpis:read": True}}, set()),
    ],
)
async def test_people_of_the_workspace_get_what_is_configured_and_claimed(
    provider: Provider, clock: FrozenClock, claims: dict[str, Any], given: set[str]
) -> None:
    issuer = provider.issuer(
        subject="none", permissions=("kpis:read", "journeys:read"), permissions_claim="permissions"
    )
    scope = (await opened(callers_for(clock, issuer), provider.token(NOW, **claims))).scope
    assert scope == Scope("acme", permissions=frozenset(given))


async def test_a_claim_may_lie_deeper(provider: Provider, clock: FrozenClock) -> None:
    issuer = provider.issuer(permissions=("kpis:read",), permissions_claim="realm_access.roles")
    callers = callers_for(clock, issuer)
    token = provider.token(NOW, realm_access={"roles": ["kpis:read", "tokens:mint"]})
    assert (await opened(callers, token)).scope == Scope("acme", ADA.subject, frozenset({"kpis:read"}))
    assert (await opened(callers, provider.token(NOW, realm_access="kpis:read"))).scope == ADA


async def test_without_a_claim_everybody_gets_what_is_configured(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer(permissions=("kpis:read",)))
    assert (await opened(callers, provider.token(NOW))).scope.permissions == {"kpis:read"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"permissions": ("everything",)}, "no permission everything"),
        ({"permissions": ("journeys:read",)}, "nothing else"),
        ({"jwks_url": "http://login.example/jwks"}, "cannot be read at"),
        ({"jwks_url": "http://127.0.0.1.evil.example/jwks"}, "cannot be read at"),
        ({"jwks_url": "ftp://login.example/jwks"}, "cannot be read at"),
        ({"jwks_url": "file:///etc/passwd"}, "cannot be read at"),
        ({"jwks_url": "https://user:pass@login.example/jwks"}, "cannot be read at"),
        ({"jwks_url": "https:///jwks"}, "cannot be read at"),
    ],
)
def test_a_configuration_that_cannot_work_stops_the_start(
    provider: Provider, clock: FrozenClock, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(SetupError, match=said):
        callers_for(clock, provider.issuer(**settings))


def test_production_reads_keys_over_https_only(provider: Provider, clock: FrozenClock) -> None:
    with pytest.raises(SetupError, match="https"):
        callers_for(clock, provider.issuer(), development=False)
    callers_for(clock, provider.issuer(jwks_url="https://login.example/jwks"), development=False)


def test_an_issuer_belongs_to_one_workspace(provider: Provider, clock: FrozenClock) -> None:
    with pytest.raises(SetupError, match="twice"):
        callers_for(clock, provider.issuer(), provider.issuer(workspace="other"))


# -- forgeries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "elsewhere"}, "another audience"),
        ({"aud": [AUDIENCE + "x"]}, "another audience"),
        ({"aud": {AUDIENCE: 1}}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "`exp`"),
        ({"exp": "tomorrow"}, "`exp`"),
        ({"exp": True}, "`exp`"),
        ({"exp": []}, "`exp`"),
        ({"nbf": NOW + 61}, "not valid yet"),
        ({"nbf": "x"}, "`nbf`"),
        ({"iat": NOW + 61}, "not valid yet"),
        ({"sub": None}, "`sub`"),
        ({"sub": ""}, "`sub`"),
        ({"sub": "x" * 256}, "`sub`"),
        ({"sub": "null"}, "nobody in particular"),
    ],
)
async def test_a_claim_that_is_wrong_opens_nothing(
    provider: Provider, clock: FrozenClock, claims: dict[str, Any], said: str
) -> None:
    assert said in await refused(callers_for(clock, provider.issuer()), provider.token(NOW, **claims))


@pytest.mark.parametrize("sub", [7, ["ada"], {"x": 1}])
async def test_a_subject_that_is_no_text_opens_nothing(provider: Provider, clock: FrozenClock, sub: Any) -> None:
    issuer = provider.issuer(subject_claim="who")  # PyJWT does not even sign such a `sub`
    assert "`who`" in await refused(callers_for(clock, issuer), provider.token(NOW, who=sub))


def _hmac_with(secret: bytes, provider: Provider) -> str:
    """HS256 with the public key as its secret, as no library signs it any more."""
    claims = {"iss": f"{provider.url}/", "aud": AUDIENCE, "sub": "ada", "exp": NOW + 60}
    head, body, _ = raw({"alg": "HS256", "typ": "JWT", "kid": "rsa"}, claims).split(".")
    signature = hmac.digest(secret, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize("algorithms", [("RS256", "ES256", "EdDSA"), ("RS256",)])
async def test_no_confusion_of_algorithms_opens(
    provider: Provider, clock: FrozenClock, algorithms: tuple[str, ...]
) -> None:
    callers = callers_for(clock, provider.issuer(algorithms=algorithms))
    claims = {"iss": f"{provider.url}/", "aud": AUDIENCE, "sub": "ada", "exp": NOW + 60}
    modulus = json.dumps(jwk(RSA, "rsa")).encode()
    forged = [
        *(raw({"alg": alg, "kid": "rsa"}, claims, signature) for alg in ("none", "None", "NONE", "nOnE", "", None)
          for signature in (b"", b"x")),
        *(_hmac_with(secret, provider) for secret in (pem(RSA), pem(RSA).strip(), modulus, b"", b"rsa")),
        raw({"kid": "rsa"}, claims),
        raw({"alg": ["RS256"], "kid": "rsa"}, claims),
        raw({"alg": {"a": 1}, "kid": "rsa"}, claims),
        raw({"alg": "ES256", "kid": "ec"}, claims, b"\0" * 64),  # CVE-2022-21449
        raw({"alg": "ES256", "kid": "rsa"}, claims, b"\0" * 64),
        raw({"alg": "EdDSA", "kid": "ed"}, claims, b"\0" * 64),
        provider.token(NOW, RSA, "ec"),
        provider.token(NOW, EC, "rsa", "ES256"),
    ]  # fmt: skip
    for token in forged:
        await refused(callers, token)


@pytest.mark.parametrize(
    "headers",
    [
        {"crit": ["b64"], "b64": True},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"typ": "logout+jwt"},
        {"typ": "JWE"},
        {"typ": 7},
    ],
)
async def test_a_header_that_asks_for_more_than_is_known_opens_nothing(
    provider: Provider, clock: FrozenClock, headers: dict[str, Any]
) -> None:
    # Signed by the provider itself, so that nothing but the header speaks against it.
    from jwt.algorithms import RSAAlgorithm

    claims = {"iss": f"{provider.url}/", "aud": AUDIENCE, "sub": "ada", "exp": NOW + 60}
    head, body, _ = raw({"alg": "RS256", "kid": "rsa", **headers}, claims).split(".")
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(f"{head}.{body}".encode(), RSA)
    token = f"{head}.{body}.{urlsafe_b64encode(signature).decode().rstrip('=')}"
    await refused(callers_for(clock, provider.issuer()), token)


async def test_keys_that_a_token_brings_along_are_not_looked_at(provider: Provider, clock: FrozenClock) -> None:
    """Nor fetched: the attacker's server would be asked."""
    async with running_provider() as attacker:
        attacker.keys = [jwk(RSA_2, "rsa"), jwk(RSA_2, "own")]
        callers = callers_for(clock, provider.issuer())
        brought = {"jku": f"{attacker.url}/jwks", "x5u": f"{attacker.url}/x5u", "jwk": jwk(RSA_2, "rsa"), "x5c": ["AA"]}
        for kid in ("rsa", "own", None):
            await refused(callers, provider.token(NOW, RSA_2, kid, headers=brought))
        assert attacker.asked == []


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "' OR 1=1 --",
        '{"$ne": null}',
        "",
        "rsa\0",
        "RSA",
        "http://x.example/k",
        "k" * 4_000,
    ],
)
async def test_a_kid_is_a_name_and_nothing_else(provider: Provider, clock: FrozenClock, kid: str) -> None:
    callers = callers_for(clock, provider.issuer())
    for key in (RSA, RSA_2):
        assert "does not list" in await refused(callers, provider.token(NOW, key, kid))
    assert set(provider.asked) == {"/jwks"}


async def test_a_kid_that_is_no_text_opens_nothing(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    claims = {"iss": f"{provider.url}/", "aud": AUDIENCE, "sub": "ada", "exp": NOW + 60}
    for kid in (7, {"$ne": 1}, ["rsa"], True):
        await refused(callers, raw({"alg": "RS256", "kid": kid}, claims))


async def test_keys_that_are_not_for_signatures_are_not_used(provider: Provider, clock: FrozenClock) -> None:
    for more in (
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"n": "!"},
        {"n": 5},
    ):
        provider.keys = [jwk(RSA, "rsa", **more)]
        await refused(callers_for(clock, provider.issuer()), provider.token(NOW))
    odd: list[Any] = [{"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"}, "x", None, {}, jwk(SHORT_RSA, "short")]
    provider.keys = odd
    callers = callers_for(clock, provider.issuer())
    await refused(callers, _hmac_with(b"secret", provider))
    with pytest.warns(Warning, match="RSA"):
        short = provider.token(NOW, SHORT_RSA, "short")
    assert "not signed" in await refused(callers, short)


async def test_an_unknown_issuer_is_named_in_the_answer(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    for issuer in ("https://elsewhere.example/", provider.url, f"{provider.url}//", "x" * 5_000):
        message = await refused(callers, provider.token(NOW, iss=issuer))
        assert "is not known here" in message
        assert issuer[:40] in message
        assert len(message) < 200
    none = callers_for(clock)
    assert "is not known here" in await refused(none, provider.token(NOW))
    assert provider.asked == []


async def test_a_provider_cannot_mint_tokens_of_ours(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    own: dict[str, Any] = {
        "iss": "journey-gateway",
        "aud": "journey-gateway",
        "ws": "other",
        "idt": "userId",
        "perm": ["pii:read"],
    }
    assert "not valid" in await refused(callers, provider.token(NOW, **own))
    assert (await opened(callers, provider.token(NOW, ws="other", idt="userId", perm=["pii:read"]))).scope == ADA


async def test_a_changed_token_opens_nothing_although_it_was_good_before(
    provider: Provider, clock: FrozenClock
) -> None:
    callers = callers_for(clock, provider.issuer())
    good, other = provider.token(NOW), provider.token(NOW, sub="eve")
    await opened(callers, good)
    await opened(callers, other)
    (head, body, signature), (_, other_body, _) = good.split("."), other.split(".")
    for token in (f"{head}.{other_body}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA", f"{head}.{body}."):
        assert "not signed" in await refused(callers, token)


DEEP = urlsafe_b64encode(b"[" * 3_000).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    ["a.b", "a.b.c.d.e", "..", "{}.{}.{}", f"{DEEP}.{DEEP}.x", "e30.e30.e30", "eyJ.eyJ.eyJ", "\ud800.a.b", "é.é.é"],
)
async def test_what_is_no_token_is_refused(provider: Provider, clock: FrozenClock, token: str) -> None:
    await refused(callers_for(clock, provider.issuer()), token)


async def test_a_long_token_is_refused_unread(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    token = provider.token(NOW, padding="x" * 10_000)
    assert f"{MAX_TOKEN_CHARS:,}" in await refused(callers, token)
    assert provider.asked == []
