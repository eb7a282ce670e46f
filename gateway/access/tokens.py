"""End-user and page tokens: JWT, HS256, signed with the installation's secret."""

from __future__ import annotations

from typing import Any

import jwt

from gateway.access.grant import Grant
from gateway.clock import Clock
from gateway.errors import Forbidden, Unauthenticated
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS, Scope

AUDIENCE = "journey-gateway"
ISSUER = "journey-gateway"
#: Of tickets, which stand in addresses and open nothing but the news that flags may have changed.
TICKET_AUDIENCE = "journey-gateway/flag-events"
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
    """Mints tokens and reads them.

    Claims: `ws` workspace, `sub` and `idt` identity, `perm`, `by` the id of the key that minted the token, which
    opens no longer than that key does.
    """

    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def expiry(self, minutes: int, at_latest: int | None = None) -> int:
        """When a token minted now for `minutes` ends: milliseconds, on a full second."""
        end = (self._clock.now() // 1000 + minutes * 60) * 1000
        return end if at_latest is None else min(end, at_latest // 1000 * 1000)

    def mint_user(
        self,
        workspace: str,
        identity: Identity,
        minutes: int,
        *,
        by: str | None = None,
        at_latest: int | None = None,
    ) -> str:
        """A token that opens one identity's own journey, for `minutes` and until `at_latest` (milliseconds).

        `by` is the id of the key that mints it. A token for an anonymousId is a visitor's: it opens only as long as
        that identity is not linked to a userId, which anybody who knows a write key can do. The API checks that at
        every use.
        """
        claims: dict[str, Any] = {"sub": identity.value, "idt": identity.type}
        if by is not None:
            claims["by"] = by
        return self._mint(workspace, self.expiry(minutes, at_latest), claims)

    def mint_page(self, workspace: str, minutes: int, *, begun: int | None = None) -> str:
        """A token for the web page: everybody's journeys, without personal data. `begun`: when its first was minted."""
        begun = self._clock.now() if begun is None else begun
        return self._mint(workspace, self.expiry(minutes), {"perm": sorted(PAGE_PERMISSIONS), "beg": begun})

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

    def mint_ticket(self, workspace: str, user: str, expires_at: int) -> str:
        """A ticket for the event stream of one user's flags, until `expires_at` (milliseconds). It is for addresses,
        which end up in logs: `user` is the gateway's own id, and the stream says nothing of the user."""
        claims = {"iss": ISSUER, "aud": TICKET_AUDIENCE, "ws": workspace, "usr": user, "exp": expires_at // 1000}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def ticket(self, ticket: str) -> tuple[str, str, int]:
        """Workspace, user and end (milliseconds) of a ticket. Raises Unauthenticated."""
        claims = self._claims(ticket, TICKET_AUDIENCE)
        return claims["ws"], str(claims.get("usr")), claims["exp"] * 1000

    def read(self, token: str) -> Scope:
        """What a token opens; raises Unauthenticated when it is not ours or has expired."""
        return self.grant(token).scope

    def grant(self, token: str) -> Grant:
        """The same, with its end and the id of the key that minted it, which is for the caller to check."""
        claims = self._claims(token)
        scope = Scope(
            claims["ws"],
            subject=Identity(claims["idt"], claims["sub"]) if "sub" in claims else None,
            permissions=frozenset(PERMISSIONS).intersection(claims.get("perm", ())),
            visitor=claims.get("idt") == "anonymousId",
        )
        return Grant(scope, claims["exp"] * 1000, claims.get("by"))

    def _claims(self, token: str, audience: str = AUDIENCE) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=["HS256"], audience=audience, issuer=ISSUER, options=_OPTIONS
            )
        except jwt.PyJWTError:
            raise Unauthenticated("The token is not valid.", hint="Mint one with POST /v1/token.") from None
        if claims["exp"] * 1000 <= self._clock.now():
            raise Unauthenticated("The token has expired.", hint="Mint a new one with POST /v1/token.")
        return claims

    def _mint(self, workspace: str, expires_at: int, claims: dict[str, Any]) -> str:
        base = {"iss": ISSUER, "aud": AUDIENCE, "ws": workspace, "exp": expires_at // 1000}
        return jwt.encode(base | claims, self._secret, algorithm="HS256")
