"""Writes country databases in MaxMind's format (MaxMind DB File Format Specification 2.0), as small as they get."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple

_MARKER = b"\xab\xcd\xefMaxMind.com"
_NOTHING = None


class _Number(NamedTuple):
    """A number of one of the format's kinds: 5, 6, 9 for 16, 32, 64 bits."""

    kind: int
    value: int


def write_countries(path: Path, records: Mapping[str, Any], *, ip_version: int = 6) -> Path:
    """A database that knows these networks, by record; IPv4 networks are below ::/96, as in real ones."""
    data, offsets = b"", {}
    for name, record in records.items():
        offsets[name] = len(data)
        data += _encoded(record)
    nodes: list[list[Any]] = [[_NOTHING, _NOTHING]]
    for name in records:
        _insert(nodes, _bits(name, ip_version), ("data", offsets[name]))
    tree = b"".join(_number(record, len(nodes)).to_bytes(3, "big") for node in nodes for record in node)
    metadata = {
        "node_count": _Number(6, len(nodes)),
        "record_size": _Number(5, 24),
        "ip_version": _Number(5, ip_version),
        "database_type": "Test-Country",
        "languages": ["en"],
        "binary_format_major_version": _Number(5, 2),
        "binary_format_minor_version": _Number(5, 0),
        "build_epoch": _Number(9, 1_700_000_000),
        "description": {"en": "A test"},
    }
    path.write_bytes(tree + bytes(16) + data + _MARKER + _encoded(metadata))
    return path


def _bits(name: str, ip_version: int) -> str:
    network = ip_network(name)
    bits = format(int(network.network_address), f"0{network.max_prefixlen}b")[: network.prefixlen]
    return "0" * 96 + bits if ip_version == 6 and network.version == 4 else bits


def _insert(nodes: list[list[Any]], bits: str, record: Any) -> None:
    node = 0
    for bit in bits[:-1]:
        below = nodes[node][int(bit)]
        if below is _NOTHING:
            nodes.append([_NOTHING, _NOTHING])
            below = nodes[node][int(bit)] = len(nodes) - 1
        node = below
    nodes[node][int(bits[-1])] = record


def _number(record: Any, count: int) -> int:
    if record is _NOTHING:
        return count
    return record if isinstance(record, int) else count + 16 + int(record[1])


def _encoded(value: Any) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return _control(2, len(text)) + text
    if isinstance(value, _Number):
        number = value.value.to_bytes((value.value.bit_length() + 7) // 8, "big")
        return _control(value.kind, len(number)) + number
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(_encoded, value))
    return _control(7, len(value)) + b"".join(_encoded(key) + _encoded(item) for key, item in value.items())


def _control(kind: int, size: int) -> bytes:
    if kind < 8:
        return bytes([kind << 5 | size])
    return bytes([size, kind - 7])
