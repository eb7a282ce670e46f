"""Loss accounting: sent = accepted + duplicate + conflict + quarantined + refused, for every source and hour.

Nothing that was acknowledged is missing in the sums, whatever kills a process. Before the first event of a source is
acknowledged its row is durably open, and `accepted` is written to it within a second: of a row that stayed open
because its process died, the stored events are counted instead (store/accounting.py). So it is with a row in which the
outcome of anything is unknown: it is never closed, another takes its place within a minute, and the events are counted
once nobody writes it any more. All other verdicts are durable in the sums before they are answered. What the sums can
hold too many of is what was stored or judged and never answered: its sender comes again, and is counted again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from gateway.clock import Clock, random_id
from gateway.errors import GatewayError, Unavailable
from gateway.store.accounting import HOUR_MS, STALE_MS, Accounting, Totals

log = logging.getLogger("gateway.pipeline")

WRITE_SECONDS = 1.0
#: How long nothing must come from a source until its row is closed.
_IDLE_MS = 5_000
#: A row not written for so long may be taken for one of a dead process soon.
_FRESH_MS = STALE_MS // 2


class _Page:
    """The totals of one source and hour, and what is under way for them."""

    def __init__(self, totals: Totals, began: int) -> None:
        self.totals = totals
        self.began = began
        self.unsure = False  # something may be stored that nobody has counted
        self.under_way = 0
        self.used_at = 0
        self.written_at = 0  # 0: never, or its outcome is unknown
        self.confirmed = 0  # what is durable of `totals.opened`
        self.changed = False

    def open(self, now: int) -> bool:
        """Whether the row is durably open and will not be taken for one of a dead process."""
        return self.confirmed > self.totals.closed and self.written_at > now - _FRESH_MS

    @property
    def to_close(self) -> bool:
        return not self.unsure and self.totals.opened > self.totals.closed

    def may_close(self, now: int) -> bool:
        return self.to_close and not self.under_way and now - self.used_at >= _IDLE_MS

    def over(self, now: int) -> bool:
        """Whether it is to be left to those who count the events."""
        return self.unsure and now - self.began >= STALE_MS


class Accounts:
    """Counts receipts; one per process. Without a store it counts in memory alone."""

    def __init__(self, store: Accounting | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._pages: dict[tuple[str, str, int], _Page] = {}
        self._left: list[_Page] = []  # unsure ones whose place another has taken
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.run = _new_run()

    @contextmanager
    def page(self, workspace: str, source: str, received_at: int) -> Iterator[_Page]:
        """Where a delivery of this source at this time (ms) is counted: `opened` before `count`.

        Its events carry the page's run. What ends with an error may be stored all the same.
        """
        page = self._page(workspace, source, received_at - received_at % HOUR_MS)
        page.under_way += 1
        page.used_at = max(page.used_at, received_at)
        try:
            yield page
        except BaseException:
            page.unsure = True
            raise
        finally:
            page.under_way -= 1

    def is_open(self, page: _Page) -> bool:
        """Whether `opened` would return at once."""
        return self._store is None or page.open(self._clock.now())

    async def opened(self, page: _Page) -> None:
        """Return when the row is durably open; almost always at once. Raises Unavailable."""
        if self.is_open(page):
            return
        page.totals.opened += 1
        page.changed = True
        await self._written()

    async def count(self, page: _Page, counts: Mapping[str, int]) -> None:
        """Add counts. Raises Unavailable when they are not known to be safe: then nothing may be answered."""
        for name, number in counts.items():
            page.totals.counts[name] += number
        if self._store is None:
            return
        page.changed = True
        if not page.open(self._clock.now()):  # a process that stood still for long
            page.totals.opened += 1
            await self._written()
        elif any(number for name, number in counts.items() if name != "accepted"):
            await self._written()
        self._write_later()

    async def drain(self) -> None:
        """Write everything and close the rows, as far as MongoDB answers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for page in self._all():
            page.used_at = 0
        if self._store is not None and self._pages:
            with suppress(GatewayError):
                await self._written()

    def _page(self, workspace: str, source: str, hour: int) -> _Page:
        key, now = (workspace, source, hour), self._clock.now()
        found = self._pages.get(key)
        if found is None or found.over(now):
            run = self.run
            if found is not None:
                self._left += [found] if self._store is not None else []
                run = _new_run()  # the events of the page before are counted by its own
            found = self._pages[key] = _Page(Totals(bytes.fromhex(random_id()), run, workspace, source, hour), now)
        return found

    def _all(self) -> list[_Page]:
        return [*self._pages.values(), *self._left]

    # -- writing ------------------------------------------------------------------------------------------------

    async def _written(self) -> None:
        """Return when a write that began after this call has been confirmed; who waits meanwhile shares the next."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(written)
        self._write_now()
        await written

    def _write_now(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.now()
        if any(page.changed or page.may_close(now) for page in self._all()):
            self._write_now()
        self._pages = {key: page for key, page in self._pages.items() if not _over(key[2], page, now)}
        self._left = [page for page in self._left if page.under_way or page.changed or not page.written_at]
        if any(page.changed or page.to_close for page in self._all()):
            self._write_later()

    async def _write(self) -> None:
        try:
            await self._write_once()
            while self._waiting:
                await self._write_once()
        finally:
            # In the same breath as finding nothing left: who comes next must start a writing of its own.
            self._writing = None

    async def _write_once(self) -> None:
        now, waiting = self._clock.now(), self._waiting
        self._waiting = []
        pages = [page for page in self._all() if page.changed or page.may_close(now)]
        for page in pages:
            page.changed = False
            if page.may_close(now):
                page.totals.closed = page.totals.opened
        opened = [page.totals.opened for page in pages]
        error = await self._attempt([page.totals for page in pages], now)
        for page, number in zip(pages, opened, strict=True):
            if error is None:
                page.written_at, page.confirmed = now, number
            else:
                page.written_at, page.changed = 0, True
        for waiter in waiting:
            with suppress(asyncio.InvalidStateError):
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)

    async def _attempt(self, totals: list[Totals], now: int) -> GatewayError | None:
        """Why the totals are not known to be written."""
        try:
            if self._store is not None and totals:
                await self._store.write(totals, now)
        except GatewayError as error:
            return error
        except Exception:
            log.exception("the counts of what was sent could not be written")
            return Unavailable("The counts were not confirmed.", hint="Send it again.")
        return None


def _over(hour: int, page: _Page, now: int) -> bool:
    """Whether nothing more is to be written of an hour; should something come for it all the same, it is a new row."""
    done = not page.under_way and not page.changed and not page.to_close
    return done and page.written_at > 0 and now - hour > 2 * HOUR_MS


def _new_run() -> int:
    return int(random_id()[:8], 16) >> 1  # 31 bits: an int32 in every event
