"""What RudderStack's SDKs ask for beyond Segment's calls: source configuration, beacon and pixel."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from gateway.access.keys import KeyRing
from gateway.collect.answers import PIXEL, REFUSED, Get, Post, answer, door
from gateway.collect.bodies import Bodies
from gateway.collect.segment import Call
from gateway.collect.senders import Senders, query_value
from gateway.errors import InvalidInput
from gateway.model.event import EventType, JsonObject
from gateway.pipeline.intake import Intake
from gateway.settings import Settings

MAX_PIXEL_FIELDS = 256
_MAX_PIXEL_DEPTH = 8


def rudderstack_routes(intake: Intake, keyring: KeyRing, settings: Settings) -> list[Route]:
    """GET /sourceConfig, POST /beacon/v1/batch, GET /pixel/v1/track and /pixel/v1/page; all with `?writeKey=`."""
    senders = Senders(keyring, settings)
    beacon = Post(Bodies.of_events(intake, settings), Call(intake, senders, None), refused=REFUSED)
    return [
        door("/sourceConfig", Get(_SourceConfig(senders)), "rudderstack.source_config"),
        door("/beacon/v1/batch", beacon, "rudderstack.beacon"),
        *(
            door(f"/pixel/v1/{kind}", Get(_Pixel(intake, senders, kind)), f"rudderstack.pixel.{kind}")
            for kind in (EventType.TRACK, EventType.PAGE)
        ),
    ]


class _SourceConfig:
    """The source that a write key belongs to, without destinations: events go to the gateway alone."""

    def __init__(self, senders: Senders) -> None:
        self._senders = senders

    async def __call__(self, scope: Scope, headers: Headers) -> Response:
        key = await self._senders.of_headers(headers)
        if key is None:
            key = await self._senders.of_value(query_value(scope), headers)
        off = {"enabled": False}
        return answer(
            {
                "source": {
                    "id": key.source,
                    "name": key.source,
                    "writeKey": query_value(scope),
                    "enabled": True,
                    "workspaceId": "",
                    "updatedAt": "1970-01-01T00:00:00.000Z",
                    "sourceDefinition": {"name": key.source},
                    # The SDKs would send errors and metrics of their own to their maker's hosts.
                    "config": {"statsCollection": {"errors": off, "metrics": off}},
                    "destinations": [],
                    "dataplanes": {},
                },
                "updatedAt": "1970-01-01T00:00:00.000Z",
                "isHosted": False,
            }
        )


class _Pixel:
    """An event in an image's address: what is behind the question mark, with dots between the keys of objects."""

    def __init__(self, intake: Intake, senders: Senders, kind: EventType) -> None:
        self._intake = intake
        self._senders = senders
        self._kind = kind

    async def __call__(self, scope: Scope, headers: Headers) -> Response:
        key = await self._senders.of_headers(headers)
        if key is None:
            key = await self._senders.of_value(query_value(scope), headers)
        if scope["method"] == "GET":
            self._senders.check_page(key, headers)
            message = {"channel": "web", **_message(scope["query_string"]), "type": self._kind.value}
            await self._intake.ingest(self._senders.delivery(key, [message], scope, headers))
        # Without this a browser would show the image again and ask nobody.
        return Response(PIXEL, media_type="image/gif", headers={"Cache-Control": "no-store"})


def _message(query: bytes) -> JsonObject:
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PIXEL_FIELDS)
    except ValueError:
        raise InvalidInput(f"A pixel may have {MAX_PIXEL_FIELDS} fields.", hint="Send more by POST.") from None
    message: JsonObject = {}
    for name, value in fields:
        *path, last = name.split(".", _MAX_PIXEL_DEPTH)
        place = message
        for key in path:
            inner = place.setdefault(key, {})
            if not isinstance(inner, dict):
                raise InvalidInput(f"`{key}` is both a value and an object in this address.")
            place = inner
        if name != "writeKey":
            place[last] = value
    return message
