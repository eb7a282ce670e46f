"""Transactions: snapshot reads, majority writes, bounded retries. The same for both drivers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

import pymongo
from bson.timestamp import Timestamp
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from gateway.clock import random_between
from gateway.store.driver_errors import TransactionInterrupted, translated
from gateway.store.shapes import Session

T = TypeVar("T")

TRANSACTION_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.5
MAJORITY = WriteConcern("majority", j=True, wtimeout=5000)


class Transactions(ABC):
    """The part of `Database` that runs transactions."""

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """One attempt at a transaction (snapshot reads, majority writes): committed on a clean exit, else aborted.

        Raises Unavailable on a conflict or an election. Prefer `with_transaction`, which tries again.
        """
        return self._attempt(_now() + TRANSACTION_SECONDS)

    @asynccontextmanager
    async def lasting_session(self) -> AsyncIterator[Session]:
        """A session for transactions one after the other, by whose id others can end what its process left open."""
        with translated:
            session = await self._start_session()
        try:
            yield session
        finally:
            with translated:
                await session.end_session()

    @asynccontextmanager
    async def reading_after(self, at: Timestamp | None) -> AsyncIterator[Session | None]:
        """A session whose reads wait until the server's majority view has come to `at`; None: reads do not wait.

        A majority read alone may step back in time: a primary just elected answers it with what it knows to be
        committed, which may be less than its predecessor answered. Reads need a `max_time_ms`, or they wait on.
        """
        if at is None:
            yield None
            return
        with translated:
            session = await self._start_session()
        try:
            session.advance_operation_time(at)
            yield session
        finally:
            await session.end_session()

    async def with_transaction(self, work: Callable[[Session], Awaitable[T]], *, session: Session | None = None) -> T:
        """Run `work` in a transaction and return its answer; `work` may run several times, so it must start afresh.

        Without a lasting `session` each attempt has one of its own.
        Raises Unavailable when conflicts, an election or an unknown commit outlast 10 s.
        """
        deadline = _now() + TRANSACTION_SECONDS
        pause = FIRST_PAUSE_SECONDS
        with pymongo.timeout(TRANSACTION_SECONDS):
            while True:
                try:
                    async with self._attempt(deadline, session) as attempt:
                        return await work(attempt)
                except TransactionInterrupted as interrupted:
                    # A commit of unknown outcome must not be followed by a second run of the work.
                    if interrupted.commit_unknown or _now() + pause >= deadline:
                        raise
                await asyncio.sleep(random_between(0, int(pause * 1000)) / 1000)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @asynccontextmanager
    async def _attempt(self, deadline: float, lasting: Any = None) -> AsyncIterator[Session]:
        session = lasting
        if session is None:
            with translated:
                session = await self._start_session()
        try:
            with translated:
                await self._begin(session, read_concern=ReadConcern("snapshot"), write_concern=MAJORITY)
            try:
                yield session
            except BaseException:
                # The caller's deadline may be over: the abort is sent all the same, or its locks would stay for 60 s.
                with suppress(PyMongoError), pymongo.timeout(None):
                    await session.abort_transaction()
                raise
            await _commit(session, deadline)
        finally:
            if lasting is None:
                await session.end_session()

    @abstractmethod
    async def _start_session(self) -> Any: ...

    @abstractmethod
    async def _begin(self, session: Any, *, read_concern: ReadConcern, write_concern: WriteConcern) -> None: ...


async def _commit(session: Any, deadline: float) -> None:
    while True:
        try:
            with translated:
                await session.commit_transaction()
            return
        except TransactionInterrupted as interrupted:
            # Committing again is safe and tells the outcome.
            if not interrupted.commit_unknown or _now() >= deadline:
                raise
        await asyncio.sleep(FIRST_PAUSE_SECONDS)


def _now() -> float:
    return asyncio.get_running_loop().time()
