"""The HTTP client of connectors, on httpx2.

Each connection looks its host up once, refuses what is not public (or not named by the operator), and goes to the very
address it has checked; Host and TLS name stay those of the URL. Redirects are followed by hand, so that every hop
passes the same way and credentials stay with the origin they were meant for. Answers are read up to a size, within a
time. What fails says the host and how, never an address with its query, a header or a body.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import weakref
import zlib
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore2
import httpx2

from gateway.connectors.addresses import Forbidden, Guard, Resolver
from gateway.plugin import Answer, HttpFailed

SECONDS = 10.0
MOST_BYTES = 10_000_000
_MOST_HOPS = 5
_MOST_CONNECTIONS = 20
#: What goes along to another origin.
_HARMLESS = frozenset({"accept", "accept-language", "user-agent"})
_AGENT = "journey-gateway"
# They tell whole addresses, in which vendors expect keys.
for _library in ("httpx2", "httpcore2"):
    logging.getLogger(_library).setLevel(logging.WARNING)
_REDIRECTS = (301, 302, 303, 307, 308)


class GuardedHttp:
    """One instance's client (gateway.plugin.Http). Usable from any loop; each loop has connections of its own.

    `allow`: private hosts and networks that may be asked. `seconds` and `most_bytes` bound each answer.
    """

    def __init__(
        self,
        allow: Collection[str] = (),
        *,
        seconds: float = SECONDS,
        most_bytes: int = MOST_BYTES,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = Guard(allow, resolver)
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._tls = tls
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Send one request and read its answer, whatever its status. Raises HttpFailed."""
        client = self._client()
        try:
            request = client.build_request(
                method, url, headers=headers, params=params, json=json, data=form, content=content
            )
        except (httpx2.InvalidURL, ValueError, TypeError) as error:
            raise HttpFailed(f"the request cannot be made: {type(error).__name__}", final=True) from None
        limit = self._seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                return await self._follow(client, request)
        except TimeoutError:
            raise HttpFailed(f"{request.url.host} has not answered within {limit:g} s") from None

    async def close(self) -> None:
        """Close the connections of this loop."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if (found := self._clients.get(loop)) is None:
            # `identity`: a small answer that unpacks to a large one does not get in.
            headers = {"accept-encoding": "identity", "user-agent": _AGENT}
            found = httpx2.AsyncClient(
                transport=_Transport(self._guard, self._tls),
                headers=headers,
                timeout=None,
                trust_env=False,
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none is kept
            )
            self._clients[loop] = found
        return found

    async def _follow(self, client: httpx2.AsyncClient, request: httpx2.Request) -> Answer:
        for _ in range(_MOST_HOPS):
            _check_url(request.url)
            async with _sent(client, request) as response:
                onward = response.headers.get("location") if response.status_code in _REDIRECTS else None
                if onward is None:
                    return await self._read(response)
                request = _redirected(client, request, response.status_code, onward)
        raise HttpFailed(f"{request.url.host} redirects again and again", final=True)

    async def _read(self, response: httpx2.Response) -> Answer:
        kept: list[bytes] = []
        size = 0
        unpack = _unpacker(response)
        async for part in response.aiter_raw():
            left = self._most_bytes - size
            if unpack is not None:
                part = unpack.decompress(part, left + 1)
            size += len(part)
            if size > self._most_bytes or (unpack is not None and unpack.unconsumed_tail):
                raise HttpFailed(
                    f"{response.request.url.host} answered with more than {self._most_bytes:,} bytes", final=True
                )
            kept.append(part)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, b"".join(kept))


@asynccontextmanager
async def _sent(client: httpx2.AsyncClient, request: httpx2.Request) -> AsyncIterator[httpx2.Response]:
    """The answer as it begins. What goes wrong until its end is an HttpFailed that names the host alone."""
    host = request.url.host
    try:
        response = await client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()
    except Forbidden:
        raise HttpFailed(
            f"{host} is not a public address; an operator can allow it for this connector", final=True
        ) from None
    except (
        httpx2.HTTPError,
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.TimeoutException,
        OSError,
        zlib.error,
    ) as error:
        raise HttpFailed(f"{host}: {type(error).__name__}") from None


def _check_url(url: httpx2.URL) -> None:
    if url.scheme not in ("http", "https") or not url.host:
        raise HttpFailed("only http and https are spoken", final=True)
    if url.userinfo:
        raise HttpFailed(f"{url.host}: no credentials in an address; send them in a header", final=True)


def _redirected(client: httpx2.AsyncClient, request: httpx2.Request, status: int, location: str) -> httpx2.Request:
    """The next hop. Raises HttpFailed where it would carry what it must not."""
    try:
        url = request.url.join(location)
    except httpx2.InvalidURL:
        raise HttpFailed(f"{request.url.host} redirects to what is no address", final=True) from None
    _check_url(url)
    if request.url.scheme == "https" and url.scheme == "http":
        raise HttpFailed(f"{request.url.host} redirects to an address without TLS", final=True)
    keeps = status in (307, 308)
    method = request.method if keeps or request.method in ("GET", "HEAD") else "GET"
    body = request.content if keeps else b""
    same = _origin(request.url) == _origin(url)
    if not same and body:
        raise HttpFailed(f"{request.url.host} redirects what is sent to {url.host}: set that address", final=True)
    skipped = {"host", "content-length", "transfer-encoding"} | (set() if body else {"content-type"})
    headers = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in skipped and (same or name.lower() in _HARMLESS)
    }
    return client.build_request(method, url, headers=headers, content=body or None)


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _unpacker(response: httpx2.Response) -> Any:
    """For those who pack what they were asked not to."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return None
    if coding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)
    raise HttpFailed(f"{response.request.url.host} answers in the coding {coding[:20]}", final=True)


class _Transport(httpx2.AsyncBaseTransport):
    """Connections that pass the guard. Errors are those of httpcore2."""

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls or httpx2.create_ssl_context(trust_env=False),
            max_connections=_MOST_CONNECTIONS,
            max_keepalive_connections=_MOST_CONNECTIONS,
            keepalive_expiry=30.0,
            network_backend=_Network(guard),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Stream(answer.stream))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Network(httpcore2.AsyncNetworkBackend):
    """Connects to the one address that was checked; the name that TLS checks stays that of the URL."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        address = await self._guard.address_of(host, port)
        return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
