"""Who a request comes from, and whom to believe about it."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.datastructures import Headers

from gateway.collect.peers import Peers
from gateway.errors import SetupError
from gateway.pipeline.clients import Peer
from gateway.settings import Settings


def peer(address: str | None, trusted: str = "", header: str | None = None, **headers: str) -> Peer:
    settings = Settings(trusted_proxies=tuple(trusted.split(",")) if trusted else (), country_header=header)
    return Peers(settings).of_request(scope(address), given(headers))


def scope(address: str | None) -> dict[str, Any]:
    return {"type": "http", "scheme": "http", "client": None if address is None else (address, 4711)}


def given(headers: dict[str, str]) -> Headers:
    return Headers({name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("address", "trusted", "forwarded", "found"),
    [
        ("198.51.100.1", "", "203.0.113.7", "198.51.100.1"),
        ("198.51.100.1", "10.0.0.0/8", "203.0.113.7", "198.51.100.1"),
        ("10.1.2.3", "10.0.0.0/8", "203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "10.0.0.0/8", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "10.0.0.0/8", "1.1.1.1, 203.0.113.7, 10.9.9.9", "203.0.113.7"),
        ("10.1.2.3", "10.0.0.0/8", "10.3.3.3, 10.9.9.9", "10.3.3.3"),
        ("10.1.2.3", "10.0.0.0/8", "203.0.113.7:4711", "203.0.113.7"),
        ("10.1.2.3", "10.0.0.0/8", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.1.2.3", "10.0.0.0/8", "2001:db8::1", "2001:db8::1"),
        ("10.1.2.3", "10.1.2.3", "203.0.113.7", "203.0.113.7"),
        ("::1", "10.0.0.0/8,::1", "203.0.113.7", "203.0.113.7"),
        ("10.1.2.3", "10.0.0.0/8", "", ""),
        (None, "10.0.0.0/8", "203.0.113.7", None),
    ],
)
def test_a_forwarded_address_counts_as_far_as_trusted_proxies_tell_it(
    address: str | None, trusted: str, forwarded: str, found: str | None
) -> None:
    assert peer(address, trusted, x_forwarded_for=forwarded).ip == found


def test_without_the_header_a_proxy_is_the_peer_itself() -> None:
    assert peer("10.1.2.3", "10.0.0.0/8").ip == "10.1.2.3"


@pytest.mark.parametrize(
    ("address", "trusted", "header", "value", "country"),
    [
        ("198.51.100.1", "", None, "DE", None),
        ("198.51.100.1", "", "cf-ipcountry", "DE", "DE"),
        ("198.51.100.1", "", "CF-IPCountry", "de", "DE"),
        ("198.51.100.1", "", "cf-ipcountry", "XX", None),
        ("198.51.100.1", "", "cf-ipcountry", "T1", None),
        ("198.51.100.1", "", "cf-ipcountry", "Germany", None),
        ("198.51.100.1", "10.0.0.0/8", "cf-ipcountry", "DE", None),
        ("10.1.2.3", "10.0.0.0/8", "cf-ipcountry", "DE", "DE"),
    ],
)
def test_a_country_counts_when_its_header_is_set_and_a_trusted_proxy_brings_it(
    address: str, trusted: str, header: str | None, value: str, country: str | None
) -> None:
    assert peer(address, trusted, header, cf_ipcountry=value).country == country


def test_the_gateways_own_address_is_the_one_that_senders_use() -> None:
    headers = {"host": "inside:8000", "x_forwarded_proto": "https", "x_forwarded_host": "events.example"}
    proxied = Settings(trusted_proxies=("10.0.0.0/8",))
    assert Peers(proxied).base_url(scope("10.1.2.3"), given(headers)) == "https://events.example"
    assert Peers(proxied).base_url(scope("9.9.9.9"), given(headers)) == "http://inside:8000"
    public = Settings(public_url="https://public.example/")
    assert Peers(public).base_url(scope("9.9.9.9"), given(headers)) == "https://public.example"


@pytest.mark.parametrize(
    ("proto", "host", "found"),
    [
        ("HTTPS", "events.example:8443", "https://events.example:8443"),
        ("https", "[2001:db8::1]:443", "https://[2001:db8::1]:443"),
        ("https", "events.example, inner.example", "https://events.example"),
        ("javascript", "events.example", "http://events.example"),
        ("https", "evil.example/path", "https://inside:8000"),
        ("https", "user@evil.example", "https://inside:8000"),
        ("https", 'x"><script>', "https://inside:8000"),
        ("https", "evil.example\r\nX: 1", "https://inside:8000"),
        ("https", "", "https://inside:8000"),
        ("https", "events.example:port", "https://inside:8000"),
    ],
)
def test_what_a_trusted_proxy_passes_on_must_be_a_scheme_and_a_host(proto: str, host: str, found: str) -> None:
    headers = given({"host": "inside:8000", "x_forwarded_proto": proto, "x_forwarded_host": host})
    assert Peers(Settings(trusted_proxies=("10.0.0.0/8",))).base_url(scope("10.1.2.3"), headers) == found


@pytest.mark.parametrize(
    ("host", "origin", "found"),
    [
        ("events.example", "https://shop.example", "https://events.example"),
        ("events.example", "http://shop.example", "http://events.example"),
        ("events.example", "", "http://events.example"),
        ("127.0.0.1:8000", "https://shop.example", "http://127.0.0.1:8000"),
        ("localhost:8000", "https://shop.example", "http://localhost:8000"),
        ("[::1]:8000", "https://shop.example", "http://[::1]:8000"),
    ],
)
def test_a_page_that_came_encrypted_has_asked_so_too(host: str, origin: str, found: str) -> None:
    headers = {"host": host, **({"origin": origin} if origin else {})}
    assert Peers(Settings()).base_url(scope("9.9.9.9"), given(headers)) == found


def test_on_a_socket_file_it_is_a_proxy_that_asks() -> None:
    peers = Peers(Settings(host="unix:/run/gateway.sock"))
    headers = given({"x_forwarded_for": "203.0.113.7", "x_forwarded_proto": "https", "host": "events.example"})
    assert peers.of_request(scope(None), headers).ip == "203.0.113.7"
    assert peers.base_url(scope(None), headers) == "https://events.example"


@pytest.mark.parametrize("name", ["everybody", "10.0.0.0/99", ""])
def test_a_network_that_is_none_stops_the_start(name: str) -> None:
    with pytest.raises(SetupError, match="GATEWAY_TRUSTED_PROXIES"):
        Peers(Settings(trusted_proxies=(name,)))
