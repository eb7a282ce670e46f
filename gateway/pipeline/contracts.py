"""The contract that counts now, in every process: applied once, seen by all within a second, without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from gateway.contract import Contract, load_texts
from gateway.errors import ContractError, Unavailable
from gateway.store.contracts import Version, Versions

log = logging.getLogger("gateway.pipeline")

NOTICE_SECONDS = 0.25

Listener = Callable[[], None]


@dataclass(frozen=True, slots=True)
class InForce:
    """A contract and which version it is; number 0 is one that is stored nowhere."""

    number: int
    contract: Contract

    @property
    def hash(self) -> str:
        """That of the texts: the same on every process."""
        return self.contract.hash


#: Makes ready for a contract that is to count; what it returns is called, at once, when it does. Raises ContractError
#: for one that cannot: then the one before it stays.
Preparation = Callable[[InForce], Awaitable[Callable[[], None]]]


def load_version(version: Version) -> Contract:
    """The contract of a stored version. Raises ContractError for one that this gateway cannot read: a newer one did."""
    return load_texts(version.name, version.files)


class Contracts:
    """Holds the contract of the newest version that could be loaded; one per process.

    Read `current` once for whatever must hang together: the next reading may give the next version.
    """

    def __init__(self, versions: Versions | None, in_force: InForce) -> None:
        self._versions = versions
        self._in_force = in_force
        self._looked_at = in_force.number
        self._looking = asyncio.Lock()
        self._listeners: set[Listener] = set()
        self._preparations: list[Preparation] = []
        #: The number of a newer version that this gateway cannot load, and works without.
        self.unreadable: int | None = None

    @classmethod
    def fixed(cls, contract: Contract) -> Contracts:
        """One contract for good, stored nowhere."""
        return cls(None, InForce(0, contract))

    @property
    def current(self) -> Contract:
        return self._in_force.contract

    @property
    def version(self) -> InForce:
        """Number, hash and contract, all of the same version."""
        return self._in_force

    def prepare_with(self, preparation: Preparation) -> None:
        """From now on no contract counts before this has made ready for it: for what takes a while, or may not work."""
        self._preparations.append(preparation)

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """As long as this is open, `listener` is called after each change."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """As long as this is open: notice within a second what any process applies."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._follow(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def look(self) -> bool:
        """Take over a newer version if there is one; says whether there was. Raises Unavailable."""
        async with self._looking:  # of two looks at once, the older version must not come last
            return await self._look()

    async def _look(self) -> bool:
        if self._versions is None or await self._versions.newest_number() == self._looked_at:
            return False
        newest = await self._versions.newest()
        if newest is None:
            return False  # somebody has dropped the database: what was is better than nothing
        self._looked_at = newest.number
        try:
            # In a thread: a plan of hundreds of events takes a second to read, and another to become a schema.
            coming = InForce(newest.number, await asyncio.to_thread(load_version, newest))
            ready = [await prepare(coming) for prepare in self._preparations]
        except ContractError as error:
            self.unreadable = newest.number
            log.error(
                "the new version of the contract does not load here; the one before it stays",
                extra={"version": newest.number, "problem": error.problems[0]},
            )
            return False
        self.unreadable = None
        # In one step: nobody sees the new contract with something of the old one.
        self._in_force = coming
        for take_over in ready:
            take_over()
        log.info("contract applied", extra={"version": newest.number})
        for listener in tuple(self._listeners):
            listener()
        return True

    async def _follow(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.look()
            except Unavailable:
                pass  # the next look may reach it
            except Exception as error:
                log.warning("versions of the contract cannot be read", extra={"error": type(error).__name__})
            with suppress(TimeoutError):
                async with asyncio.timeout(NOTICE_SECONDS):
                    await stop.wait()
