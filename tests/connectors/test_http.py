"""The connectors' HTTP: which addresses it asks, how it follows redirects, and what it never tells."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.connectors.addresses import Forbidden, Guard, Resolver, resolve
from gateway.connectors.http import GuardedHttp
from gateway.errors import SetupError
from gateway.plugin import HttpFailed

LOCAL = ["127.0.0.0/8"]
Respond = Callable[[str, dict[str, str], bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers requests as a test says, and remembers them."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.port = 0
        self.connections = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().rstrip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append((first, headers, body))
                await self.respond(first, headers, body, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(respond)
    listening = await asyncio.start_server(server.take, "127.0.0.1", 0, ssl=tls)
    server.port = int(listening.sockets[0].getsockname()[1])
    try:
        yield server
    finally:
        listening.close()


def answers(status: int = 200, body: bytes = b"fine", **headers: str) -> Respond:
    async def respond(first: str, given: dict[str, str], sent: bytes, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return respond


def names(**places: str | list[str]) -> Resolver:
    """A resolver that knows these names (`_` for a dot)."""
    known = {name.replace("_", "."): place for name, place in places.items()}

    async def look_up(host: str, port: int) -> list[str]:
        place = known.get(host, host)
        return [place] if isinstance(place, str) else place

    return look_up


@asynccontextmanager
async def client(**given: object) -> AsyncIterator[GuardedHttp]:
    http = GuardedHttp(given.pop("allow", LOCAL), **given)  # type: ignore[arg-type]
    try:
        yield http
    finally:
        await http.close()


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104 - to be refused
    "224.0.0.1",
    "255.255.255.255",
    "192.0.0.192",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::a9fe:a9fe",
]


@pytest.mark.parametrize("address", PRIVATE)
async def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(Forbidden):
        await Guard(resolver=names(somewhere=address)).address_of("somewhere", 80)
    async with client(allow=[], resolver=names(somewhere=address)) as http:
        with pytest.raises(HttpFailed, match="not a public address") as failed:
            await http.request("GET", "http://somewhere/")
    assert failed.value.final


@pytest.mark.parametrize("written", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1", "localhost"])
async def test_other_ways_to_write_an_address_are_read_as_the_system_reads_them(written: str) -> None:
    with pytest.raises(Forbidden):
        await Guard(resolver=resolve).address_of(written, 80)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_public_is_allowed(address: str) -> None:
    assert Guard().allows(ipaddress.ip_address(address))


async def test_an_operator_names_what_may_be_private() -> None:
    look_up = names(erp_internal="10.1.2.3", other_internal="10.1.2.3", db="10.9.0.1")
    guard = Guard(["ERP.internal", "10.9.0.0/16"], look_up)
    assert await guard.address_of("erp.internal", 80) == "10.1.2.3"
    assert await guard.address_of("db", 80) == "10.9.0.1"
    with pytest.raises(Forbidden):
        await guard.address_of("other.internal", 80)
    with pytest.raises(SetupError):
        Guard(["10.0.0.1/8"])


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(Forbidden):
        await Guard(resolver=names(evil=["8.8.8.8", "127.0.0.1"])).address_of("evil", 80)


async def test_the_address_that_was_checked_is_the_one_that_is_asked() -> None:
    """A name that changes between the check and the connection changes nothing: it is looked up once."""
    places = ["127.0.0.1", "127.9.9.9"]

    async def rebinding(host: str, port: int) -> list[str]:
        return [places.pop(0)]

    async with serving(answers()) as server, client(resolver=rebinding) as http:
        answer = await http.request("GET", f"http://crm.example:{server.port}/x?y=1")
    assert (answer.status, answer.text) == (200, "fine")
    ((first, headers, _),) = server.seen
    assert first == "GET /x?y=1 HTTP/1.1"
    assert headers["host"] == f"crm.example:{server.port}"
    assert places == ["127.9.9.9"]


async def test_every_hop_is_checked_anew() -> None:
    onward = answers(302, Location="http://inside.example/admin")
    look_up = names(inside_example="10.0.0.1", crm_example="127.0.0.1")
    async with serving(onward) as server, client(resolver=look_up) as http:
        with pytest.raises(HttpFailed, match=r"inside\.example is not a public address"):
            await http.request("GET", f"http://crm.example:{server.port}/")


async def test_credentials_stay_with_their_origin() -> None:
    async with (
        serving(answers()) as other,
        client(resolver=names(a="127.0.0.1", b="127.0.0.1")) as http,
        serving(answers(307, Location=f"http://b:{other.port}/there")) as first,
    ):
        secret = {"Authorization": "Bearer sesame", "X-Api-Key": "sesame", "Cookie": "s=sesame", "Accept": "a/b"}
        assert (await http.request("GET", f"http://a:{first.port}/", headers=secret)).status == 200
        with pytest.raises(HttpFailed, match="set that address"):
            await http.request("POST", f"http://a:{first.port}/", json={"key": "sesame"})
    assert "sesame" in str(first.seen)
    assert "sesame" not in str(other.seen)
    assert other.seen[0][1]["accept"] == "a/b"
    assert len(other.seen) == 1


async def test_within_one_origin_redirects_keep_what_they_should() -> None:
    async def redirects(first: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        place = first.split()[1]
        onward = {"/307": (307, "/end"), "/303": (303, "/end"), "/loop": (302, "/loop")}.get(place)
        respond = answers(onward[0], b"", Location=onward[1]) if onward else answers()
        await respond(first, headers, body, writer)

    async with serving(redirects) as server, client(resolver=names(a="127.0.0.1")) as http:
        for place in ("307", "303"):
            sent = {"authorization": "Bearer sesame"}
            await http.request("POST", f"http://a:{server.port}/{place}", headers=sent, json={"x": 1})
        with pytest.raises(HttpFailed, match="again and again"):
            await http.request("GET", f"http://a:{server.port}/loop")
    ends = [
        (first.split()[0], headers.get("authorization"), body)
        for first, headers, body in server.seen
        if "/end" in first
    ]
    assert ends == [("POST", "Bearer sesame", b'{"x":1}'), ("GET", "Bearer sesame", b"")]


async def test_tls_checks_the_name_of_the_url(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=crm.example"]
    made += ["-addext", "subjectAltName=DNS:crm.example", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, made, check=True, capture_output=True)
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
    theirs.load_cert_chain(certificate, key)
    look_up = names(crm_example="127.0.0.1", evil_example="127.0.0.1")
    async with serving(answers(), theirs) as server, client(resolver=look_up, tls=ours) as http:
        assert (await http.request("GET", f"https://crm.example:{server.port}/")).status == 200
        with pytest.raises(HttpFailed):
            await http.request("GET", f"https://evil.example:{server.port}/")


async def test_an_answer_is_read_up_to_its_limit() -> None:
    packed = answers(200, gzip.compress(b"0" * 1_000_000), Content_Encoding="gzip")
    for respond in (answers(200, b"x" * 1_001), packed):
        async with serving(respond) as server, client(most_bytes=1_000) as http:
            with pytest.raises(HttpFailed, match="more than 1,000 bytes") as failed:
                await http.request("GET", f"http://127.0.0.1:{server.port}/")
        assert failed.value.final
    async with serving(answers(200, gzip.compress(b"small"), Content_Encoding="gzip")) as server, client() as http:
        assert (await http.request("GET", f"http://127.0.0.1:{server.port}/")).text == "small"


async def test_an_answer_that_drips_runs_out_of_time() -> None:
    async def drips(first: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100_000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(drips) as server, client(seconds=0.3) as http:
        with pytest.raises(HttpFailed, match="has not answered within"):
            await http.request("GET", f"http://127.0.0.1:{server.port}/")


async def test_no_failure_tells_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(first: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsesame")
        writer.transport.abort()

    sent = {"authorization": "Bearer sesame"}
    caplog.set_level(logging.DEBUG)
    async with serving(breaks) as server, client() as http:
        wrong = ["http://127.0.0.1:1/?key=sesame", "ftp://127.0.0.1/sesame", "http://u:sesame@127.0.0.1/", "http://["]
        for url in (f"http://127.0.0.1:{server.port}/?key=sesame", *wrong):
            with pytest.raises(HttpFailed) as failed:
                await http.request("POST", url, headers=sent, json={"password": "sesame"})
            told = "".join(map(str, (failed.value, failed.value.__cause__, failed.value.__suppress_context__)))
            assert "sesame" not in told
            assert failed.value.__suppress_context__ or failed.value.__context__ is None
    assert "sesame" not in caplog.text


async def test_what_is_not_kept_from_a_cookie_comes_back_nowhere() -> None:
    async with serving(answers(200, Set_Cookie="session=1; Path=/")) as server, client() as http:
        for _ in range(2):
            await http.request("GET", f"http://127.0.0.1:{server.port}/")
    assert "cookie" not in server.seen[1][1]
    assert server.connections == 1, "a connection is used again"
