"""What was answered, and what it was made of: given again as long as nothing came that could change it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from gateway.insights.columnar.scan import Version
from gateway.insights.columnar.users import Users

K = TypeVar("K")
V = TypeVar("V")

#: Workspace, and what was asked.
Place: TypeAlias = tuple[str, str]

MOST_BYTES = 128_000_000
_LEAST_BYTES = 10_000  # what an answer takes beside its arrays, and more


class Answered(Protocol):
    """An answer: as of when (ms), and the users that its codes stand for."""

    @property
    def as_of(self) -> int: ...

    @property
    def users(self) -> Users: ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer, what its scan saw, and who denied to be counted.

    `names`: it is about events of these; None: whatever comes may change it. `began`: when it began to read, in the
    order in which questions were asked. `segment`: the one that it is about, and `members` who was in it. `bytes` are
    those of its arrays.
    """

    answer: Answered
    version: Version
    denying: frozenset[str]
    names: frozenset[str] | None
    began: int
    segment: str | None = None
    members: frozenset[str] | None = None
    bytes: int = 0


class Memory:
    """Answers, the latest ones, that take `most` bytes together at most."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._kept: OrderedDict[Place, Remembered] = OrderedDict()

    def get(self, place: Place) -> Remembered | None:
        """What was answered last."""
        return self._kept.get(place)

    def keep(self, place: Place, one: Remembered) -> None:
        """Unless it alone takes half of the memory; the oldest go for it."""
        self._kept.pop(place, None)
        if one.bytes <= self._most // 2:
            self._kept[place] = one
        while self.bytes > self._most and self._kept:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    @property
    def bytes(self) -> int:
        """Of all that is kept; several answers have the same users."""
        users = {id(one.answer.users): one.answer.users for one in self._kept.values()}
        return sum(one.bytes + _LEAST_BYTES for one in self._kept.values()) + sum(map(bytes_of, users.values()))


class Together(Generic[K, V]):
    """One read for all who ask in the same turn of the event loop. Nobody gets what was read before they asked."""

    def __init__(self, read: Callable[[K], Awaitable[V]]) -> None:
        self._read = read
        self._coming: dict[K, asyncio.Task[V]] = {}

    async def ask(self, key: K) -> V:
        """What `read` says of the key; raises what it raises. Who goes away ends it for nobody else."""
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = asyncio.create_task(self._begin(key))
            coming.add_done_callback(_met)
        return await asyncio.shield(coming)

    async def _begin(self, key: K) -> V:
        await asyncio.sleep(0)
        del self._coming[key]
        return await self._read(key)


def _met(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody may be there any more to whom it is raised


def bytes_of(found: Any) -> int:
    """What the arrays of an answer take, wherever they are in it; everything else is small beside them."""
    match found:
        case np.ndarray():
            return int(found.nbytes if found.base is None else getattr(found.base, "nbytes", found.nbytes))
        case dict():
            return sum(map(bytes_of, found.values()))
        case tuple() | list():
            return sum(map(bytes_of, found)) + 8 * len(found)
        case _ if is_dataclass(found):
            return sum(bytes_of(getattr(found, one.name)) for one in fields(found))
        case _:
            return 0
