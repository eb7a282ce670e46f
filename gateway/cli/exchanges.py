"""What `plugin try` shows of each exchange: request and answer, without secrets, unpacked where they are packed."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Mapping
from typing import Any

import click

from gateway.connectors.http import GuardedHttp
from gateway.connectors.redaction import masked
from gateway.plugin import Answer

HIDDEN = "********"
_BODY_CHARS = 2_000
#: So much of a packed body is unpacked.
_BODY_BYTES = 1_000_000
_GZIP = b"\x1f\x8b"
_CREDENTIALS = re.compile(r"authorization|cookie|token|secret|signature|api[-_]?key|write[-_]?key", re.IGNORECASE)


class Telling:
    """An HTTP client that prints what it sends and gets, secrets masked."""

    def __init__(self, http: GuardedHttp) -> None:
        self._http = http
        self.secrets: Collection[str] = ()

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
        """As `gateway.plugin.Http`."""
        asked = "" if not params else f"  {dict(params)}"
        self._say(f"\n> {method} {url}{asked}")
        self._say_headers(">", headers or {})
        body = content if content is not None else _written(form if json is None else json)
        self._say_body(">", body)
        answer = await self._http.request(
            method, url, headers=headers, params=params, json=json, form=form, content=content, seconds=seconds
        )
        self._say(f"< HTTP {answer.status}")
        self._say_headers("<", answer.headers)
        self._say_body("<", answer.body)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _say(self, text: str) -> None:
        click.echo(masked(text, self.secrets, HIDDEN))

    def _say_headers(self, mark: str, headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            self._say(f"{mark} {name}: {HIDDEN if _CREDENTIALS.search(name) else value}")

    def _say_body(self, mark: str, body: bytes) -> None:
        text, how = readable(body)
        text = masked(text, self.secrets, HIDDEN)
        if how:
            click.echo(f"{mark} ({how})")
        if text:
            more = f" … {len(text):,} characters in all" if len(text) > _BODY_CHARS else ""
            click.echo(f"{mark} {text[:_BODY_CHARS]}{more}")


def readable(body: bytes) -> tuple[str, str]:
    """A body as text, and in words how it is packed; of what is no text only the length is told."""
    how = ""
    if body.startswith(_GZIP):
        how = f"gzip, {len(body):,} bytes"
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, _BODY_BYTES)
        except zlib.error:
            return "", f"{how}, which cannot be unpacked"
    if b"\0" in body:
        return "", how or f"{len(body):,} bytes that are no text"
    return body.decode("utf-8", "replace"), how


def _written(value: Any) -> bytes:
    return b"" if value is None else json.dumps(value, ensure_ascii=False).encode()
