"""The public keys of an OpenID Connect provider: read over HTTPS, remembered, read anew when they rotate."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import orjson

from gateway.clock import Clock
from gateway.errors import SetupError, Unauthenticated, Unavailable
from gateway.settings import Issuer

log = logging.getLogger("gateway.access")

#: After this long the keys are read anew, while those that are known go on.
FRESH_SECONDS = 600.0
#: Between two readings, whatever tokens ask for: made-up key ids shall not become requests to the provider.
BETWEEN_SECONDS = 10.0
#: How long known keys go on while the provider cannot be reached.
STALE_SECONDS = 24 * 3600.0
FETCH_SECONDS = 3.0
MAX_DOCUMENT_BYTES = 256 * 1024
MAX_KEYS = 100

_DISCOVERY = "/.well-known/openid-configuration"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
#: Public parts only: should a provider ever publish more, it is not kept.
_PARTS = ("kty", "n", "e", "crv", "x", "y")

_Jwk = Mapping[str, Any]


class KeySet:
    """The keys of one issuer; one reading at a time, whoever asks."""

    def __init__(self, issuer: Issuer, clock: Clock, *, development: bool) -> None:
        self._issuer = issuer
        self._clock = clock
        self._development = development
        self._listed: list[_Jwk] = []
        self._made: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._reading: asyncio.Task[None] | None = None
        self.check_address(issuer.jwks_url or issuer.issuer)

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key that signs with this id (None: the only one there is) and algorithm.

        Raises Unauthenticated when the provider lists none, Unavailable when it cannot be asked.
        """
        now = self._clock.monotonic()
        age = None if self._read_at is None else now - self._read_at
        if age is None or age > STALE_SECONDS:
            await self._read_if_due()
            if self._read_at is None or self._clock.monotonic() - self._read_at > STALE_SECONDS:
                raise self._away()
        elif age > FRESH_SECONDS and self._is_due():
            self._begin()
        found = self._find(kid, algorithm)
        if found is None and await self._read_if_due():
            found = self._find(kid, algorithm)
        if found is None:
            if self._failed:
                raise self._away()
            raise Unauthenticated(
                "The token is signed with a key that its issuer does not list.", hint="Sign in again for a new token."
            )
        return found

    def is_known(self, key: jwt.PyJWK) -> bool:
        """Whether a key that was found before is still listed, without asking the provider."""
        fresh = self._read_at is not None and self._clock.monotonic() - self._read_at <= FRESH_SECONDS
        return fresh and any(key is known for known in self._made.values())

    def check_address(self, url: str) -> None:
        """Raise SetupError unless keys may be read there: HTTPS, or in development this machine."""
        try:
            parts = urlsplit(url)
        except ValueError:  # no address at all, such as `https://[`
            parts = urlsplit("")
        here = parts.scheme == "http" and parts.hostname in _LOOPBACK and self._development
        if not parts.hostname or parts.username is not None or not (parts.scheme == "https" or here):
            raise SetupError(
                f"The keys of {self._issuer.issuer} cannot be read at {url[:200]}.",
                hint="Use an https:// address (http:// only for this machine, in development).",
            )

    # -- choosing ---------------------------------------------------------------------------------------------------

    def _find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        made = self._made.get((kid, algorithm))
        if made is None:
            fitting = [jwk for jwk in self._listed if _fits(jwk, kid, algorithm)]
            if not fitting or (kid is None and len(fitting) > 1):
                return None
            with suppress(jwt.PyJWTError, ValueError, TypeError):
                parts = {name: fitting[0][name] for name in _PARTS if name in fitting[0]}
                made = self._made[kid, algorithm] = jwt.PyJWK(parts, algorithm)
        return made

    # -- reading ----------------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        return self._tried_at is None or self._clock.monotonic() - self._tried_at >= BETWEEN_SECONDS

    async def _read_if_due(self) -> bool:
        """Read the keys, or wait for the reading under way; whether there was one."""
        if self._reading is None and not self._is_due():
            return False
        await asyncio.shield(self._begin())
        return True

    def _begin(self) -> asyncio.Task[None]:
        if self._reading is None:
            self._tried_at = self._clock.monotonic()
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            # Reading the certificates that are trusted takes a processor longer than a request may.
            trusted = await asyncio.to_thread(_trusted)
            async with asyncio.timeout(FETCH_SECONDS):
                document = await self._fetch(await self._address(trusted), trusted)
            keys = document.get("keys")
            if not isinstance(keys, list):
                raise ValueError("no list of keys")
            self._listed = list(_usable(keys[:MAX_KEYS]))
            self._made = {}
            self._read_at = self._clock.monotonic()
            self._failed = False
        except Exception as error:  # whatever a provider answers, those who wait are told the same
            self._failed = True
            log.warning(
                "the keys of an issuer cannot be read",
                extra={"issuer": self._issuer.issuer, "error": type(error).__name__, "reason": str(error)[:200]},
            )
        finally:
            self._reading = None

    async def _address(self, trusted: ssl.SSLContext) -> str:
        """Where the keys are: as it is set, or as the issuer's own discovery document says."""
        if self._issuer.jwks_url is not None:
            return self._issuer.jwks_url
        document = await self._fetch(self._issuer.issuer.rstrip("/") + _DISCOVERY, trusted)
        url = document.get("jwks_uri")
        if document.get("issuer") != self._issuer.issuer or not isinstance(url, str):
            raise ValueError("the discovery document is another issuer's, or names no jwks_uri")
        self.check_address(url)
        return url

    async def _fetch(self, url: str, trusted: ssl.SSLContext) -> dict[str, Any]:
        """A JSON object; never more than 256 KB, never through a redirect, never unpacked."""
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with (
            httpx2.AsyncClient(verify=trusted, timeout=FETCH_SECONDS, follow_redirects=False) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code != 200 or response.headers.get("content-encoding", "identity") != "identity":
                raise ValueError(f"answered {response.status_code}, or packed")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise ValueError("the answer is too long")
        document = orjson.loads(body)
        if not isinstance(document, dict):
            raise ValueError("the answer is no JSON object")
        return document

    def _away(self) -> Unavailable:
        wait = 0.0 if self._tried_at is None else self._tried_at + BETWEEN_SECONDS - self._clock.monotonic()
        return Unavailable(
            "The keys of the token's issuer cannot be read now.", hint="Try again.", retry_after=max(1, int(wait) + 1)
        )


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates of the system, or those that SSL_CERT_FILE names; one for all issuers."""
    return httpx2.create_ssl_context()


def _usable(keys: list[Any]) -> Iterator[_Jwk]:
    """Keys that are for signatures, as far as they say."""
    for jwk in keys:
        if isinstance(jwk, dict) and jwk.get("use", "sig") == "sig":
            operations = jwk.get("key_ops", ["verify"])
            if isinstance(operations, list) and "verify" in operations:
                yield jwk


def _fits(jwk: _Jwk, kid: str | None, algorithm: str) -> bool:
    """Whether the key is the one named, of the kind the algorithm needs: a public RSA key never is an HMAC secret."""
    own = jwk.get("alg")
    return (
        (kid is None or jwk.get("kid") == kid)
        and jwk.get("kty") == _TYPES[algorithm[:2]]
        and (algorithm not in _CURVES or jwk.get("crv") == _CURVES[algorithm])
        and (own is None or own == algorithm or (algorithm == "EdDSA" and own == "Ed25519"))
    )
