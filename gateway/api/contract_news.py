"""What can be watched of the contract: versions as they come to count, and data requests as they come on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import strawberry

from gateway.api.context import Context, Info
from gateway.api.contract_changes import READ, ContractVersion
from gateway.api.data_requests import DataRequest
from gateway.api.following import checking, follow
from gateway.api.subscriptions import Change, Resume
from gateway.errors import InvalidInput
from gateway.live.hub import News
from gateway.plugin import Source, field, subscription
from gateway.store.contracts import Version
from gateway.store.requests import request_id

_VERSIONS = Source.many("contracts", "_id")
_FEED = Source.many("feed", "workspace, kind")
_CURSOR = re.compile(r"contract\.([0-9]{1,15})", re.ASCII)
_PAGE = 100


@strawberry.type(description="Another version of the contract counts, here and now: the schema is its own.")
class ContractChange(Change):
    """A new version. Versions have numbers without gaps, so that none is ever missed."""

    head: strawberry.Private[Version | None]

    @field(source=_VERSIONS, policy=READ, description="The version; null in the first message, which tells of none.")
    def version(self) -> ContractVersion | None:
        return None if self.head is None else ContractVersion(head=self.head)


@strawberry.type(description="A data request was filed, or came to another status.")
class DataRequestChange(Change):
    """A step of a data request."""

    @field(
        source=Source.one("requests", "feed.key"),
        policy=READ,
        description="The request as it is now; steps that follow each other at once may be told as one.",
    )
    async def request(self, info: Info) -> DataRequest | None:
        key = self.told("key")
        if key is None:
            return None
        scope = info.context.scope
        found = await info.context.services.collaboration.requests.stored.get(scope, request_id(scope.workspace, key))
        return None if found is None else DataRequest(row=found)


@strawberry.type(description="What can be watched of the contract.")
class Agreed:
    """Subscriptions to the contract; a part of the root."""

    @subscription(
        source=_VERSIONS,
        policy=READ,
        description="Each version of the contract, once it counts in this process: applied by command, by proposal or "
        "at a start. Ask for its new types right away.",
    )
    async def contract_changed(self, info: Info, after: Resume = None) -> AsyncIterator[ContractChange]:
        context = info.context
        async with aclosing(checking(context, _versions(context, after))) as versions:
            async for change in versions:
                context.position.cursor = change.news.cursor
                yield change

    @subscription(
        source=_FEED,
        policy=READ,
        description="Each step of a data request: requested, agreed, shipped, verified by itself, or refused.",
    )
    async def data_request_changed(self, info: Info, after: Resume = None) -> AsyncIterator[DataRequestChange]:
        async for news in follow(info.context, "request", None, after):
            info.context.position.cursor = news.cursor
            yield DataRequestChange(news=news)


async def _versions(context: Context, after: str | None) -> AsyncGenerator[ContractChange, None]:
    """Versions behind a cursor, or behind the one of now; the first message is the position itself."""
    contracts, stored = context.services.contracts, context.services.collaboration.history.versions
    number = contracts.version.number if after is None else _number(after)
    changed = asyncio.Event()
    with contracts.listening(changed.set):
        yield ContractChange(news=News(_cursor(number)), head=None)
        while True:
            changed.clear()
            # Not before it counts here: whoever hears of a version may ask for what it brought.
            heads = await stored.heads_after(number, upto=contracts.version.number, limit=_PAGE)
            for head in heads:
                number = head.number
                yield ContractChange(news=News(_cursor(number)), head=head)
            if not heads:
                await changed.wait()


def _cursor(number: int) -> str:
    return f"contract.{number}"


def _number(cursor: str) -> int:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidInput(
            "This is no cursor of contractChanged.", hint="Give `cursor` of one of its messages.", path="after"
        )
    return int(found[1])
