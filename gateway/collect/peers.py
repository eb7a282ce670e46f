"""What HTTP tells about whoever sends: user agent, address, country.

Headers that proxies add can be made up by anybody, so they count only when a trusted proxy brought the request: one of
GATEWAY_TRUSTED_PROXIES, or whoever is at the other end of a socket in the file system (GATEWAY_HOST=unix:/…). The
country's header alone, which an operator names (GATEWAY_COUNTRY_HEADER), counts without any being named as well.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.errors import SetupError
from gateway.pipeline.clients import Peer
from gateway.settings import UNIX, Settings

_Network: TypeAlias = IPv4Network | IPv6Network

_COUNTRY = re.compile("[A-Z]{2}")
#: What proxies write when they do not know.
_NO_COUNTRY = frozenset({"XX", "ZZ"})
#: A name or an address, and a port: what the door asks of `Host` itself.
_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_MAX_HOPS = 32


class Peers:
    """Reads peers from requests."""

    def __init__(self, settings: Settings) -> None:
        self._trusted = trusted_networks(settings.trusted_proxies)
        self._country_header = settings.country_header
        self._public_url = settings.public_url
        self._on_socket_file = settings.host.startswith(UNIX)

    def of_request(self, scope: Scope, headers: Headers) -> Peer:
        """Who the request comes from."""
        address = scope["client"][0] if scope.get("client") else None
        behind_proxy = self._behind_proxy(scope)
        country = None
        if self._country_header is not None and (behind_proxy or not self._trusted):
            country = _country(headers.get(self._country_header))
        if behind_proxy:
            address = self._forwarded_for(headers, address)
        return Peer(headers.get("user-agent"), address, country)

    def base_url(self, scope: Scope, headers: Headers) -> str:
        """The gateway's address as the sender sees it, such as `https://events.example`."""
        if self._public_url is not None:
            return self._public_url.rstrip("/")
        scheme, host = scope.get("scheme", "http"), headers.get("host", "localhost")
        if self._behind_proxy(scope):
            # A proxy may pass on what its client made up: whatever is no scheme or host is as if it were not there.
            forwarded = _first(headers.get("x-forwarded-proto")).lower()
            scheme = forwarded if forwarded in ("http", "https") else scheme
            forwarded = _first(headers.get("x-forwarded-host"))
            host = forwarded if _HOST.fullmatch(forwarded) else host
        elif headers.get("origin", "").startswith("https://") and not _is_local(host):
            scheme = "https"  # browsers let no page that came encrypted ask for anything that does not
        return f"{scheme}://{host}"

    def _behind_proxy(self, scope: Scope) -> bool:
        client = scope.get("client")
        return self.trusts(client[0]) if client else self._on_socket_file

    def trusts(self, address: str | None) -> bool:
        """Whether this is the address of a trusted proxy."""
        if not self._trusted:
            return False
        try:
            parsed = ip_address(address or "")
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in self._trusted)

    def _forwarded_for(self, headers: Headers, address: str | None) -> str | None:
        """The nearest address that no trusted proxy has; whatever stands left of it is only what a client says."""
        hops = [hop.strip() for header in headers.getlist("x-forwarded-for") for hop in header.split(",")]
        for hop in reversed(hops[-_MAX_HOPS:]):
            address = _without_port(hop)
            if not self.trusts(address):
                break
        return address


def trusted_networks(names: tuple[str, ...]) -> tuple[_Network, ...]:
    """Networks by name. Raises SetupError."""
    try:
        return tuple(ip_network(name, strict=False) for name in names)
    except ValueError as error:
        raise SetupError(
            f"GATEWAY_TRUSTED_PROXIES: {error}.", hint="List addresses and networks, such as 10.0.0.0/8,fd00::/8."
        ) from None


def _is_local(host: str) -> bool:
    """Whether a `Host` is this machine, which pages may ask without encryption."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _without_port(hop: str) -> str:
    """`203.0.113.7:4711` and `[2001:db8::1]:4711` without what is behind the address."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _first(value: str | None) -> str:
    return (value or "").partition(",")[0].strip()


def _country(value: str | None) -> str | None:
    code = (value or "").strip().upper()
    return code if _COUNTRY.fullmatch(code) and code not in _NO_COUNTRY else None
