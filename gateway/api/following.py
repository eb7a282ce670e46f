"""Following the feed for one caller, as long as its credential opens it and wherever its user moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Literal, TypeVar, cast

from gateway.api.context import Context
from gateway.api.nodes import split_id
from gateway.api.users import UserBy, identity_by, user_id_by
from gateway.errors import Denied, Forbidden, InvalidInput, Unauthenticated, Unavailable
from gateway.live.hub import News, Watch
from gateway.model.consent import Purpose
from gateway.model.identity import user_id_of

#: How often the credential is checked again, and whether the user has moved to another id. The credential is also
#: checked at the moment it expires and whenever a key has changed.
CHECK_SECONDS = 5.0
_SOONEST_SECONDS = 0.001
_RESUME = "Connect again with a new credential, and give the last `cursor` as `after`."

Users = frozenset[str] | None
T = TypeVar("T")


async def follow(
    context: Context,
    kind: Literal["journey", "event", "segment", "alert", "request"],
    user: UserBy | None,
    after: str | None,
    *,
    names: frozenset[str] | None = None,
    map_key: str | None = None,
    stage: str | None = None,
    segment: str | None = None,
    purpose: Purpose | None = None,
) -> AsyncIterator[News]:
    """News that the caller may hear, of the user that is named or of all. Raises Denied once the caller may no more:
    within a millisecond of the credential's end, within a second of its being revoked (while the process follows keys).

    When the user has moved (two became one, or one became two) the feed is joined again behind the last cursor, so
    that nothing is lost, and nothing more is told of identities that were split away. When the one user who is followed
    is erased, it ends. With a `purpose` only news are told that their users allow to be used for it.
    """
    cursor, users = after, await _users(context, user)
    while not _erased(context, users):
        watch = Watch(context.scope.workspace, kind, users, names, map_key, stage, segment)
        source = cast("AsyncGenerator[News, None]", context.services.hub.subscribe(watch, cursor))
        moved: Users = None
        async with aclosing(_with_pauses(context, source)) as stream:
            async for news in stream:
                if news is not None:
                    cursor = news.cursor
                    context.forget()
                    news = await _own(context, news, user)
                    yield news if purpose is None else await _allowed(context, news, purpose)
                elif _erased(context, users):
                    return
                elif (moved := await _checked(context, user, users)) is not None:
                    break
        if moved is None:
            return
        users = moved


async def checking(context: Context, source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """News that do not come from the feed, for as long as the caller's credential opens them. Raises Denied."""
    async with aclosing(_with_pauses(context, source)) as stream:
        async for news in stream:
            if news is None:
                await _check_credential(context)
            else:
                yield news


async def _with_pauses(context: Context, source: AsyncGenerator[T, None]) -> AsyncGenerator[T | None, None]:
    """The news, and None whenever it is time to check everything. Raises Denied when the credential has ended."""
    loop = asyncio.get_running_loop()
    check_at = loop.time() + CHECK_SECONDS
    coming: asyncio.Future[T] | None = None
    with context.services.callers.bell() as bell, context.services.privacy.suppressed.bell() as erased:
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(source))
                left = context.seconds_left()
                wait = check_at - loop.time() if left is None else min(left, check_at - loop.time())
                either: set[asyncio.Future[Any]] = {coming, bell.rung, erased.rung}
                await asyncio.wait(either, timeout=max(_SOONEST_SECONDS, wait), return_when=asyncio.FIRST_COMPLETED)
                # Before the news, which came too late for a credential that has ended.
                if bell.rung.done() or context.seconds_left() == 0:
                    bell.hang()
                    await _check_credential(context)
                if erased.rung.done():  # the same holds for who was erased
                    erased.hang()
                    yield None
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
            if coming is not None and not coming.cancelled():
                coming.exception()  # nobody asks for it any more
            await source.aclose()


def _erased(context: Context, users: Users) -> bool:
    """Whether the one user that a tool follows has been erased; a user's own token is refused instead."""
    if users is None or context.scope.subject is not None:
        return False
    return context.services.privacy.suppressed.user(users)


async def _allowed(context: Context, news: News, purpose: Purpose) -> News:
    """The news; only its cursor when what it tells may not be used for the purpose."""
    if news.row is None:
        return news
    privacy = context.services.privacy
    if news.row["kind"] == "segment":
        (allowed,) = await privacy.allowed(context.scope.workspace, [(None, news.row["user"])], purpose)
    else:
        allowed = news.event is not None and await privacy.allows(news.event, purpose)
    return news if allowed else replace(news, row=None)


async def _check_credential(context: Context) -> None:
    """Raises Denied, with the way to go on."""
    try:
        await context.check_credential()
    except Denied as ended:
        if context.services.privacy.suppressed.has(context.scope.workspace, context.scope.subject):
            raise
        raise type(ended)(ended.message, hint=f"{ended.hint} {_RESUME}".strip()) from None
    except Unavailable:
        if context.seconds_left() == 0:
            raise Unauthenticated("The credential has expired.", hint=_RESUME) from None


async def _checked(context: Context, user: UserBy | None, users: Users) -> Users:
    """The users to follow from here on if they have changed, else None."""
    await _check_credential(context)
    with suppress(Unavailable):
        await context.check_visitor()
        if users is not None:
            context.forget()
            now = await _users(context, user)
            return now if now != users else None
    return None


async def _users(context: Context, by: UserBy | None) -> Users:
    """The ids under which the user that is named, or the subject, was, is or will be; None for everybody.

    Every identity of a user may have named it before others joined: those ids are in rows that are still to be read.
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
        return await _ids(context, given, await user_id_by(context, by))
    else:
        named = identity_by(by)
        if named is None:
            raise InvalidInput(
                "`user` names nobody: what it holds is empty.",
                hint='Send an id that is not empty, such as {userId: "42"}, or leave `user` out for everybody.',
                path="user",
            )
        identity = named
    return await _ids(context, user_id_of(scope.workspace, identity), await context.load.user_ids.load(identity))


async def _ids(context: Context, named: str, user: str | None) -> frozenset[str]:
    """The id that was named, and those that every identity of the user may have given it."""
    known = [] if user is None else await context.load.identities.load(user)
    return frozenset({named, user or named, *(user_id_of(context.scope.workspace, one) for one in known)})


async def _own(context: Context, news: News, by: UserBy | None) -> News:
    """The news; only its cursor when one user is followed and what it tells has been split away from that user."""
    if news.row is None:
        return news
    users = await _users(context, by)
    if users is None:
        return news
    heard = {news.row["user"]}
    if news.event is not None:
        heard.add(await context.load.user_ids.load(news.event.identity) or news.row["user"])
    return news if heard <= users else replace(news, row=None)


async def _is_own(context: Context, by: UserBy) -> bool:
    user = await user_id_by(context, by)
    return user is not None and user == await context.subject_user()
