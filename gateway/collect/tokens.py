"""POST /v1/token: tokens for browsers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope as AsgiScope

from gateway.access.callers import Callers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.collect.answers import Post, answer
from gateway.collect.bodies import Bodies, read_object
from gateway.collect.segment import basic_key
from gateway.errors import Forbidden, InvalidInput, Unauthenticated
from gateway.model.event import JsonObject
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.pipeline.messages import MAX_ID_CHARS
from gateway.settings import Settings
from gateway.store.identities import Identities

MAX_BODY_BYTES = 16_384
_SURROGATE = re.compile("[\ud800-\udfff]")


def token_routes(
    keyring: KeyRing, callers: Callers, tokens: Tokens, identities: Identities, settings: Settings
) -> list[Route]:
    """POST /v1/token, answering `{"token", "expiresAt"}`. By body and credential:

    `{"userId"}` or `{"anonymousId"}` with an API key that has `tokens:mint`: a token for that identity.
    `{"anonymousId"}` with a write key (Basic) or with a token that has `visitors:create`: a visitor's token, only
    while that anonymousId is linked to no userId. `{"code"}` alone: a page token, once per code. `{"renew": true}`
    with a page token: the next one, up to 12 hours after the first.
    """
    door = _Door(keyring, callers, tokens, identities, settings.token_minutes)
    return [Route("/v1/token", Post(Bodies(MAX_BODY_BYTES), door), name="token")]


@dataclass(frozen=True, slots=True)
class _Door:
    keyring: KeyRing
    callers: Callers
    tokens: Tokens
    identities: Identities
    minutes: int

    async def __call__(self, scope: AsgiScope, headers: Headers, body: bytes) -> Response:
        content = read_object(body)
        expires = self.tokens.expiry(self.minutes)
        if content == {"renew": True}:
            return _reply(self._renewed(headers.get("authorization")), expires)
        key, value = _asked(content)
        if key == "code":
            token = self.tokens.mint_page(await self.keyring.take_page_code(value), self.minutes)
        else:
            identity = Identity("userId" if key == "userId" else "anonymousId", value)
            token = await self._user_token(identity, headers.get("authorization"))
        return _reply(token, expires)

    def _renewed(self, authorization: str | None) -> str:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Renewing needs the page's token.", hint="Send `Authorization: Bearer …`.")
        return self.tokens.renew_page(token.strip(), self.minutes)

    async def _user_token(self, identity: Identity, authorization: str | None) -> str:
        if identity.blocked:
            raise InvalidInput(f"{identity.type} {identity.value!r} names nobody in particular.")
        caller = await self._caller(authorization)
        if caller.may("tokens:mint"):
            return self.tokens.mint_user(caller.workspace, identity, self.minutes)
        if not caller.may("visitors:create"):
            raise Forbidden("This credential mints no tokens.", hint="Use an API key with `tokens:mint`.")
        if identity.type == "userId" or await self._is_known(identity, caller):
            raise Forbidden(
                "Only anonymousIds that are linked to nobody are open to visitors.",
                hint="Mint tokens of known users on your server, with an API key that has `tokens:mint`.",
            )
        return self.tokens.mint_user(caller.workspace, identity, self.minutes)

    async def _caller(self, authorization: str | None) -> Scope:
        """A write key may do here what a page token may: make up visitors."""
        write_key = basic_key(authorization)
        if write_key is None:
            return await self.callers.scope_of(authorization)
        source = await self.keyring.write_key(write_key)
        return Scope(source.workspace, permissions=frozenset({"visitors:create"}))

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
    asked = [(key, content[key]) for key in ("userId", "anonymousId", "code") if content.get(key) is not None]
    if len(asked) != 1 or not _is_id(asked[0][1]):
        raise InvalidInput(
            "The body must name one `userId`, one `anonymousId` or one `code`.", hint='Send {"userId": "…"}.'
        )
    return asked[0]


def _is_id(value: object) -> bool:
    """Whether it is text that an event could carry as an id; lone surrogates cannot be stored."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS and not _SURROGATE.search(value)
