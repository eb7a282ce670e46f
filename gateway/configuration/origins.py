"""Web origins as write keys list them: `https://shop.example`, `https://*.shop.example`, `capacitor://localhost`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.errors import InvalidInput

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\*\.)?((?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_SUBDOMAIN = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+")
_USUAL_PORTS = {("http", "80"), ("https", "443")}
_LONGEST = 300


def read_origin(text: str) -> str:
    """The origin as browsers send it: small letters, no path, no usual port. Raises InvalidInput."""
    found = _ORIGIN.fullmatch(text.strip().rstrip("/").lower()) if len(text) <= _LONGEST else None
    if found is None or (found[2] and "." not in found[3]):
        raise InvalidInput(
            f"{text[:80]!r} is not an origin.",
            hint="Write scheme and host, such as https://shop.example or https://*.shop.example (no path).",
        )
    scheme, wildcard, host, port = found.groups()
    shown_port = f":{port}" if port and (scheme, port) not in _USUAL_PORTS else ""
    return f"{scheme}://{wildcard or ''}{host}{shown_port}"


def is_listed(origin: str, listed: Iterable[str]) -> bool:
    """Whether an Origin header's value is one of those listed; `*.` stands for one or more names before the host."""
    origin = origin.lower()
    return any(origin == one or ("://*." in one and _matches(origin, one)) for one in listed)


def _matches(origin: str, pattern: str) -> bool:
    before, _, behind = pattern.partition("*")
    if not (origin.startswith(before) and origin.endswith(behind)):
        return False
    return _SUBDOMAIN.fullmatch(origin[len(before) : -len(behind)]) is not None
