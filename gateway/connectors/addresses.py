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

#: The special-purpose registries of IANA (iana-ipv4-special-registry, iana-ipv6-special-registry): each range that is
#: not within another, and what else is nobody's server. Those called globally reachable are here too: anycast relays
#: and sinks of DNS, where no API is. Python's `is_global` knows fewer, and another number of them in each version.
_SPECIAL = tuple(
    ipaddress.ip_network(one)
    for one in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared, behind a carrier
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own, metadata among it; in no registry
        "169.254.0.0/16",  # link local, clouds' metadata among it
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relay anycast, deprecated; 6a44
        "192.168.0.0/16",  # private use
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, limited broadcast
        "2001::/23",  # protocol assignments: Teredo, benchmarking, AMT, AS112, ORCHID, DRIP
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
#: All that is given to anybody in IPv6. Outside are loopback, discard-only, SRv6, unique and link local, multicast, and
#: the local NAT64 prefix, in which an IPv4 address may stand at several places.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_SIX_TO_FOUR = ipaddress.ip_network("2002::/16")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


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
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _SPECIAL if network.version == address.version)


def _inner(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address(address.packed[2:6])
    return ipaddress.IPv4Address(address.packed[12:]) if address in _NAT64 else None


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver gives them: it also reads `2130706433` and `0177.1`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(one[4][0]) for one in found]
