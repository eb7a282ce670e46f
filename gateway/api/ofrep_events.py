"""The event stream of OFREP: it says that flags may have changed, and the client evaluates anew.

A browser's EventSource sends no header, so that the address carries a ticket. It opens this stream alone, which by
itself says nothing of the user.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import orjson
from starlette.responses import StreamingResponse

from gateway.access.tokens import Tokens
from gateway.api.context import Context
from gateway.api.flags import decided, subject_of
from gateway.api.gathering import gathered
from gateway.api.streaming import KEEP_ALIVE_SECONDS
from gateway.errors import GatewayError
from gateway.flags import FlagChange
from gateway.live.hub import Watch

if TYPE_CHECKING:
    from gateway.api.context import Services

#: Tickets end on a full hour, one to two hours after they are made: within an hour they are the same, so that a client
#: that evaluates anew keeps its stream.
TICKET_MS = 3_600_000
#: So often it is looked whether time alone, or a merge, has changed the user's flags.
LOOK_SECONDS = 30.0

_HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}


def ticket_of(tokens: Tokens, now: int, workspace: str, user: str) -> tuple[str, int]:
    """A ticket and its end; `now` and the end are milliseconds since 1970 UTC."""
    ends = (now // TICKET_MS + 2) * TICKET_MS
    return tokens.mint_ticket(workspace, user, ends), ends


def stream(services: Services, workspace: str, user: str, ends: int) -> StreamingResponse:
    """The stream of one user's flags, until the ticket ends."""
    return StreamingResponse(
        _events(services, workspace, user, ends), headers=_HEADERS, media_type="text/event-stream; charset=utf-8"
    )


async def _events(services: Services, workspace: str, user: str, ends: int) -> AsyncIterator[bytes]:
    yield b":\n\n"  # some browsers take a stream for open only once it has said something
    news = cast("AsyncGenerator[bool, None]", _news(services, workspace, user))
    told = b""
    async with aclosing(_paced(news)) as paced:
        async for rules in paced:
            if services.clock.now() >= ends:
                return
            if rules is None:
                yield b":\n\n"
                continue
            try:
                found = await _fingerprint(services, workspace, user)
            except GatewayError:
                return  # the client comes again
            if rules or found != told:
                told = found
                data = {"type": "refetchEvaluation", "lastModified": services.clock.now() // 1000}
                yield b"event: message\ndata: " + orjson.dumps(data) + b"\n\n"


async def _news(services: Services, workspace: str, user: str) -> AsyncIterator[bool]:
    """That something happened: True when rules changed, False when the user may have. True once everything is listened
    to, as well: what changed since the client evaluated, nobody has told it."""
    watches = [Watch(workspace, kind, frozenset({user})) for kind in ("event", "journey")]
    sources: dict[str, AsyncIterator[Any]] = {watch.kind: services.hub.subscribe(watch) for watch in watches}
    sources["rules"] = services.flags.changes.listen(workspace)
    silent = set(sources)
    async for batch in gathered(sources):
        first = bool(silent)
        silent -= {name for name, _ in batch}
        if not silent:
            yield first or any(isinstance(one, FlagChange) and one.keys != frozenset() for _, one in batch)


async def _paced(news: AsyncGenerator[bool, None]) -> AsyncGenerator[bool | None, None]:
    """The news, None in a silence so that proxies do not close the stream, and False now and then so that one looks."""
    loop = asyncio.get_running_loop()
    look_at = loop.time() + LOOK_SECONDS
    coming: asyncio.Future[bool] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(news))
            await asyncio.wait((coming,), timeout=KEEP_ALIVE_SECONDS)
            if coming.done():
                try:
                    one = coming.result()
                except (StopAsyncIteration, GatewayError):
                    return
                coming = None
                yield one
            else:
                yield None
            if loop.time() >= look_at:
                look_at = loop.time() + LOOK_SECONDS
                yield False
    finally:
        while coming is not None and not coming.done():
            coming.cancel()
            await asyncio.wait((coming,), timeout=1)
        if coming is not None and not coming.cancelled():
            coming.exception()  # nobody asks for it any more
        await news.aclose()


async def _fingerprint(services: Services, workspace: str, user: str) -> bytes:
    """What the user's flags are by what the gateway knows; what a client adds to it is known when it asks."""
    context = Context.within(services, workspace)
    state = await context.load.users.load(user)
    if state is None:
        return b""
    subject = await subject_of(context, state, await context.load.identities.load(user))
    said = [(one.key, one.value, one.variant, one.error) for one in await decided(context, None, subject)]
    return orjson.dumps(said)
