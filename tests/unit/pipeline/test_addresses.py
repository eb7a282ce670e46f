"""Addresses: what is kept of them, and the country they stand for."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SetupError
from gateway.pipeline.addresses import Addresses
from tests.country_database import write_countries


@given(st.ip_addresses())
def test_the_kept_part_is_the_network_and_nothing_of_the_host(address: object) -> None:
    parsed = ip_address(str(address))
    mapped = getattr(parsed, "ipv4_mapped", None) or parsed
    network = ip_network(f"{mapped}/{24 if mapped.version == 4 else 48}", strict=False)
    assert Addresses().storable(str(parsed)) == str(network.network_address)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        (" 203.0.113.7 ", "203.0.113.0"),
        ("::ffff:203.0.113.7", "203.0.113.0"),
        ("fe80::1:2%eth0", "fe80::"),
        ("203.0.113", None),
        ("203.0.113.7.8", None),
        ("somebody", None),
        ("203.0.113.7\0", None),
        ("", None),
    ],
)
def test_what_is_no_address_is_not_kept(address: str, kept: str | None) -> None:
    assert Addresses().storable(address) == kept


def test_addresses_can_be_dropped() -> None:
    assert Addresses("drop").storable("203.0.113.7") is None


def test_the_country_comes_from_the_operators_database(tmp_path: Path) -> None:
    file = write_countries(
        tmp_path / "countries.mmdb",
        {
            "203.0.113.0/24": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
            "198.51.100.0/24": {"registered_country": {"iso_code": "FR"}},
            "192.0.2.0/24": {"country": "Australia", "country_code": "AU"},
            "2001:db8::/32": {"country": "NZ"},
            "100.64.0.0/10": {"continent": {"code": "EU"}},
        },
    )
    found = Addresses(countries=file)
    countries = {
        address: found.country(address)
        for address in ("203.0.113.7", "198.51.100.1", "192.0.2.9", "2001:db8::7", "100.64.1.1", "9.9.9.9", "nobody")
    }
    assert list(countries.values()) == ["DE", "FR", "AU", "NZ", None, None, None]
    assert Addresses().country("203.0.113.7") is None


def test_a_database_for_ipv4_alone_knows_no_ipv6(tmp_path: Path) -> None:
    file = write_countries(tmp_path / "four.mmdb", {"203.0.113.0/24": {"country_code": "DE"}}, ip_version=4)
    found = Addresses(countries=file)
    assert (found.country("203.0.113.7"), found.country("2001:db8::7")) == ("DE", None)
    assert found.country("::ffff:203.0.113.7") == "DE"


@pytest.mark.parametrize("content", [None, b"", b"no database", b"PK\x03\x04" * 1_000])
def test_a_file_that_is_no_database_stops_the_start_and_says_so(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "countries.mmdb"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SetupError, match=r"country database .*countries\.mmdb cannot be read") as refused:
        Addresses(countries=file)
    assert "GATEWAY_COUNTRY_DATABASE" in refused.value.hint


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        Addresses(countries=tmp_path)
