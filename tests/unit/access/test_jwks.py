"""What an OpenID Connect provider may do to us: change its keys, be away, answer nonsense."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from gateway.access import jwks
from gateway.access.callers import Callers
from gateway.clock import FrozenClock
from gateway.errors import Unauthenticated, Unavailable
from tests.pace import PATIENCE
from tests.unit.access.provider import (
    ADA,
    NOW,
    RSA,
    RSA_2,
    Provider,
    callers_for,
    jwk,
    opened,
    refused,
    running_provider,
)


async def test_keys_are_read_once_for_many_tokens(provider: Provider, clock: FrozenClock) -> None:
    provider.pause = 0.05
    callers = callers_for(clock, provider.issuer())
    tokens = [provider.token(NOW, sub=f"user-{number}") for number in range(20)]
    await asyncio.gather(*(opened(callers, token) for token in tokens))
    await asyncio.gather(*(opened(callers, token) for token in tokens))
    assert provider.asked == ["/jwks"]


async def test_a_new_key_is_found_at_once_and_an_old_one_ends(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    old = provider.token(NOW)
    await opened(callers, old)
    provider.keys = [jwk(RSA_2, "rsa-2")]
    clock.advance(int(jwks.BETWEEN_SECONDS * 1000))
    await opened(callers, provider.token(NOW, RSA_2, "rsa-2"))
    assert len(provider.asked) == 2
    assert "does not list" in await refused(callers, old), "the provider has withdrawn its key"


async def until_refused(callers: Callers, token: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            await opened(callers, token)
            await asyncio.sleep(0.01)


async def test_keys_are_read_anew_beside_the_requests(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    token = provider.token(NOW, exp=NOW + 7_200)
    await opened(callers, token)
    clock.advance(int(jwks.FRESH_SECONDS * 1000) + 1)
    provider.keys, provider.pause = [jwk(RSA_2, "rsa-2")], 0.02
    await opened(callers, token)  # does not wait
    with pytest.raises(Unauthenticated):
        await until_refused(callers, token)
    assert len(provider.asked) == 2
    assert "does not list" in await refused(callers, token)


async def test_made_up_key_ids_do_not_reach_the_provider(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    for number in range(100):
        await refused(callers, provider.token(NOW, RSA_2, f"made-up-{number}"))
    assert len(provider.asked) == 1
    clock.advance(int(jwks.BETWEEN_SECONDS * 1000))
    for number in range(100):
        await refused(callers, provider.token(NOW, RSA_2, f"made-up-{number}"))
    assert len(provider.asked) == 2


async def test_a_provider_that_is_away_ends_nothing_that_was_good(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer())
    token = provider.token(NOW, exp=NOW + 3 * 86_400)
    await opened(callers, token)
    provider.status = 500
    for _ in range(3):
        clock.advance(int(jwks.FRESH_SECONDS * 1000) + 1)
        assert (await opened(callers, token)).scope == ADA
        await asyncio.sleep(0.05)
    with pytest.raises(Unavailable) as away:  # not 401: nobody knows whether the key is good
        await opened(callers, provider.token(NOW, RSA_2, "new"))
    assert 1 <= away.value.retry_after <= 11
    clock.advance(int(jwks.STALE_SECONDS * 1000))
    with pytest.raises(Unavailable):
        await opened(callers, token)
    provider.status = 200
    clock.advance(int(jwks.BETWEEN_SECONDS * 1000))
    assert (await opened(callers, token)).scope == ADA


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 404},
        {"status": 302, "headers": {"location": "/jwks"}},
        {"status": 204, "body": b""},
        {"body": b""},
        {"body": b"<html>"},
        {"body": b"[]"},
        {"body": b"{}"},
        {"body": b'{"keys": {}}'},
        {"body": b'{"keys": ' + b"[" * 5_000},
        {"body": b" " * (jwks.MAX_DOCUMENT_BYTES + 1)},
        {"body": gzip.compress(b'{"keys": []}'), "headers": {"content-encoding": "gzip"}},
        {"headers": {"content-length": "nonsense"}},
        {"pause": 10.0},
    ],
)
async def test_a_provider_that_answers_nonsense_is_away(
    provider: Provider, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    if "pause" in wrong:
        monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.3)
    for name, value in wrong.items():
        setattr(provider, name, value)
    callers = callers_for(clock, provider.issuer())
    with pytest.raises(Unavailable):
        await opened(callers, provider.token(NOW))
    with pytest.raises(Unavailable):
        await opened(callers, provider.token(NOW))
    assert len(provider.asked) == 1, "asked again after ten seconds only, and no redirect is followed"


async def test_nobody_listens(clock: FrozenClock) -> None:
    async with running_provider() as gone:
        pass
    with pytest.raises(Unavailable):
        await opened(callers_for(clock, gone.issuer()), gone.token(NOW))


async def test_a_list_without_end_is_cut(provider: Provider, clock: FrozenClock) -> None:
    provider.keys = [*({"kty": "RSA", "kid": str(number)} for number in range(jwks.MAX_KEYS)), jwk(RSA, "rsa")]
    assert "does not list" in await refused(callers_for(clock, provider.issuer()), provider.token(NOW))


async def test_without_an_address_the_issuer_says_where_its_keys_are(provider: Provider, clock: FrozenClock) -> None:
    callers = callers_for(clock, provider.issuer(jwks_url=None))
    assert (await opened(callers, provider.token(NOW))).scope == ADA
    assert provider.asked == ["/.well-known/openid-configuration", "/discovered"]


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://elsewhere.example/", "jwks_uri": "{url}/discovered"},
        {"issuer": "{url}/"},
        {"issuer": "{url}/", "jwks_uri": "http://elsewhere.example/jwks"},
        {"issuer": "{url}/", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{url}/", "jwks_uri": 7},
        {"issuer": "{url}/", "jwks_uri": "https://[keys"},
    ],
)
async def test_a_discovery_document_is_not_believed_blindly(
    provider: Provider, clock: FrozenClock, document: dict[str, Any]
) -> None:
    provider.body = json.dumps(document).replace("{url}", provider.url).encode()
    with pytest.raises(Unavailable):
        await opened(callers_for(clock, provider.issuer(jwks_url=None)), provider.token(NOW))
    assert provider.asked == ["/.well-known/openid-configuration"]
