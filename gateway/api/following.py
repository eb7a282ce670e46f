"""Following the feed for one caller, as long as its credential opens it and wherever its user moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Literal, cast

from gateway.api.context import Context
from gateway.api.nodes import split_id
from gateway.api.users import UserBy, identity_by, user_id_by
from gateway.errors import Forbidden, Unavailable
from gateway.live.hub import News, Watch
from gateway.model.identity import user_id_of

#: How often the credential is checked again, and whether the user has moved to another id.
CHECK_SECONDS = 5.0

Users = frozenset[str] | None


async def follow(
    context: Context,
    kind: Literal["journey", "event"],
    user: UserBy | None,
    after: str | None,
    *,
    names: frozenset[str] | None = None,
    map_key: str | None = None,
    stage: str | None = None,
) -> AsyncIterator[News]:
    """News that the caller may hear, of the user that is named or of all. Raises Denied once the caller may no more.

    When the user has moved (two became one) the feed is joined again behind the last cursor, so that nothing is lost.
    """
    cursor, users = after, await _users(context, user)
    while True:
        watch = Watch(context.scope.workspace, kind, users, names, map_key, stage)
        source = cast("AsyncGenerator[News, None]", context.services.hub.subscribe(watch, cursor))
        moved: Users = None
        async with aclosing(_with_pauses(source)) as stream:
            async for news in stream:
                if news is not None:
                    cursor = news.cursor
                    context.forget()
                    yield news
                elif (moved := await _checked(context, user, users)) is not None:
                    break
        if moved is None:
            return
        users = moved


async def _with_pauses(source: AsyncGenerator[News, None]) -> AsyncGenerator[News | None, None]:
    """The news, and None whenever it is time to check."""
    loop = asyncio.get_running_loop()
    check_at = loop.time() + CHECK_SECONDS
    coming: asyncio.Future[News] | None = None
    try:
        while True:
            if coming is None:
                coming = asyncio.ensure_future(anext(source))
            await asyncio.wait({coming}, timeout=max(0.0, check_at - loop.time()))
            if coming.done():
                try:
                    news = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                yield news
            if loop.time() >= check_at:
                yield None
                check_at = loop.time() + CHECK_SECONDS
    finally:
        # More than once: a driver in the middle of a read may swallow it and go on.
        while coming is not None and not coming.done():
            coming.cancel()
            await asyncio.wait({coming}, timeout=1)
        await source.aclose()


async def _checked(context: Context, user: UserBy | None, users: Users) -> Users:
    """The users to follow from here on if they have changed, else None."""
    with suppress(Unavailable):
        await context.check()
        if users is not None:
            context.forget()
            now = await _users(context, user)
            return users | now if now is not None and not now <= users else None
    return None


async def _users(context: Context, by: UserBy | None) -> Users:
    """The ids under which the user that is named, or the subject, is or will be; None for everybody.

    The id a user gets with the first event is known before, so that a subscription may come before it.
    """
    scope = context.scope
    if scope.subject is not None:
        if by is not None and not (identity_by(by) == scope.subject or await _is_own(context, by)):
            raise Forbidden("This token opens one user only.", hint="Leave `user` out.")
        identity = scope.subject
    elif by is None:
        return None
    elif by.id:
        given = split_id(by.id, "user")[1]
        return frozenset({given, await user_id_by(context, by) or given})
    else:
        identity = identity_by(by) or scope.subject  # type: ignore[assignment]
    known = await context.load.user_ids.load(identity)
    return frozenset({user_id_of(scope.workspace, identity), known or user_id_of(scope.workspace, identity)})


async def _is_own(context: Context, by: UserBy) -> bool:
    user = await user_id_by(context, by)
    return user is not None and user == await context.subject_user()
