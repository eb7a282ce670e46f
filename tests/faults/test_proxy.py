"""The proxy does to connections what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.faults.proxy import SLOW_BYTES, Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    yield proxy
    await proxy.stop()
    server.close()
    await server.wait_closed()


Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def line(proxy: Proxy) -> AsyncIterator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()


async def said(line: Line, text: bytes) -> bytes:
    line[1].write(text)
    async with asyncio.timeout(60):
        return await line[0].read(len(text))


async def silent(line: Line) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await line[0].read(1)
    except TimeoutError:
        return True
    return False


async def test_it_forwards(line: Line) -> None:
    assert await said(line, b"hello") == b"hello"


@pytest.mark.parametrize("directions", [("out",), ("back",), ("out", "back")])
async def test_a_line_that_is_held_goes_on_where_it_was(proxy: Proxy, line: Line, directions: tuple[str, ...]) -> None:
    assert await said(line, b"a") == b"a"
    proxy.hold(*directions)
    line[1].write(b"b")
    assert await silent(line)
    proxy.heal()
    assert await said(line, b"c") == b"b"


async def test_a_connection_made_while_held_waits(proxy: Proxy) -> None:
    proxy.hold("out", "back")
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"a")
    assert await silent((reader, writer))
    proxy.heal()
    assert await said((reader, writer), b"b") == b"a"
    writer.close()


@pytest.mark.parametrize("way", ["reset", "cut", "broken"])
async def test_a_broken_line_ends(proxy: Proxy, line: Line, way: str) -> None:
    assert await said(line, b"a") == b"a"
    if way == "broken":
        proxy.hold("back")
        proxy.heal(broken=True)
    else:
        getattr(proxy, way)()
    async with asyncio.timeout(60):
        with pytest.raises((ConnectionError, AssertionError)):
            assert await line[0].read(1)


async def test_a_cut_line_takes_nobody_until_it_is_healed(proxy: Proxy) -> None:
    proxy.cut()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    async with asyncio.timeout(60):
        with pytest.raises((ConnectionError, AssertionError)):
            assert await reader.read(1)
    writer.close()
    proxy.heal()
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await said(again, b"a") == b"a"
    again[1].close()


async def test_a_slow_line_is_slow_and_loses_nothing(proxy: Proxy, line: Line) -> None:
    proxy.slow_down()
    sent, began = bytes(range(256)) * 200, time.monotonic()
    line[1].write(sent)
    async with asyncio.timeout(60):
        assert await line[0].readexactly(len(sent)) == sent
    assert time.monotonic() - began > len(sent) / SLOW_BYTES
