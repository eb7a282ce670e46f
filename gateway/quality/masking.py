"""Samples of values that tell of their form and of nobody.

A text of a property that nobody has planned is shown by its shape alone (`aaa@aaaa.aa`, `99999 Aaaaa`). One that is
planned to tell nothing of a person is shown as it is, unless it looks like something that could.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.contract.plan import PropertyDefinition

LONGEST = 40
_LONG_TOKEN = 16
# An address, six digits in a row (telephones, numbers of people and cards), a UUID, or a long word of letters and
# digits mixed (tokens, hashes).
_PERSONAL = re.compile(
    r"@|\d(?:[\s()/.+-]*\d){5,}|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-"
    rf"|(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{{{_LONG_TOKEN},}}"
)


def looks_personal(text: str) -> bool:
    """Whether a text could point to somebody: an address, a telephone number, an id, a token."""
    return _PERSONAL.search(text) is not None


def shape_of(text: str) -> str:
    """The form of a text: letters become `a` or `A`, digits `9`, signs stay; at most LONGEST characters."""
    shape = "".join(_sign(one) for one in text[:LONGEST])
    return shape + "…" if len(text) > LONGEST else shape


def _sign(one: str) -> str:
    if one.isdecimal() or one.isdigit() or one.isnumeric():
        return "9"
    if one.isalpha():
        return "A" if one.isupper() else "a"
    return one if one.isascii() and one.isprintable() else " " if one.isspace() else "?"


def sample_of(value: Any, definition: PropertyDefinition | None) -> str:
    """What may be shown of a value of a property; `definition` is what is planned for it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{len(value)}]"
    if isinstance(value, dict):
        return f"{{{len(value)}}}"
    text = str(value)
    plain = definition is not None and definition.privacy == "none" and len(text) <= LONGEST
    return text if plain and not looks_personal(text) else shape_of(text)


def name_of(key: str) -> str:
    """A property's name as it may be kept: by its shape where it seems to be a value itself."""
    return shape_of(key) if looks_personal(key) else key
