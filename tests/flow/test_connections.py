"""Connections that dawdle, shout or come in numbers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from gateway.app import listening
from gateway.app.listening import MAX_HEADER_BYTES, listen
from gateway.app.serving import serving
from gateway.errors import SetupError
from tests.flow.served import Served, serve
from tests.pace import PATIENCE


@pytest.fixture(scope="module")
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri, header_seconds=0.6, max_connections=8) as served:
        yield served


async def talk(port: int, *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Send the parts, then read until the server closes; what it said, and how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.monotonic()
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        async with asyncio.timeout(PATIENCE):
            said = await reader.read()
    except ConnectionError:
        said = b""
    finally:
        writer.close()
    return said, time.monotonic() - began


async def test_headers_that_do_not_end_are_cut_and_told(served: Served) -> None:
    said, _ = await talk(served.port, b"GET /healthz HTTP/1.1\r\n", b"x-1: 1\r\n")
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"TIMEOUT"' in said


async def test_headers_that_come_drop_by_drop_are_cut_too(served: Served) -> None:
    drops = [b"GET /healthz HTTP/1.1\r\n", *(b"x-%d: 1\r\n" % number for number in range(40)), b"\r\n"]
    said, _ = await talk(served.port, *drops, pause=0.1)
    assert b" 200 " not in said


async def test_a_connection_that_says_nothing_is_closed(served: Served) -> None:
    said, _ = await talk(served.port)
    assert said == b""


async def test_a_second_request_on_a_connection_has_the_same_deadline(served: Served) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    said, _ = await talk(served.port, whole, b"GET /healthz HTTP/1.1\r\n", pause=0.05)
    first, _, second = said.partition(b"HTTP/1.1 408 ")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"TIMEOUT" in second


@pytest.mark.parametrize("parts", [1, 64])
async def test_headers_that_are_too_large_are_refused(served: Served, parts: int) -> None:
    size = (MAX_HEADER_BYTES + 8_000) // parts
    headers = [b"x-%d: %s\r\n" % (number, b"y" * size) for number in range(parts)]
    said, _ = await talk(served.port, b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"".join(headers) + b"\r\n")
    assert said.startswith(b"HTTP/1.1 431 "), said[:200]
    assert b'"code":"TOO_LARGE"' in said


async def test_a_header_that_never_ends_is_refused_by_its_size(served: Served) -> None:
    said, _ = await talk(served.port, b"GET /healthz HTTP/1.1\r\nx: " + b"y" * (MAX_HEADER_BYTES + 1))
    assert said.startswith(b"HTTP/1.1 431 ")


async def test_what_is_no_http_is_answered_in_our_form(served: Served) -> None:
    said, _ = await talk(served.port, b"\x16\x03\x01\x02\x00\x01\x00\x01")
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"BAD_REQUEST"' in said


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (b"", b"one Host header"),
        (b"host: a\r\nhost: b\r\n", b"one Host header"),
        (b"host: a\r\nHost: a\r\n", b"one Host header"),
        (b'host: a b<script>"@x\r\n', b"is no host"),
        (b"host: ann@shop.example\r\n", b"is no host"),
        (b"host: shop.example/path\r\n", b"is no host"),
        (b"host: sh\xc3\xb6p.example\r\n", b"is no host"),
    ],
)
async def test_a_request_names_one_host(served: Served, headers: bytes, said: bytes) -> None:
    for line in (b"GET /healthz", b"GET /v1/projects/%s/settings" % served.write_key.encode()):
        answer, _ = await talk(served.port, line + b" HTTP/1.1\r\n" + headers + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert said in answer
        assert b"script" not in answer
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"GET /healthz HTTP/1.0\r\n",
        *(
            b"GET /healthz HTTP/1.1\r\nhost: " + host + b"\r\n"
            for host in (
                b"",
                b"shop.example",
                b"shop_1.example.:8000",
                b"127.0.0.1:1",
                b"[::1]:65535",
                b"[2001:db8::1]",
            )
        ),
    ],
)
async def test_hosts_of_every_form_are_served(served: Served, line: bytes) -> None:
    answer, _ = await talk(served.port, line + b"connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 "), answer


@pytest.mark.parametrize("request_", [b"FOO / HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_the_parser_refuses_has_a_request_id_too(served: Served, request_: bytes) -> None:
    said, _ = await talk(served.port, request_)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nx-request-id: " in said
    assert (b"its method is not known" in said) is request_.startswith(b"FOO")


async def test_a_websocket_at_a_wrong_path_is_told_where_it_is(served: Served) -> None:
    said, _ = await talk(
        served.port,
        b"GET /subscriptions HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 404 "), said
    assert b"Connect to /graphql" in said
    assert b"x-request-id: " in said.lower()


async def test_an_address_of_another_machine_is_not_answered_with_another_port() -> None:
    for host in ("999.1.1.1", "192.0.2.1"):
        with pytest.raises(SetupError) as refused:
            listen(host, 8000)
        assert "--host 127.0.0.1" in refused.value.hint
        assert "port" not in refused.value.hint


async def test_a_body_that_never_ends_is_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "BODY_SECONDS", 0.3)
    head = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n"
    key = f"authorization: Bearer {served.api_key}\r\n\r\n".encode()
    said, seconds = await talk(served.port, head + key, b"{")
    assert said == b""
    assert seconds < 20


async def test_too_many_connections_are_told_so_and_health_still_answers(served: Served) -> None:
    open_ones = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(10)]
    try:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", timeout=PATIENCE) as client:
            answer = await client.post("/v1/track", json={}, headers=served.write)
            if answer.status_code != 503:  # on a slow machine the first of them are cut before the last is open
                pytest.skip("the connections did not stay open together")
            assert answer.json()["code"] == "OVERLOADED"
            assert int(answer.headers["retry-after"]) >= 1
            assert (await client.get("/healthz")).status_code == 200
    finally:
        for _, writer in open_ones:
            writer.close()


async def test_the_limit_of_open_files_bounds_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    assert listening.allow_connections(5_000) == 1024 - 400
    assert listening.allow_connections(100) == 100


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_answer_in_two_parts_waits_for_no_acknowledgement(host: str) -> None:
    accepted: list[int] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listener = listen(host, 0)
    async with await asyncio.start_server(met, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        await reader.read()
        writer.close()
    assert accepted
    assert all(accepted)


async def test_a_path_can_be_listened_on_and_one_in_use_is_refused(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    listen(f"unix:{path}", 0).close()  # leaves its socket behind, as a killed process does
    listener = listen(f"unix:{path}", 0)
    with pytest.raises(SetupError, match="Cannot listen"):
        listen(f"unix:{path}", 0)
    async with serving(served.gateway, listener):
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway", timeout=PATIENCE) as client:
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/metrics")).status_code == 403, "a proxy may be at the other end"
    served.gateway.watch.draining = False


async def test_request_ids_are_taken_over_or_made(served: Served) -> None:
    for given, kept in (("build-7/abc:1", True), ("a b", False), ("x" * 200, False), ("ada@example.org", False)):
        answer = await served.client.get("/nothing", headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is kept
        assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


async def test_a_fault_names_the_request_and_not_its_cause(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("words of the fault")

    monkeypatch.setattr(type(served.gateway.keyring), "write_key", broken)
    answer = await served.client.post("/v1/track", json={}, headers={**served.write, "x-request-id": "mine-1"})
    assert answer.status_code == 500
    body = answer.json()
    assert (body["code"], body["requestId"], answer.headers["x-request-id"]) == ("INTERNAL", "mine-1", "mine-1")
    assert "mine-1" in body["message"]
    assert "words of the fault" not in answer.text
