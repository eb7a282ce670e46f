"""Flags as they change: rules that providers hear of, and, for one user, what their traits and journey make of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, cast

import strawberry

from gateway.api.context import Context, Info
from gateway.api.flags import Flag, Keys, checked_keys, decided, subject_behind
from gateway.api.following import checking, follow
from gateway.api.gathering import gathered
from gateway.api.journeys import JOURNEYS
from gateway.api.subscriptions import Change, Resume
from gateway.api.users import UserBy, identity_by, user_id_by
from gateway.errors import NotFound
from gateway.flags import Decision, FlagChange, Subject, unknown_subject
from gateway.live.hub import Gap, News
from gateway.model.identity import Identity
from gateway.plugin import Source, field, subscription

_FLAGS = Source.loader("flags")


@strawberry.type(
    name="FlagChange",
    description="Flags changed: their rules, or what they are for the user who is watched. Unlike other cursors, this "
    "one is of one process of the gateway; where it cannot go on, the gap says so.",
)
class FlagNews(Change):
    """A message of `flagChanged`."""

    keys_changed: strawberry.Private[frozenset[str] | None]
    decisions: strawberry.Private[Sequence[Decision] | None]

    @field(
        source=_FLAGS,
        policy=JOURNEYS,
        description="Keys of flags whose rules changed; empty in the first message and when only the user changed, "
        "null when the provider does not say which: any may have.",
        size=5,
    )
    def keys(self) -> list[strawberry.ID] | None:
        return None if self.keys_changed is None else [strawberry.ID(key) for key in sorted(self.keys_changed)]

    @field(
        source=_FLAGS,
        policy=JOURNEYS,
        description="For the user who is watched: in the first message all flags that are asked for, then those that "
        "are otherwise than in the message before. Null when no single user is watched: ask for `flags` then.",
        size=20,
    )
    def flags(self) -> list[Flag] | None:
        return None if self.decisions is None else [Flag(decision=one) for one in self.decisions]


@strawberry.type(description="What can be watched of flags.")
class Flagging:
    """Subscriptions to flags."""

    @subscription(
        source=_FLAGS,
        policy=JOURNEYS,
        description="Each time flags change. With a user's own token, or `user`, the flags of that user, as rules, "
        "traits and journey change them; otherwise only which rules changed. A message comes once this "
        "process decides by it.",
    )
    async def flag_changed(
        self,
        info: Info,
        keys: Keys = None,
        user: Annotated[UserBy | None, strawberry.argument(description="The flags of this user.")] = None,
        after: Resume = None,
    ) -> AsyncIterator[FlagNews]:
        wanted, context = checked_keys(keys), info.context
        watched = context.scope.subject is not None or user is not None
        source = _for_user(context, wanted, user, after) if watched else _rules(context, wanted, after)
        async with aclosing(source):
            async for news in source:
                context.position.cursor = news.news.cursor
                yield news


async def _rules(context: Context, keys: list[str] | None, after: str | None) -> AsyncGenerator[FlagNews, None]:
    """Which rules change, for callers who watch nobody in particular."""
    wanted = None if keys is None else frozenset(keys)
    async for change in checking(context, _listening(context, after)):
        touched = change.keys if wanted is None or change.keys is None else change.keys & wanted
        if touched is None or touched or not change.keys:
            yield FlagNews(news=_news(change), keys_changed=touched, decisions=None)


async def _for_user(
    context: Context, keys: list[str] | None, user: UserBy | None, after: str | None
) -> AsyncGenerator[FlagNews, None]:
    """The flags of one user, whenever they are otherwise than told before. The first message tells them all, so that
    nothing is missing whatever `after` was."""
    told: dict[str, Decision] | None = None
    cursor, changed = "", frozenset[str]()
    sources = {
        "rules": _listening(context, None if after is None else after),
        "event": follow(context, "event", user, None),
        "journey": follow(context, "journey", user, None),
    }
    begun: set[str] = set()
    async for batch in gathered(sources):
        unsure = False
        for name, news in batch:
            begun.add(name)
            if isinstance(news, FlagChange):
                cursor, unsure = news.cursor, unsure or news.keys is None
                changed |= news.keys or frozenset()
        if len(begun) < len(sources):
            continue  # so that nothing falls between the first decision and what is heard later
        context.forget()
        now = {one.key: one for one in await decided(context, keys, await _subject(context, user))}
        news_of = [one for key, one in now.items() if told is None or not _alike(told.get(key), one)]
        news_of += [_gone(one) for key, one in (told or {}).items() if key not in now]
        if news_of or told is None:
            kept = None if unsure else changed if keys is None else changed & frozenset(keys)
            yield FlagNews(news=News(cursor), keys_changed=kept, decisions=news_of)
        told, changed = now, frozenset()


async def _subject(context: Context, by: UserBy | None) -> Subject:
    """The user who is watched, as of now. Raises NotFound for an id that never was one."""
    identity = context.scope.subject if by is None else identity_by(by)
    if identity is not None:
        return await subject_behind(context, identity, await context.load.user_ids.load(identity))
    assert by is not None
    user = await user_id_by(context, by)
    if user is None:
        raise NotFound("There is no such user.", hint="Name one by userId or anonymousId to watch before they come.")
    known: Sequence[Identity] = await context.load.identities.load(user)
    return await subject_behind(context, known[0], user) if known else unknown_subject(user, [], {})


def _alike(one: Decision | None, other: Decision) -> bool:
    return one is not None and (one.value, one.variant, one.error) == (other.value, other.variant, other.error)


def _gone(decision: Decision) -> Decision:
    because = "The flag is there no longer."
    return Decision(decision.key, None, None, type(decision.reason).ERROR, because, "FLAG_NOT_FOUND")


def _news(change: FlagChange) -> News:
    lost = change.lost
    return News(change.cursor, None if lost is None else Gap(lost.reason, lost.missed, change.cursor))


def _listening(context: Context, after: str | None) -> AsyncGenerator[FlagChange, None]:
    found = context.services.flags.changes.listen(context.scope.workspace, after)
    return cast("AsyncGenerator[FlagChange, None]", found)
