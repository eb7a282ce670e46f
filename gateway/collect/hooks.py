"""/v1/hooks/<connector>: requests of other systems, taken by the connector that is configured under that name."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.clock import Clock
from gateway.collect.answers import REFUSED, answer, door, method_not_allowed, refusal_of
from gateway.collect.bodies import Bodies
from gateway.collect.peers import Peers
from gateway.connectors.webhooks import Webhooks
from gateway.errors import GatewayError, Unavailable
from gateway.model.event import Receipt
from gateway.pipeline.intake import Intake
from gateway.plugin import RawRequest
from gateway.settings import Settings

_METHODS = ("POST", "GET", "HEAD", "PUT")


def hook_routes(webhooks: Webhooks, intake: Intake, settings: Settings, clock: Clock) -> list[Route]:
    """One path for all webhooks. 200 only after everything a request brought is durable; a sender tries again after
    any 5xx, and what it sends twice is stored once."""
    return [door("/v1/hooks/{connector}", _Hook(webhooks, intake, settings, clock), "hooks")]


class _Hook:
    """The endpoint. GET and HEAD are for senders that first ask whether this address is ours."""

    def __init__(self, webhooks: Webhooks, intake: Intake, settings: Settings, clock: Clock) -> None:
        self._webhooks = webhooks
        self._bodies = Bodies.of_events(intake, settings)
        self._peers = Peers(settings)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(scope, receive)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        if scope["method"] not in _METHODS:
            return method_not_allowed(", ".join(_METHODS))
        headers = Headers(scope=scope)
        try:
            async with self._bodies.read(headers, receive) as body:
                request = self._request(scope, headers, body)
                taken = await self._webhooks.take(scope["path_params"]["connector"], request)
        except GatewayError as error:
            return refusal_of(error, REFUSED)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            return refusal_of(Unavailable("The gateway is stopping."))
        if isinstance(taken, Receipt):
            return answer(dict(taken.counts()))
        return Response(taken.body, taken.status, media_type=taken.content_type)

    def _request(self, scope: Scope, headers: Headers, body: bytes) -> RawRequest:
        query = scope.get("query_string", b"").decode("latin-1")
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        url = self._peers.base_url(scope, headers) + path + (f"?{query}" if query else "")
        # The first of several of one name: what a proxy adds comes behind.
        named = {name.lower(): value for name, value in reversed(headers.items())}
        return RawRequest(scope["method"], url, named, body, self._clock.now())
