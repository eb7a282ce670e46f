"""Calls from web pages of other origins, as browsers ask for them before they make them (CORS).

The gateway knows no cookies: whoever calls brings a credential along, so any header may be sent. SDKs add headers of
their own in every other version, and a page's monitoring adds some to every request; a fixed list would break them.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
#: What scripts of other origins may read of an answer.
EXPOSED = ("ETag", "Retry-After", "X-Request-ID")
#: Browsers keep the permission for a day; most of them for two hours at most.
_KEPT_SECONDS = 86_400


class Cors(CORSMiddleware):
    """Lets pages of these origins in; `*` lets all in."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=EXPOSED,
            max_age=_KEPT_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether it may call."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        message = (
            "Pages of this origin may not call the gateway in this way. GATEWAY_CORS_ORIGINS lists those that may."
        )
        return JSONResponse({"code": "FORBIDDEN", "message": message}, 403, kept)
