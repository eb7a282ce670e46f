"""What may be kept and shown of something that was refused: its shape, and a reason without what was in it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import quote

_REASON_CHARS = 300
_EXCERPT_CHARS = 1_000
_DEPTH = 5
_ENTRIES = 40
_NAME_CHARS = 48
_LEAST_CHARS = 3
#: So much of a secret at the end of a text that was cut there is hidden too; and a part of base64 that short is none.
_LEAST_CUT = 6
_HIDDEN = "[…]"
_PERSONAL = re.compile(
    r"[\w.+%-]+@[\w-]+(\.[\w-]+)+"  # an address
    r"|\b(?:\d[ -]?){6,}\d\b"  # a number as long as of a telephone, a card or an account
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b"  # an IP address
    r"|\b[0-9a-fA-F]{16,}\b"  # a key or an id
    r"|(?i:bearer|basic)\s+\S+"
    r"|[\w-]{24,}"
)


def reason_of(said: str, payload: Any = None, secrets: Collection[str] = ()) -> str:
    """What a destination said, without secrets, without what it was sent, and without what looks like either."""
    text = masked(" ".join(said.split()), secrets)
    for value in sorted({one for one in _texts(payload) if len(one) >= _LEAST_CHARS}, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return _PERSONAL.sub(_HIDDEN, text)[:_REASON_CHARS]


def masked(text: str, secrets: Collection[str], sign: str = _HIDDEN) -> str:
    """The text without these secrets: as they are, in an address, in JSON, or in base64, wherever in it they stand; and
    without the beginning of one where the text was cut."""
    forms = sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True)
    for form in forms:
        text = text.replace(form, sign)
    for form in forms:
        for size in range(len(form) - 1, _LEAST_CUT - 1, -1):
            if text.endswith(form[:size]):
                return text[:-size] + sign
    return text


def _forms(secret: str) -> Iterator[str]:
    yield from (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])
    for text in (secret, f"{secret}:"):
        yield base64.b64encode(text.encode()).decode()
    # Behind a user's name it begins at another place of base64's groups of three.
    for before in range(3):
        whole = bytes(before) + secret.encode()
        encoded = base64.b64encode(whole).decode()
        if len(inner := encoded[(before * 8 + 5) // 6 : len(whole) * 8 // 6]) >= _LEAST_CUT:
            yield inner


def excerpt_of(payload: Any) -> str:
    """The shape of a payload as JSON: its keys, and the types and lengths of its values."""
    return json.dumps(_shape(payload, 0), ensure_ascii=False)[:_EXCERPT_CHARS]


def _shape(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        if depth >= _DEPTH:
            return "object"
        entries = sorted(value.items(), key=lambda pair: str(pair[0]))[:_ENTRIES]
        return {_name(str(name)): _shape(one, depth + 1) for name, one in entries}
    if isinstance(value, list | tuple):
        return [_shape(value[0], depth + 1), f"{len(value)} in all"] if value and depth < _DEPTH else "array"
    if isinstance(value, str):
        return f"text of {len(value)}"
    if isinstance(value, bool):
        return "boolean"
    return "null" if value is None else "number"


def _name(name: str) -> str:
    """A key is no secret, unless somebody put a value there."""
    return _PERSONAL.sub(_HIDDEN, name)[:_NAME_CHARS]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
