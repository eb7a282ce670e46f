"""Which addresses a connector may speak to: public ones, and those an operator names for its instance."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from gateway.errors import SetupError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A host name and a port to addresses as text.
Resolver: TypeAlias = Callable[[str, int], Awaitable[list[str]]]

#: What Python does not know to be anything but public.
_MORE_PRIVATE = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's own, metadata among it
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("198.18.0.0/15"),
    ipaddress.ip_network("fec0::/10"),
)
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class Forbidden(Exception):
    """The address must not be asked."""


class Guard:
    """Says which address a host is asked at. `allow`: hosts, addresses and networks that may be private."""

    def __init__(self, allow: Collection[str] = (), resolver: Resolver | None = None) -> None:
        self._resolver = resolver or resolve
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for one in allow:
            try:
                self._networks.append(ipaddress.ip_network(one, strict=True))
            except ValueError:
                if "/" in one or not one:
                    raise SetupError(
                        f"{one!r} is neither a host nor a network.", hint="Such as erp.internal, or 10.1.0.0/16."
                    ) from None
                self._hosts.add(one.lower().rstrip("."))

    async def address_of(self, host: str, port: int) -> str:
        """The address to connect to: looked up once, so that what was checked is what is asked. Raises Forbidden when
        one of its addresses is not allowed, OSError when there is none."""
        found = await self._resolver(host, port)
        if not found:
            raise OSError("the host has no address")
        named = host.lower().rstrip(".") in self._hosts
        for text in found:
            # One private address among public ones is how a name is rebound: then none of them is asked.
            if not named and not self.allows(ipaddress.ip_address(text.partition("%")[0])):
                raise Forbidden
        return found[0]

    def allows(self, address: Address) -> bool:
        """Whether an address is public, or one that the operator has named."""
        if any(address in network for network in self._networks if network.version == address.version):
            return True
        inner = _inner(address)
        return self.allows(inner) if inner is not None else _is_public(address)


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address in network for network in _MORE_PRIVATE if network.version == address.version)


def _inner(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    packed = address.packed
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(packed[2:6])
    if any(address in network for network in _NAT64) or (packed[:12] == bytes(12) and packed[12:] > bytes(3) + b"\1"):
        return ipaddress.IPv4Address(packed[12:])
    return None


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver gives them: it also reads `2130706433` and `0177.1`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]
