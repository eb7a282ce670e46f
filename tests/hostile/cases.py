"""What a hostile request looks like: the request, and the verdict that it must get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """One request and its verdict: one of `status`, and the `code` of the refusal where there is one.

    Headers may name `{write}`, `{api}`, `{user}`, `{page}`, `{visitor}` and `{other}`: credentials that the test has
    (`{other}` is an API key of another workspace).
    """

    name: str
    path: str
    status: tuple[int, ...]
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    code: str | None = None

    def __str__(self) -> str:
        return self.name


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


JSON = {"content-type": "application/json"}
WRITE = {"authorization": "Basic {write}", **JSON}
API = {"authorization": "Bearer {api}", **JSON}
USER = {"authorization": "Bearer {user}", **JSON}
VISITOR = {"authorization": "Bearer {visitor}", **JSON}


def track(message_id: str = "m1", **rest: Any) -> dict[str, Any]:
    """A good event."""
    return {"type": "track", "event": "Product Viewed", "userId": "ada", "messageId": message_id, **rest}


def nested(depth: int, value: Any = "deep") -> Any:
    for _ in range(depth):
        value = {"a": value}
    return value
