"""End-user and page tokens: JWT, HS256, signed with the installation's secret."""

from __future__ import annotations

from typing import Any

import jwt

from gateway.clock import Clock
from gateway.errors import Unauthenticated
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS, Scope

AUDIENCE = "journey-gateway"
ISSUER = "journey-gateway"
#: What the web page may do: read, and make up visitors. Not `pii:read`.
PAGE_PERMISSIONS = frozenset({"journeys:read", "kpis:read", "events:read", "visitors:create"})

# Times are judged by the gateway's clock, not by the machine's as PyJWT would.
_OPTIONS: Any = {
    "require": ["aud", "exp", "iss", "ws"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


class Tokens:
    """Mints tokens and reads them. Claims: `ws` workspace, `sub` and `idt` identity, `vis` visitor, `perm`."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def expiry(self, minutes: int) -> int:
        """When a token minted now for `minutes` ends: milliseconds, on a full second."""
        return (self._clock.now() // 1000 + minutes * 60) * 1000

    def mint_user(self, workspace: str, identity: Identity, minutes: int, visitor: bool = False) -> str:
        """A token that opens one identity's own journey.

        `visitor`: only as long as that identity is not linked to a userId; the API checks that at every use.
        """
        return self._mint(workspace, minutes, {"sub": identity.value, "idt": identity.type, "vis": visitor})

    def mint_page(self, workspace: str, minutes: int) -> str:
        """A token for the web page: everybody's journeys, without personal data."""
        return self._mint(workspace, minutes, {"perm": sorted(PAGE_PERMISSIONS)})

    def read(self, token: str) -> Scope:
        """What a token opens; raises Unauthenticated when it is not ours or has expired."""
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS
            )
        except jwt.PyJWTError:
            raise Unauthenticated("The token is not valid.", hint="Mint one with POST /v1/token.") from None
        if claims["exp"] * 1000 <= self._clock.now():
            raise Unauthenticated("The token has expired.", hint="Mint a new one with POST /v1/token.")
        return Scope(
            claims["ws"],
            subject=Identity(claims["idt"], claims["sub"]) if "sub" in claims else None,
            permissions=PERMISSIONS.keys() & claims.get("perm", ()),
            visitor=claims.get("vis", False),
        )

    def _mint(self, workspace: str, minutes: int, claims: dict[str, Any]) -> str:
        base = {"iss": ISSUER, "aud": AUDIENCE, "ws": workspace, "exp": self.expiry(minutes) // 1000}
        return jwt.encode(base | claims, self._secret, algorithm="HS256")
