"""Which user an identity is, for millions of rows at once: sorted arrays, kept up to date by a change stream.

Parts know identities as sent, so that merges and splits rewrite nothing. Suppressed identities are nobody's; so are
those without a row, whose events are not derived yet or being erased.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gateway.clock import Clock
from gateway.errors import GatewayError, Unavailable
from gateway.insights.columnar.parts import who_of
from gateway.store.columnar_users import IdentityKeys, Moved, moved
from gateway.store.database import Database, HistoryLost, Timestamp
from gateway.store.suppressions import Suppressions

log = logging.getLogger("gateway.columnar")

Whos: TypeAlias = npt.NDArray[np.uint64]
Codes: TypeAlias = npt.NDArray[np.int32]

NOBODY = -1
#: Without a question for so long, nothing is followed or remembered any more.
_IDLE_SECONDS = 600.0
_WAIT_SECONDS = 10.0
_LOAD_SECONDS = 300.0
_AGAIN_SECONDS = 0.5
#: While nobody waits, what changed is looked at only so often: enough that a question has little to catch up with.
_REST_SECONDS = 5.0


_TABLES = count(1)


def _no_whos() -> Whos:
    return np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Users:
    """The users of a workspace at one moment. `who` [n], rising, are identities, `code` [n] their users: places in
    `high` and `low` [m], the two halves of a user's id. `moves` is the same as long as nobody who was there has another
    user, or is hidden, or no more: those who are new change nothing that was said of the others."""

    who: Whos = field(default_factory=_no_whos)
    code: Codes = field(default_factory=lambda: np.empty(0, np.int32))
    high: Whos = field(default_factory=_no_whos)
    low: Whos = field(default_factory=_no_whos)
    moves: int = 0

    def of(self, who: Whos) -> Codes:
        """The user of each identity; NOBODY where there is none."""
        if not len(self.who):
            return np.full(len(who), NOBODY, np.int32)
        # Rows come in runs of one identity: each run is looked up once.
        begins = np.flatnonzero(np.concatenate(([True], who[1:] != who[:-1]))) if len(who) else np.empty(0, np.int64)
        heads = who[begins]
        place = np.minimum(np.searchsorted(self.who, heads), len(self.who) - 1)
        found = np.where(self.who[place] == heads, self.code[place], NOBODY).astype(np.int32)
        return np.repeat(found, np.diff(np.append(begins, len(who))))

    def ids(self, codes: Sequence[int] | Codes) -> list[str]:
        """The ids of these users, 32 hexadecimal digits each."""
        places = np.asarray(codes, np.int64)
        pairs = zip(self.high[places].tolist(), self.low[places].tolist(), strict=True)
        return [f"{high:016x}{low:016x}" for high, low in pairs]

    def places(self, ids: Sequence[str]) -> Codes:
        """The code of each of these users; NOBODY for those that are not known."""
        high = np.array([int(one[:16], 16) for one in ids], np.uint64)
        if not len(self.high) or not len(high):
            return np.full(len(ids), NOBODY, np.int32)
        place = np.minimum(np.searchsorted(self.high, high), len(self.high) - 1)
        found: Codes = np.where(self.high[place] == high, place, NOBODY).astype(np.int32)
        return found

    def codes(self, ids: Collection[str]) -> Codes:
        """The codes of these users, those that are known."""
        found = self.places(list(ids))
        known: Codes = found[found != NOBODY]
        return known

    def __len__(self) -> int:
        return len(self.high)


@dataclass(slots=True)
class _Table:
    """All identities, whether suppressed or not, and the snapshot that was made of them."""

    who: Whos
    high: Whos
    low: Whos
    news: dict[int, str | None] = field(default_factory=dict)
    hidden: Whos = field(default_factory=_no_whos)
    number: int = 0
    #: No two tables of a process have the same.
    moves: int = field(default_factory=lambda: next(_TABLES) << 40)
    made: Users | None = None

    def apply(self, change: Moved) -> None:
        who = who_of(change.key)
        known = who in self.news or self._has(who)
        if change.new or change.user is None or known:
            self.news[who] = change.user  # updates of other workspaces are none of ours
            self.made = None
            self.moves += known

    def _has(self, who: int) -> bool:
        key = np.uint64(who)
        place = int(np.searchsorted(self.who, key))
        return place < len(self.who) and bool(self.who[place] == key)

    def take_in(self) -> None:
        """Make arrays of what came since; new ones, for whoever reads the old ones goes on with them."""
        if not self.news:
            return
        changed = np.fromiter(self.news, np.uint64, len(self.news))
        kept = ~np.isin(self.who, changed)
        there = [(who, user) for who, user in self.news.items() if user is not None]
        who, high, low = _arrays(there)
        whole = np.concatenate((self.who[kept], who))
        order = np.argsort(whole, kind="stable")
        self.high = np.concatenate((self.high[kept], high))[order]
        self.low = np.concatenate((self.low[kept], low))[order]
        self.who = whole[order]
        self.news.clear()

    def snapshot(self) -> Users:
        if self.made is None:
            self.take_in()
            shown = ~np.isin(self.who, self.hidden) if len(self.hidden) else np.ones(len(self.who), bool)
            high, first, code = np.unique(self.high[shown], return_index=True, return_inverse=True)
            self.made = Users(self.who[shown], code.astype(np.int32), high, self.low[shown][first], self.moves)
        return self.made


def _arrays(pairs: Sequence[tuple[int, str]]) -> tuple[Whos, Whos, Whos]:
    who = np.fromiter((one for one, _ in pairs), np.uint64, len(pairs))
    high = np.fromiter((int(user[:16], 16) for _, user in pairs), np.uint64, len(pairs))
    low = np.fromiter((int(user[16:32], 16) for _, user in pairs), np.uint64, len(pairs))
    return who, high, low


def _before(at: Timestamp) -> Timestamp:
    return Timestamp(at.time, at.inc - 1) if at.inc else at


class _Followed:
    """The table of one workspace, and the task that follows what changes of it."""

    def __init__(self, database: Database, workspace: str, clock: Clock) -> None:
        self._keys = IdentityKeys(database, workspace)
        self._suppressions = Suppressions(database)
        self._clock = clock
        self._table: _Table | None = None
        self._reached: Timestamp | None = None
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._asked = 0.0
        self._waiting = 0
        self._called = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stopping = False

    async def now(self) -> Users:
        """Everybody, as of no earlier than this call. Raises Unavailable."""
        self._asked = self._clock.monotonic()
        wanted = await self._keys.now()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        self._waiting += 1
        self._called.set()
        try:
            async with asyncio.timeout(_WAIT_SECONDS if self._table is not None else _LOAD_SECONDS), self._moved:
                await self._moved.wait_for(lambda: self._reached is not None and self._reached >= wanted)
        except TimeoutError:
            raise Unavailable("Who is whose cannot be followed now.", hint="Ask again in a moment.") from None
        finally:
            self._waiting -= 1
        async with self._turn:
            await self._look_at_suppressed()
            assert self._table is not None
            return await asyncio.to_thread(self._table.snapshot)

    async def stop(self) -> None:
        # Not by cancelling: a driver in the middle of a read may swallow that and go on.
        self._stopping = True
        self._called.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_at_suppressed(self) -> None:
        table = self._table
        assert table is not None
        number = await self._suppressions.number()
        if number != table.number:
            keys = await self._keys.suppressed()
            table.hidden = np.fromiter(map(who_of, keys), np.uint64, len(keys))
            table.number, table.made, table.moves = number, None, table.moves + 1

    async def _follow(self) -> None:
        while self._wanted():
            try:
                if self._table is None:
                    since = await self._keys.settled()
                    self._table = await self._load()
                    self._reached = since
                await self._follow_from(self._reached)
            except HistoryLost:
                self._table = self._reached = None
            except Exception as error:
                code = error.code if isinstance(error, GatewayError) else type(error).__name__
                log.warning("identities are followed anew", extra={"reason": code})
                await asyncio.sleep(_AGAIN_SECONDS)
        self._table = self._reached = None

    def _wanted(self) -> bool:
        return not self._stopping and self._clock.monotonic() - self._asked < _IDLE_SECONDS

    async def _load(self) -> _Table:
        arrays: list[tuple[Whos, Whos, Whos]] = [_arrays(())]
        async for page in self._keys.all():
            arrays.append(_arrays([(who_of(key), user) for key, user in page]))
            await asyncio.sleep(0)
        who, high, low = (np.concatenate(column) for column in zip(*arrays, strict=True))
        return _Table(who, high, low)  # in the order of keys, which is that of `who`

    async def _follow_from(self, since: Timestamp | None) -> None:
        assert since is not None
        async with self._keys.changes(since) as stream:
            while self._wanted():
                self._called.clear()
                # Read before the stream is asked: if it has nothing then, we have come so far.
                position = await self._keys.settled()
                changes = await stream.next_batch(1_000)
                assert self._table is not None
                async with self._turn:
                    for change in changes:
                        self._table.apply(moved(change))
                async with self._moved:
                    # More of that very time may follow.
                    self._reached = _before(changes[-1]["clusterTime"]) if changes else position
                    self._moved.notify_all()
                if not changes:
                    await self._rest()

    async def _rest(self) -> None:
        """Until somebody asks, or it is time to catch up. Who asks meanwhile is not kept waiting."""
        await asyncio.sleep(0)  # those who have what they waited for go first
        if not self._waiting:
            with suppress(TimeoutError):
                async with asyncio.timeout(_REST_SECONDS):
                    await self._called.wait()


class Directory:
    """Who is whose, by workspace; a workspace costs nothing until somebody asks."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._followed: dict[str, _Followed] = {}

    async def users(self, workspace: str) -> Users:
        """All users of a workspace, as of now. Raises Unavailable."""
        if workspace not in self._followed:
            self._followed[workspace] = _Followed(self._database, workspace, self._clock)
        return await self._followed[workspace].now()

    async def close(self) -> None:
        for followed in self._followed.values():
            await followed.stop()
