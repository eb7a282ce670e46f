"""Events in an address: which pages may show the image."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from gateway.access.keys import WriteKey
from gateway.collect.senders import Senders
from gateway.errors import Forbidden

LISTED = WriteKey("main", "web", origins=("https://*.shop.example", "https://shop.example"))


@pytest.mark.parametrize(
    "headers",
    [
        {"referer": "https://shop.example/"},
        {"referer": "https://www.shop.example/cart?step=2"},
        {"origin": "https://shop.example"},  # has been looked at with the key
    ],
)
def test_a_page_that_is_listed_may(headers: dict[str, str]) -> None:
    Senders.check_page(LISTED, Headers(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"referer": ""},
        {"referer": "https://other.example/https://shop.example/"},
        {"referer": "https://shop.example.other.example/"},
        {"referer": "https://shop.example@other.example/"},
        {"referer": "http://shop.example/"},
        {"referer": "shop.example"},
        {"referer": "https://[shop.example/"},
    ],
)
def test_another_page_and_none_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        Senders.check_page(LISTED, Headers(headers))


def test_a_key_without_origins_is_for_every_page() -> None:
    Senders.check_page(WriteKey("main", "web"), Headers({}))
