"""From an Authorization header to what it opens. The same value is taken from a WebSocket's connection_init."""

from __future__ import annotations

from contextlib import AbstractContextManager

from gateway.access.grant import Bell, Grant
from gateway.access.issuers import Issuers, Parts
from gateway.access.keys import API_PREFIX, WRITE_PREFIX, KeyRing
from gateway.access.tokens import ISSUER, Tokens
from gateway.errors import Unauthenticated
from gateway.model.scope import Scope

#: Longer tokens are refused unread: those of providers have some 1,000 characters, 4,000 with many claims.
MAX_TOKEN_CHARS = 8_192

_HINT = "Send `Authorization: Bearer …` with an API key (sk_…) or with a token from POST /v1/token."
_LONGEST_SHOWN = 100


class Callers:
    """Tells who is calling."""

    def __init__(self, keyring: KeyRing, tokens: Tokens, issuers: Issuers | None = None) -> None:
        self._keyring = keyring
        self._tokens = tokens
        self._issuers = issuers

    async def scope_of(self, authorization: str | None) -> Scope:
        """The scope of an `Authorization` header's value; raises Unauthenticated, or Unavailable without MongoDB."""
        return (await self.grant_of(authorization)).scope

    async def grant_of(self, authorization: str | None) -> Grant:
        """The same, with its end. Raises Unavailable too when an issuer's keys cannot be read."""
        scheme, _, credential = (authorization or "").strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise Unauthenticated("This needs a credential.", hint=_HINT)
        if len(credential) > MAX_TOKEN_CHARS:
            raise Unauthenticated(f"The credential has more than {MAX_TOKEN_CHARS:,} characters.", hint=_HINT)
        if not credential.isascii():
            raise Unauthenticated("The credential holds characters that no credential has.", hint=_HINT)
        if credential.startswith(API_PREFIX):
            return await self._keyring.api_grant(credential)
        if credential.startswith(WRITE_PREFIX):
            raise Unauthenticated("A write key only sends events.", hint=_HINT)
        return await self._token(credential)

    def bell(self) -> AbstractContextManager[Bell]:
        """A bell that rings when a grant may have ended before its time."""
        return self._keyring.bell()

    async def _token(self, token: str) -> Grant:
        parts = Parts.of(token)
        issuer = None if parts is None else parts.claims.get("iss")
        if parts is not None and issuer != ISSUER and isinstance(issuer, str):
            if self._issuers is None or issuer not in self._issuers:
                raise Unauthenticated(
                    f"The token's issuer {issuer[:_LONGEST_SHOWN]!r} is not known here.",
                    hint="The operator names it in GATEWAY_ISSUERS, exactly as it stands in the token's `iss`.",
                )
            return await self._issuers.grant(token, parts)
        grant = self._tokens.grant(token)
        if grant.key is not None:
            await self._keyring.check_minter(grant.scope.workspace, grant.key)
        return grant
