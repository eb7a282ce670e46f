"""Tokens of OpenID Connect providers: whose they are, and what they open.

The configuration decides which algorithms, keys, audiences and permissions count; nothing in a token does. Whatever a
header says of keys (`jku`, `jwk`, `x5u`, `x5c`) is not looked at.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite
from typing import Any

import jwt
import orjson

from gateway.access.grant import Grant
from gateway.access.jwks import KeySet
from gateway.clock import Clock
from gateway.errors import SetupError, Unauthenticated
from gateway.model.identity import MAX_ID_CHARS, SURROGATE, Identity
from gateway.model.scope import PERMISSIONS, Scope
from gateway.settings import Issuer

#: What a token that opens one user may be given besides: nothing that shows other users.
SUBJECT_PERMISSIONS = frozenset({"kpis:read"})
REMEMBERED_TOKENS = 10_000

#: Of tokens that are not for this: a logout token has the same issuer, audience and subject.
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_LATEST = 253_402_300_799  # the last second of the year 9999
_JWS = jwt.PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})
_HINT = "Sign in again for a new token."


@dataclass(frozen=True, slots=True)
class Parts:
    """What a token says before anything of it is proven."""

    header: dict[str, Any]
    claims: dict[str, Any]

    @classmethod
    def of(cls, token: str) -> Parts | None:
        """The parts of a signed token; None for what is none."""
        segments = token.split(".")
        if len(segments) != 3:
            return None
        try:
            header, claims = (orjson.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in segments[:2])
        except ValueError:
            return None
        return cls(header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None


class Issuers:
    """Every issuer that is configured, by its name."""

    def __init__(self, issuers: Iterable[Issuer], clock: Clock, *, development: bool = False) -> None:
        self._doors: dict[str, _Door] = {}
        for issuer in issuers:
            if issuer.issuer in self._doors:
                raise SetupError(
                    f"The issuer {issuer.issuer} is configured twice.", hint="An issuer belongs to one workspace."
                )
            self._doors[issuer.issuer] = _Door(issuer, clock, development=development)

    def __contains__(self, issuer: object) -> bool:
        return isinstance(issuer, str) and issuer in self._doors

    async def grant(self, token: str, parts: Parts) -> Grant:
        """What a token of a known issuer opens. Raises Unauthenticated, or Unavailable without the issuer's keys."""
        return await self._doors[parts.claims["iss"]].grant(token, parts.header)


class _Door:
    """One issuer's tokens."""

    def __init__(self, issuer: Issuer, clock: Clock, *, development: bool) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys = KeySet(issuer, clock, development=development)
        self._permissions = _permissions(issuer)
        # A subscription asks every few seconds; a signature is checked once for as long as its key is listed.
        self._remembered: OrderedDict[bytes, tuple[jwt.PyJWK, Grant]] = OrderedDict()

    async def grant(self, token: str, header: dict[str, Any]) -> Grant:
        digest = sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and self._keys.is_known(known[0]):
            self._remembered.move_to_end(digest)
            return self._in_time(known[1])
        algorithm = self._algorithm(header)
        kid = header.get("kid")
        if not isinstance(kid, str | None):
            raise _invalid("names its key by something else than a text")
        key = await self._keys.key(kid, algorithm)
        try:
            payload = _JWS.decode(token, key, algorithms=[algorithm])
            claims = orjson.loads(payload)
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _invalid("is not signed by the issuer it names") from None
        grant = self._in_time(self._granted(claims))
        self._remembered[digest] = key, grant
        if len(self._remembered) > REMEMBERED_TOKENS:
            self._remembered.popitem(last=False)
        return grant

    def _algorithm(self, header: dict[str, Any]) -> str:
        algorithm, kind = header.get("alg"), header.get("typ", "JWT")
        if algorithm not in self._issuer.algorithms:
            raise _invalid(f"is not signed with {' or '.join(self._issuer.algorithms)}")
        if "crit" in header or "b64" in header:
            raise _invalid("asks for extensions that are not known here")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise _invalid("is of another kind than an access or id token")
        return str(algorithm)

    def _granted(self, claims: dict[str, Any]) -> Grant:
        issuer = self._issuer
        if claims.get("iss") != issuer.issuer:
            raise _invalid("is another issuer's")
        audience = claims.get("aud")
        if not set(_texts(audience)) & set(issuer.audience):
            raise Unauthenticated(
                "The token is for another audience.", hint=f"Ask the issuer for one for {issuer.audience[0]!r}."
            )
        now, leeway = self._clock.now() / 1000, issuer.leeway_seconds
        for name in ("nbf", "iat"):
            if name in claims and _seconds(name, claims[name]) > now + leeway:
                raise Unauthenticated(f"The token is not valid yet (`{name}`).", hint="Check the issuer's clock.")
        end = min(_seconds("exp", claims.get("exp")), _LATEST) + leeway
        return Grant(
            Scope(
                issuer.workspace,
                subject=self._subject(claims),
                permissions=self._granted_permissions(claims),
                visitor=issuer.subject == "anonymousId",
            ),
            expires_at=int(end * 1000),
        )

    def _in_time(self, grant: Grant) -> Grant:
        if grant.expires_at is not None and grant.expires_at <= self._clock.now():
            raise Unauthenticated("The token has expired.", hint=_HINT)
        return grant

    def _subject(self, claims: dict[str, Any]) -> Identity | None:
        """The one identity that the token opens; None for people who work with the whole workspace."""
        kind, name = self._issuer.subject, self._issuer.subject_claim
        if kind == "none":
            return None
        value = claims.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARS or SURROGATE.search(value):
            raise _invalid(f"has no `{name[:80]}` of 1 to {MAX_ID_CHARS} characters")
        identity = Identity(kind, value)
        if identity.blocked:
            raise _invalid(f"has a `{name[:80]}` that names nobody in particular")
        return identity

    def _granted_permissions(self, claims: dict[str, Any]) -> frozenset[str]:
        path = self._issuer.permissions_claim
        if path is None:
            return self._permissions
        return self._permissions.intersection(_texts(_claim(claims, path), split=True))


def _permissions(issuer: Issuer) -> frozenset[str]:
    """What tokens of the issuer may be given at most. Raises SetupError."""
    wanted = frozenset(issuer.permissions)
    unknown = wanted - PERMISSIONS.keys()
    if unknown:
        raise SetupError(
            f"The issuer {issuer.issuer}: there is no permission {', '.join(sorted(unknown))}.",
            hint=f"Use some of: {', '.join(PERMISSIONS)}.",
        )
    if issuer.subject != "none" and wanted - SUBJECT_PERMISSIONS:
        raise SetupError(
            f"The issuer {issuer.issuer}: a token that opens one user can be given"
            f" {', '.join(sorted(SUBJECT_PERMISSIONS))} and nothing else.",
            hint='Set subject = "none" for people who work with the whole workspace.',
        )
    return wanted


def _claim(claims: dict[str, Any], path: str) -> object:
    """The claim of this name, else the one that names with dots lead to, such as `realm_access.roles`."""
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _texts(value: object, *, split: bool = False) -> list[str]:
    """A text as a list of one (or of its words), a list's texts."""
    if isinstance(value, str):
        return value.split() if split else [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise _invalid(f"has no `{name}` that is a time")
    return value


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(f"The token {why}.", hint=_HINT)
