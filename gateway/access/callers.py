"""From an Authorization header to the Scope it opens."""

from __future__ import annotations

from gateway.access.keys import API_PREFIX, WRITE_PREFIX, KeyRing
from gateway.access.tokens import Tokens
from gateway.errors import Unauthenticated
from gateway.model.scope import Scope

_HINT = "Send `Authorization: Bearer …` with an API key (sk_…) or with a token from POST /v1/token."


class Callers:
    """Tells who is calling."""

    def __init__(self, keyring: KeyRing, tokens: Tokens) -> None:
        self._keyring = keyring
        self._tokens = tokens

    async def scope_of(self, authorization: str | None) -> Scope:
        """The scope of an `Authorization` header's value; raises Unauthenticated, or Unavailable without MongoDB."""
        scheme, _, credential = (authorization or "").strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            raise Unauthenticated("This needs a credential.", hint=_HINT)
        if credential.startswith(API_PREFIX):
            return await self._keyring.api_key(credential)
        if credential.startswith(WRITE_PREFIX):
            raise Unauthenticated("A write key only sends events.", hint=_HINT)
        return self._tokens.read(credential)
