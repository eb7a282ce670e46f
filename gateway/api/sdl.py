"""The schema as text at /schema.graphql: what code generators read."""

from __future__ import annotations

from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access.callers import Callers
from gateway.api.answers import refusal
from gateway.api.served import ServedSchema
from gateway.errors import GatewayError
from gateway.settings import Settings


def sdl_route(callers: Callers, settings: Settings, schema: ServedSchema) -> Route:
    """GET /schema.graphql: open in development; in production for any good credential, as introspection is."""

    async def sdl(request: Request) -> Response:
        if settings.env == "production":
            try:
                await callers.grant_of(request.headers.get("authorization"))
            except GatewayError as error:
                return refusal(error)
        text = await schema.sdl()
        tag = f'"{sha256(text.encode()).hexdigest()[:32]}"'
        headers = {
            "etag": tag,
            # Kept, but asked about each time: another release or contract shows at once.
            "cache-control": "private, no-cache",
            "vary": "Authorization",
            "x-content-type-options": "nosniff",
        }
        if tag in (one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        return Response(text, headers=headers, media_type="text/plain; charset=utf-8")

    return Route("/schema.graphql", sdl, name="schema")
