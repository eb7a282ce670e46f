"""Hashes of what a contract says, whatever the order of its keys and its comments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, is_dataclass
from datetime import timedelta
from hashlib import blake2b

import orjson

#: Metadata of a field that the language of contract files got later: without it, a file keeps the hash it had.
ONLY_IF_SAID = {"hashed": "only if said"}

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS


def content_hash(content: object, *, without: Collection[str] = ()) -> str:
    """32 hexadecimal digits of BLAKE2b over the canonical JSON of dataclasses and plain values.

    Fields named in `without`, and fields computed from others, are left out at every depth.
    """

    def plain(value: object) -> object:
        if isinstance(value, timedelta):
            return value.total_seconds()
        if is_dataclass(value) and not isinstance(value, type):
            said = {item.name: getattr(value, item.name) for item in fields(value) if item.init}
            for item in fields(value):
                if item.metadata == ONLY_IF_SAID and said[item.name] == item.default:
                    del said[item.name]
            return {name: part for name, part in said.items() if name not in without}
        raise TypeError(f"{type(value).__name__} has no canonical JSON")

    return blake2b(orjson.dumps(content, default=plain, option=_OPTIONS), digest_size=16).hexdigest()
