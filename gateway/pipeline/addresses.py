"""IP addresses: the country they stand for, and the part of them that may be stored."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Any, Literal

import maxminddb

from gateway.errors import SetupError

#: What is left of 4 or 16 bytes: the network of some hundred households, or of one site.
KEPT_BYTES = {4: 3, 16: 6}
_MAPPED = bytes(10) + b"\xff\xff"
_COUNTRY = re.compile("[A-Z]{2}")


class Addresses:
    """What becomes of addresses; one per process. Raises SetupError for a database that cannot be read."""

    def __init__(self, keep: Literal["truncate", "drop"] = "truncate", countries: Path | None = None) -> None:
        self._keep = keep
        self._countries = None if countries is None else _open(countries)
        self._ipv6 = self._countries is not None and self._countries.metadata().ip_version == 6

    @property
    def know_countries(self) -> bool:
        """Whether there is a database to ask."""
        return self._countries is not None

    def country(self, address: str) -> str | None:
        """The country's two letters, by the operator's database; None without one."""
        packed = None if self._countries is None else _packed(address)
        if self._countries is None or packed is None or (len(packed) == 16 and not self._ipv6):
            return None
        return _country_of(self._countries.get(_written(packed)))

    def storable(self, address: str) -> str | None:
        """The address without its last bits (/24, /48), or None when addresses are dropped or this is none."""
        return _truncated(address) if self._keep == "truncate" else None


@lru_cache(4_096)
def _truncated(address: str) -> str | None:
    packed = _packed(address)
    if packed is None:
        return None
    kept = KEPT_BYTES[len(packed)]
    return _written(packed[:kept] + bytes(len(packed) - kept))


def country_code(value: object) -> str | None:
    """`value` when it is the two letters of a country, in capitals."""
    return value if isinstance(value, str) and _COUNTRY.fullmatch(value) else None


def _packed(address: str) -> bytes | None:
    """Its 4 or 16 bytes; an IPv4 address inside an IPv6 one is an IPv4 address."""
    address = address.strip().partition("%")[0]
    try:
        if ":" not in address:
            return inet_pton(AF_INET, address)
        packed = inet_pton(AF_INET6, address)
    except (OSError, ValueError):
        return None
    return packed.removeprefix(_MAPPED)


def _written(packed: bytes) -> str:
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


def _open(path: Path) -> maxminddb.Reader:
    try:
        reader = maxminddb.open_database(path)
        _country_of(reader.get("192.0.2.1"))
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        reason = isinstance(error, OSError) and error.strerror
        raise SetupError(
            f"The country database {path} cannot be read: {reason or 'it is not in that format'}.",
            hint="GATEWAY_COUNTRY_DATABASE names a file in MaxMind's format, such as GeoLite2-Country.mmdb.",
        ) from error
    return reader


def _country_of(record: Any) -> str | None:
    """The code in a record, in the layouts of MaxMind and DB-IP (nested) and of IPinfo (flat)."""
    if not isinstance(record, dict):
        return None
    for name in ("country", "registered_country"):
        found = record.get(name)
        code = country_code(found.get("iso_code") if isinstance(found, dict) else found)
        if code is not None:
            return code
    return country_code(record.get("country_code"))
