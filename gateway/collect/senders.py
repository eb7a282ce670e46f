"""Who sends events: the write key, wherever an SDK puts it, and what the request says about its sender.

Every door for events asks here, so that keys, origins and rates mean the same at all of them.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.access.keys import API_PREFIX, WRITE_PREFIX, KeyRing, WriteKey
from gateway.collect.peers import Peers
from gateway.errors import Unauthenticated
from gateway.pipeline.intake import Delivery
from gateway.settings import Settings

_HINT = "Send it as the user name of HTTP Basic authentication, as `Authorization: Bearer wk_…`, or as `writeKey`."


class Senders:
    """Recognises senders by their write key."""

    def __init__(self, keyring: KeyRing, settings: Settings) -> None:
        self._keyring = keyring
        self._peers = Peers(settings)

    async def of_headers(self, headers: Headers) -> WriteKey | None:
        """The write key in the Authorization header, if one is there: to be asked before the body is parsed.

        Raises Unauthenticated for one that is not known, Forbidden when it is not for the request's origin.
        """
        given = authorization_key(headers.get("authorization"))
        if given is None and (bearer := headers.get("authorization", "").strip().partition(" ")[2].strip()):
            _check_kind(bearer)
        return None if given is None else await self.of_value(given, headers)

    async def of_value(self, value: object, headers: Headers, *, hint: str = _HINT) -> WriteKey:
        """The write key that stood in a body or an address. Raises Unauthenticated, Forbidden.

        `hint` says where one is looked for, for whoever sent none.
        """
        if not isinstance(value, str) or not value:
            raise Unauthenticated("There is no write key.", hint=hint)
        _check_kind(value)
        key = await self._keyring.write_key(value)
        key.check_origin(headers.get("origin"))
        return key

    @staticmethod
    def check_page(key: WriteKey, headers: Headers) -> None:
        """For events in an address: images come without an Origin, so the page that shows one must be listed.

        Raises Forbidden.
        """
        if key.origins and headers.get("origin") is None:
            try:
                page = urlsplit(headers.get("referer", ""))
            except ValueError:  # no address at all, such as `http://[`
                page = urlsplit("")
            key.check_origin(f"{page.scheme}://{page.netloc}")

    def delivery(
        self,
        key: WriteKey,
        messages: Sequence[Any],
        scope: Scope,
        headers: Headers,
        *,
        body: bytes | None = None,
        sent_at: int | None = None,
        raw: Callable[[int], bytes | None] | None = None,
        plain: bool = False,
    ) -> Delivery:
        """What intake takes: the messages of one request, counted against the key's rate. Raises RateLimited.

        `body` and `sent_at` tell a retry of messages without an id from a second, equal request; `raw` gives the bytes
        that a message was sent as, `plain` is what read_plain_object found of the body.
        """
        self._keyring.spend(key, len(messages))
        return Delivery(
            key.workspace,
            key.source,
            messages,
            sent_at=sent_at,
            body_digest=None if body is None else blake2b(body, digest_size=16).digest(),
            peer=self._peers.of_request(scope, headers),
            user_hash_secret=key.user_hash_secret,
            raw=raw,
            plain=plain,
        )


def _check_kind(value: str) -> None:
    if value.startswith(API_PREFIX):
        raise Unauthenticated(
            "This is an API key; events are sent with a write key (wk_…).",
            hint="`journey-gateway keys create write` makes one. Keep the API key out of what others can read.",
        )


def authorization_key(authorization: str | None) -> str | None:
    """The write key of an Authorization header: a Basic user name, or a Bearer credential that looks like one."""
    scheme, _, credential = (authorization or "").strip().partition(" ")
    credential = credential.strip()
    if scheme.lower() == "bearer":
        return credential if credential.startswith(WRITE_PREFIX) else None
    return basic_key(authorization)


def basic_key(authorization: str | None) -> str | None:
    """The user name of HTTP Basic authentication, with or without the colon behind it; None when there is none."""
    scheme, _, encoded = (authorization or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user = b64decode(encoded.strip()).decode()
    except (binascii.Error, ValueError):
        return None
    return user.split(":", 1)[0] or None


def query_value(scope: Scope, name: str = "writeKey") -> str | None:
    """A value of the address's query, the first of this name."""
    found = parse_qs(scope["query_string"].decode("latin-1")).get(name)
    return None if found is None else found[0]
