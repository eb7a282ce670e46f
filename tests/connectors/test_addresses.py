"""Where connectors may go, against the whole special-purpose registries of IANA."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.addresses import Guard

#: iana-ipv4-special-registry, every row of it.
IPV4 = (
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32",
    "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.1/32",
    "192.88.99.2/32", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "240.0.0.0/4", "255.255.255.255/32",
)  # fmt: skip
#: iana-ipv6-special-registry, every row but those that stand for IPv4 addresses: WRAPPED.
IPV6 = (
    "::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:1::1/128",
    "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28", "2001:20::/28",
    "2001:30::/28", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
)  # fmt: skip
#: What is in neither and nobody's server all the same.
OTHERS = (
    "168.63.129.16/32",
    "224.0.0.0/4",
    "ff00::/8",
    "fec0::/10",
    "::8.8.8.8/128",
    "::ffff:0:808:808/128",
    "4000::/3",
)
#: How IPv6 writes an IPv4 address: mapped, 6to4, NAT64.
WRAPPED: dict[str, Callable[[ipaddress.IPv4Address], str]] = {
    "::ffff:0:0/96": lambda inner: f"::ffff:{inner}",
    "2002::/16": lambda inner: str(ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80) | 1)),
    "64:ff9b::/96": lambda inner: f"64:ff9b::{inner}",
}
PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
    "192.0.1.0", "192.88.98.255", "192.88.100.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
)  # fmt: skip
PUBLIC6 = (
    "2000::1", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2620:4f:8001::1", "3ffe::1", "3fff:1000::1",
)  # fmt: skip

GUARD = Guard()


def edges(network: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The first, one in the middle, the last."""
    found = ipaddress.ip_network(network)
    return [found[0], found[found.num_addresses // 2], found[-1]]


@pytest.mark.parametrize("network", [*IPV4, *IPV6, *OTHERS])
def test_special_ranges_are_refused_to_their_edges(network: str) -> None:
    assert [str(one) for one in edges(network) if GUARD.allows(one)] == []


@pytest.mark.parametrize("prefix", WRAPPED)
@pytest.mark.parametrize("network", IPV4)
def test_they_are_refused_in_ipv6_too(prefix: str, network: str) -> None:
    for inner in edges(network):
        assert isinstance(inner, ipaddress.IPv4Address)
        outer = ipaddress.ip_address(WRAPPED[prefix](inner))
        assert outer in ipaddress.ip_network(prefix)
        assert not GUARD.allows(outer), outer


@pytest.mark.parametrize("public", PUBLIC)
def test_what_lies_beside_them_is_public_also_in_ipv6(public: str) -> None:
    inner = ipaddress.IPv4Address(public)
    assert GUARD.allows(inner)
    assert all(GUARD.allows(ipaddress.ip_address(wrap(inner))) for wrap in WRAPPED.values())


@pytest.mark.parametrize("public", PUBLIC6)
def test_what_is_given_to_people_in_ipv6_is_public(public: str) -> None:
    assert GUARD.allows(ipaddress.ip_address(public))


def test_the_local_nat64_prefix_hides_nothing_wherever_the_address_stands_in_it() -> None:
    """RFC 6052: behind a /48 the address is in the bits 48 to 63 and 72 to 87; its last bits may say anything."""
    inner = int(ipaddress.ip_address("127.0.0.1"))
    prefix = int(ipaddress.ip_address("64:ff9b:1::"))
    outer = ipaddress.IPv6Address(prefix | (inner >> 16 << 64) | ((inner & 0xFFFF) << 40) | 0x0808_0808)
    assert not GUARD.allows(outer)
    assert Guard(["64:ff9b:1::/48"]).allows(outer)


@given(st.ip_addresses())
def test_whatever_python_knows_to_be_private_is_refused(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    wraps = isinstance(address, ipaddress.IPv6Address) and any(address in ipaddress.ip_network(one) for one in WRAPPED)
    if not wraps and not address.is_global:
        assert not GUARD.allows(address)


@given(st.sampled_from([*IPV4, *IPV6]).flatmap(lambda one: st.ip_addresses(network=one)))
def test_no_address_within_them_is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not GUARD.allows(address)


def test_an_operator_may_name_one_wrapped_or_not() -> None:
    named = Guard(["192.88.99.0/24"])
    assert named.allows(ipaddress.ip_address("192.88.99.1"))
    assert named.allows(ipaddress.ip_address("::ffff:192.88.99.1"))
    assert not named.allows(ipaddress.ip_address("10.0.0.1"))
