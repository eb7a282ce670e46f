"""POST /v1/token: tokens for browsers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope as AsgiScope

from gateway.access.callers import Callers
from gateway.access.grant import Grant
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.collect.answers import Post, answer
from gateway.collect.bodies import Bodies, read_object
from gateway.collect.senders import authorization_key
from gateway.errors import Forbidden, InvalidInput, Unauthenticated
from gateway.model.event import JsonObject
from gateway.model.identity import MAX_ID_CHARS, SURROGATE, Identity
from gateway.model.scope import Scope
from gateway.privacy.suppressed import Suppressed
from gateway.settings import Settings
from gateway.store.identities import Identities

MAX_BODY_BYTES = 16_384

_KEYS = ("userId", "anonymousId", "code")
_FORM = 'Send {"userId": "…"}, with "minutes" if it shall open for less than the longest time.'


def token_routes(
    keyring: KeyRing,
    callers: Callers,
    tokens: Tokens,
    identities: Identities,
    suppressed: Suppressed,
    settings: Settings,
) -> list[Route]:
    """POST /v1/token, answering `{"token", "expiresAt"}`. By body and credential:

    `{"userId"}` or `{"anonymousId"}` with an API key that has `tokens:mint`: a token for that identity.
    `{"anonymousId"}` with a write key (Basic or Bearer) or with a token that has `visitors:create`: a visitor's
    token, only while that anonymousId is linked to no userId. `minutes` beside them: how long it opens, at most the
    setting. `{"code"}` alone: a page token, once per code. `{"renew": true}` with a page token: the next one, up to
    12 hours after the first. Nobody gets a token for who was erased.
    """
    door = _Door(keyring, callers, tokens, identities, suppressed, settings.token_minutes)
    return [Route("/v1/token", Post(Bodies(MAX_BODY_BYTES), door), name="token")]


@dataclass(frozen=True, slots=True)
class _Door:
    keyring: KeyRing
    callers: Callers
    tokens: Tokens
    identities: Identities
    suppressed: Suppressed
    minutes: int

    async def __call__(self, scope: AsgiScope, headers: Headers, body: bytes) -> Response:
        content = read_object(body, _FORM)
        if content == {"renew": True}:
            return _reply(self._renewed(headers.get("authorization")), self.tokens.expiry(self.minutes))
        key, value = _asked(content)
        if key == "code":
            token = self.tokens.mint_page(await self.keyring.take_page_code(value), self.minutes)
            return _reply(token, self.tokens.expiry(self.minutes))
        identity = Identity("userId" if key == "userId" else "anonymousId", value)
        return await self._user_token(identity, _minutes(content, self.minutes), headers)

    def _renewed(self, authorization: str | None) -> str:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Renewing needs the page's token.", hint="Send `Authorization: Bearer …`.")
        return self.tokens.renew_page(token.strip(), self.minutes)

    async def _user_token(self, identity: Identity, minutes: int, headers: Headers) -> Response:
        if identity.blocked:
            raise InvalidInput(f"{identity.type} {identity.value!r} names nobody in particular.")
        caller = await self._caller(headers)
        scope = caller.scope
        if not scope.may("tokens:mint"):
            await self._check_visitor(identity, scope)
        if self.suppressed.has(scope.workspace, identity):
            raise Forbidden(
                "This user's data was erased; no token is minted for them.",
                hint="`liftSuppression` takes them as a new user, if they ask for it.",
            )
        # No token opens longer than the credential it was minted by.
        token = self.tokens.mint_user(scope.workspace, identity, minutes, by=caller.key, at_latest=caller.expires_at)
        return _reply(token, self.tokens.expiry(minutes, caller.expires_at))

    async def _check_visitor(self, identity: Identity, scope: Scope) -> None:
        """Raise Forbidden unless the caller may mint a visitor's token for this identity.

        For a userId the answer is the same whether there is such a user or not, and nothing is looked up.
        """
        if not scope.may("visitors:create"):
            raise Forbidden("This credential mints no tokens.", hint="Use an API key with `tokens:mint`.")
        if identity.type == "userId" or await self._is_known(identity, scope):
            raise Forbidden(
                "Only anonymousIds that are linked to nobody are open to visitors.",
                hint="Mint tokens of known users on your server, with an API key that has `tokens:mint`.",
            )

    async def _caller(self, headers: Headers) -> Grant:
        """A write key may do here what a page token may, at its origins and its rate: make up visitors."""
        authorization = headers.get("authorization")
        value = authorization_key(authorization)
        if value is None:
            return await self.callers.grant_of(authorization)
        key = await self.keyring.write_key(value)
        key.check_origin(headers.get("origin"))
        self.keyring.spend(key, 1)
        return Grant(Scope(key.workspace, permissions=frozenset({"visitors:create"})), key.expires_at, key.id)

    async def _is_known(self, identity: Identity, caller: Scope) -> bool:
        user = await self.identities.user_of(caller, identity)
        if user is None:
            return False
        found = await self.identities.of_users(caller, [user])
        return any(other.type == "userId" for other in found[user])


def _reply(token: str, expires: int) -> Response:
    return answer({"token": token, "expiresAt": datetime.fromtimestamp(expires / 1000, UTC).isoformat()})


def _asked(content: JsonObject) -> tuple[str, str]:
    """Which of the three kinds of token, and for what."""
    unknown = [key for key in content if key not in (*_KEYS, "minutes", "renew")]
    if unknown:
        raise InvalidInput(f"`{unknown[0][:40]}` means nothing here.", hint=_FORM)
    asked = [key for key in _KEYS if content.get(key) is not None]
    if len(asked) != 1:
        raise InvalidInput("The body must name one `userId`, one `anonymousId` or one `code`.", hint=_FORM)
    (key,) = asked
    value = content[key]
    if isinstance(value, int | float) and not isinstance(value, bool):
        shown = f': "{value}"' if isinstance(value, int) and abs(value) < 10**15 else ""
        raise InvalidInput(f"`{key}` is a number.", hint=f"Send the id as a text{shown}, as your events have it.")
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"`{key}` must be a text that is not empty.", hint=_FORM)
    if len(value) > MAX_ID_CHARS:
        raise InvalidInput(
            f"`{key}` has {len(value):,} characters; ids may have {MAX_ID_CHARS}.",
            hint="No event is stored under a longer one either.",
        )
    if SURROGATE.search(value):
        raise InvalidInput(f"`{key}` holds half of a character (a lone surrogate), which cannot be stored.")
    return key, value


def _minutes(content: JsonObject, longest: int) -> int:
    """How long the token shall open."""
    asked = content.get("minutes")
    if asked is None:
        return longest
    if not isinstance(asked, int) or isinstance(asked, bool) or not 1 <= asked <= longest:
        raise InvalidInput(
            f"`minutes` must be a whole number from 1 to {longest}.",
            hint="The operator sets the most: GATEWAY_TOKEN_MINUTES.",
        )
    return asked
