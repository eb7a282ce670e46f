"""KPIs as they change: told at most four times a second, worked out by the code that answers queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Annotated, cast

import strawberry

from gateway.api.context import Context, Info
from gateway.api.following import checking
from gateway.api.kpis import Kpi
from gateway.api.ranges import KPIS
from gateway.api.subscriptions import Change, Resume
from gateway.contract import Contract, StageMetric, rules_of
from gateway.contract import Kpi as KpiFile
from gateway.contract.shape import closest
from gateway.errors import InvalidInput
from gateway.insights.kpis.evaluating import any_event
from gateway.live.hub import Gap, News, Watch
from gateway.plugin import Source, subscription
from gateway.plugin import field as declared

MOST_KEYS = 30
#: Messages are at least so far apart.
PAUSE_SECONDS = 0.25
#: Time alone changes KPIs, too: ranges move on, who was open can be judged.
AGAIN_SECONDS = 60.0

_NEWS = Source.many("feed", "workspace, kind")


@strawberry.type(description="KPIs may have another value now: something came that they count, or a minute has passed.")
class KpiChange(Change):
    """A message of `kpiUpdated`."""

    files: strawberry.Private[tuple[KpiFile, ...]]

    @declared(
        source=Source.contract("kpis", "*"),
        policy=KPIS,
        description="Those KPIs; `result` is worked out as of now. In the first message all that are asked for; "
        "null in one that tells of a gap alone.",
        size=5,
    )
    def kpis(self) -> list[Kpi] | None:
        return [Kpi(file=one) for one in self.files] or None


@strawberry.type(description="What can be watched of KPIs.")
class Measuring:
    """Subscriptions to KPIs."""

    @subscription(
        source=_NEWS,
        policy=KPIS,
        description="Each time KPIs may have changed, at most four times a second; what comes in between is told "
        "together. `after` tells what may have changed since.",
    )
    async def kpi_updated(
        self,
        info: Info,
        keys: Annotated[list[strawberry.ID], strawberry.argument(description=f"Keys of KPIs, 1 to {MOST_KEYS}.")],
        after: Resume = None,
    ) -> AsyncIterator[KpiChange]:
        context = info.context
        wanted = checked_kpis(context.services.contract, keys)
        async with aclosing(_updates(context, wanted, after)) as updates:
            async for change in updates:
                context.position.cursor = change.news.cursor
                yield change


def checked_kpis(contract: Contract, keys: list[strawberry.ID]) -> tuple[str, ...]:
    """Keys that there are, each once. Raises InvalidInput with what was probably meant."""
    if not 1 <= len(keys) <= MOST_KEYS:
        raise InvalidInput(f"`keys` names {len(keys)} KPIs; 1 to {MOST_KEYS} are possible.", path="keys")
    for key in keys:
        if key not in contract.kpis:
            meant = closest(key, sorted(contract.kpis))
            hint = f"Did you mean {meant!r}?" if meant else f"Known: {', '.join(sorted(contract.kpis))}."
            raise InvalidInput(f"There is no KPI {str(key)[:60]!r}.", hint=hint, path="keys")
    return tuple(dict.fromkeys(map(str, keys)))


@dataclass(slots=True)
class _Coming:
    """What has come since the last message."""

    touched: set[str] = field(default_factory=set)
    cursor: str = ""
    gap: Gap | None = None
    awake: asyncio.Event = field(default_factory=asyncio.Event)


async def _updates(context: Context, keys: tuple[str, ...], after: str | None) -> AsyncGenerator[KpiChange, None]:
    services, coming = context.services, _Coming()
    # Whoever may read KPIs hears of everybody's events, whether the credential opens one user or all.
    watch = Watch(context.scope.workspace, "event")
    source = cast("AsyncGenerator[News, None]", services.hub.subscribe(watch, after))
    reader = asyncio.create_task(_read(context, checking(context, source), keys, coming))
    loop = asyncio.get_running_loop()
    coming.touched, first = set(keys), True
    try:
        while True:
            await _until(coming, reader, AGAIN_SECONDS)
            if reader.done() and not coming.awake.is_set():
                reader.result()
                return
            if not coming.awake.is_set():
                coming.touched = set(keys)
            coming.awake.clear()
            if coming.touched or coming.gap is not None or first:
                told, gap = coming.touched, coming.gap
                coming.touched, coming.gap, first = set(), None, False
                began = loop.time()
                context.forget()
                known = services.contract.kpis
                files = tuple(known[key] for key in keys if key in told and key in known)
                yield KpiChange(news=News(coming.cursor, gap), files=files)
                # What it takes to work the values out counts: whoever is slow is told less often.
                await asyncio.sleep(max(0.0, PAUSE_SECONDS - (loop.time() - began)))
    finally:
        reader.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reader


async def _until(coming: _Coming, reader: asyncio.Task[None], seconds: float) -> None:
    """Until something has come, the source has ended, or so much time has passed."""
    waiting = asyncio.ensure_future(coming.awake.wait())
    try:
        await asyncio.wait([waiting, reader], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _read(context: Context, source: AsyncGenerator[News, None], keys: tuple[str, ...], coming: _Coming) -> None:
    contract: Contract | None = None
    names: dict[str, frozenset[str] | None] = {}
    async with aclosing(source) as stream:
        async for news in stream:
            coming.cursor = news.cursor
            if news.gap is not None:
                coming.gap, coming.touched = news.gap, set(keys)
            if contract is not context.services.contract:
                # Another definition is news as well.
                if contract is not None:
                    coming.touched |= set(keys)
                contract = context.services.contract
                names = {key: _names(contract, contract.kpis[key]) for key in keys if key in contract.kpis}
            if news.row is not None:
                told = news.row["name"]
                coming.touched |= {key for key, some in names.items() if some is None or told in some}
            coming.awake.set()


def _names(contract: Contract, kpi: KpiFile) -> frozenset[str] | None:
    """Names of the events that can change a KPI; None: any."""
    function = kpi.function
    if isinstance(function, StageMetric):
        journey = contract.journeys.get(function.map)
        return frozenset() if journey is None else None
    return None if any_event(function) else frozenset(rule.event for rule in rules_of(function))
