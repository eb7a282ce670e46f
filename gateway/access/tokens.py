"""End-user and page tokens: JWT, HS256, signed with the installation's secret."""

from __future__ import annotations

from typing import Any

import jwt

from gateway.clock import Clock
from gateway.errors import Forbidden, Unauthenticated
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS, Scope

AUDIENCE = "journey-gateway"
ISSUER = "journey-gateway"
#: What the web page may do: read, and make up visitors. Not `pii:read`.
PAGE_PERMISSIONS = frozenset({"journeys:read", "kpis:read", "events:read", "visitors:create"})
#: How long a page may renew its token.
PAGE_HOURS = 12

# Times are judged by the gateway's clock, not by the machine's as PyJWT would.
_OPTIONS: Any = {
    "require": ["aud", "exp", "iss", "ws"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


class Tokens:
    """Mints tokens and reads them. Claims: `ws` workspace, `sub` and `idt` identity, `perm`."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def expiry(self, minutes: int) -> int:
        """When a token minted now for `minutes` ends: milliseconds, on a full second."""
        return (self._clock.now() // 1000 + minutes * 60) * 1000

    def mint_user(self, workspace: str, identity: Identity, minutes: int) -> str:
        """A token that opens one identity's own journey.

        One for an anonymousId is a visitor's: it opens only as long as that identity is not linked to a userId, which
        anybody who knows a write key can do. The API checks that at every use.
        """
        return self._mint(workspace, minutes, {"sub": identity.value, "idt": identity.type})

    def mint_page(self, workspace: str, minutes: int, *, begun: int | None = None) -> str:
        """A token for the web page: everybody's journeys, without personal data. `begun`: when its first was minted."""
        begun = self._clock.now() if begun is None else begun
        return self._mint(workspace, minutes, {"perm": sorted(PAGE_PERMISSIONS), "beg": begun})

    def renew_page(self, token: str, minutes: int) -> str:
        """Another page token for one that has not expired, up to 12 hours after the first.

        Raises Unauthenticated, or Forbidden for a token that is not a page's.
        """
        claims = self._claims(token)
        if "beg" not in claims:
            raise Forbidden("Only the token of a page can be renewed.", hint="Mint a new one with POST /v1/token.")
        if self._clock.now() - claims["beg"] > PAGE_HOURS * 3_600_000:
            raise Unauthenticated("This page has been open too long.", hint="`journey-gateway page` prints a new one.")
        return self.mint_page(claims["ws"], minutes, begun=claims["beg"])

    def read(self, token: str) -> Scope:
        """What a token opens; raises Unauthenticated when it is not ours or has expired."""
        claims = self._claims(token)
        return Scope(
            claims["ws"],
            subject=Identity(claims["idt"], claims["sub"]) if "sub" in claims else None,
            permissions=PERMISSIONS.keys() & claims.get("perm", ()),
            visitor=claims.get("idt") == "anonymousId",
        )

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS
            )
        except jwt.PyJWTError:
            raise Unauthenticated("The token is not valid.", hint="Mint one with POST /v1/token.") from None
        if claims["exp"] * 1000 <= self._clock.now():
            raise Unauthenticated("The token has expired.", hint="Mint a new one with POST /v1/token.")
        return claims

    def _mint(self, workspace: str, minutes: int, claims: dict[str, Any]) -> str:
        base = {"iss": ISSUER, "aud": AUDIENCE, "ws": workspace, "exp": self.expiry(minutes) // 1000}
        return jwt.encode(base | claims, self._secret, algorithm="HS256")
