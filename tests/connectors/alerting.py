"""Alerts for tests of channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.plugin import Alert, Severity

NOW = 1_795_255_200_000

RAISED = Alert(
    id="0f" * 16,
    workspace="main",
    key="connector/crm",
    severity=Severity.CRITICAL,
    title="The connector crm is paused: its credentials are refused",
    text="HTTP 401 <since> & before",
    hint="Set a new token.",
    about=("connector", "crm"),
    first_at=NOW,
    last_at=NOW + 1_000,
    count=3,
)
RESOLVED = replace(RAISED, resolved_at=NOW + 60_000)


class Remembered:
    """A connector's state, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def get(self, key: str) -> Any:
        return self.values.get(key)

    async def put(self, key: str, value: Any) -> None:
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
