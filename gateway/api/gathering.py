"""Several sources of news as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

#: What comes within this many seconds is brought together.
GATHER_SECONDS = 0.05
_WAITING = 100


async def gathered(sources: dict[str, AsyncIterator[Any]]) -> AsyncGenerator[list[tuple[str, Any]], None]:
    """What several sources bring, together what comes at about the same time. Ends, or raises, with the first that
    does."""
    waiting: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(_WAITING)

    async def read(name: str, source: AsyncIterator[Any]) -> None:
        async with aclosing(cast("AsyncGenerator[Any, None]", source)) as opened:
            async for one in opened:
                await waiting.put((name, one))

    readers = [asyncio.create_task(read(name, source)) for name, source in sources.items()]
    first = asyncio.ensure_future(waiting.get())
    try:
        while True:
            await asyncio.wait([first, *readers], return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                for reader in readers:
                    if reader.done():
                        reader.result()
                return
            await asyncio.sleep(GATHER_SECONDS)
            batch = [first.result()]
            while not waiting.empty():
                batch.append(waiting.get_nowait())
            first = asyncio.ensure_future(waiting.get())
            yield batch
    finally:
        first.cancel()
        pending = {reader for reader in readers if not reader.done()}
        while pending:  # more than once: a driver in the middle of a read may swallow it and go on
            for reader in pending:
                reader.cancel()
            _, pending = await asyncio.wait(pending, timeout=1)
        for reader in readers:
            if not reader.cancelled():
                reader.exception()  # nobody asks for it any more
