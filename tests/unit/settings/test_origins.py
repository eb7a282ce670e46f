"""Origins of write keys: what may be listed, and which browsers that lets in."""

from __future__ import annotations

import pytest

from gateway.access.keys import WriteKey
from gateway.configuration.origins import is_listed, read_origin
from gateway.errors import Forbidden, InvalidInput


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://shop.example", "https://shop.example"),
        (" HTTPS://Shop.Example/ ", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.shop.example", "https://*.shop.example"),
        ("https://*.shop.example:8443", "https://*.shop.example:8443"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(text: str, origin: str) -> None:
    assert read_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "shop.example",
        "https://",
        "https://*",
        "https://*.com",
        "https://shop.example/path",
        "https://shop.example?x",
        "https://user@shop.example",
        "https://sh*p.example",
        "https://shop.*",
        "https://*.*.example",
        "https://shop.example:port",
        "https://" + "a" * 400,
        "javascript:alert(1)",
    ],
)
def test_what_is_no_origin_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_origin(text)
    assert "https://shop.example" in refused.value.hint


LISTED = ("https://shop.example", "https://*.brand.example", "http://localhost:3000")


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "https://SHOP.example",
        "https://www.brand.example",
        "https://a.b.brand.example",
        LISTED[2],
    ],
)
def test_a_listed_origin_may_use_the_key(origin: str) -> None:
    WriteKey("acme", "web", origins=LISTED).check_origin(origin)
    assert is_listed(origin, LISTED)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "https://brand.example",
        "https://evilbrand.example",
        "https://.brand.example",
        "https://evil.example/.brand.example",
        "https://evil.example#.brand.example",
        "https://a@b.brand.example",
        "http://www.brand.example",
        "http://localhost:3001",
    ],
)
def test_no_other_origin_may(origin: str) -> None:
    with pytest.raises(Forbidden, match="origin"):
        WriteKey("acme", "web", origins=LISTED).check_origin(origin)


def test_a_key_without_a_list_and_a_sender_without_an_origin_are_not_asked() -> None:
    WriteKey("acme", "web").check_origin("https://anywhere.example")
    WriteKey("acme", "web", origins=LISTED).check_origin(None)
