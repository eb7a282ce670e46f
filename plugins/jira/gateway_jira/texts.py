"""An alert in words, and words as Jira Cloud takes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.plugin import Alert

_SUMMARY = 255


def summary(alert: Alert) -> str:
    """The issue's title: one line."""
    line = " ".join(alert.title.split())
    return line if len(line) <= _SUMMARY else f"{line[: _SUMMARY - 1]}…"


def raised(alert: Alert) -> list[str]:
    """The issue's description, by paragraph."""
    kind, key = alert.about
    facts = (
        f"{kind}: {key}; severity: {alert.severity.value}; workspace: {alert.workspace}; since {_time(alert.first_at)}"
    )
    hint = f"What to do: {alert.hint}" if alert.hint else ""
    return [one for one in (alert.text, hint, facts) if one]


def resolved(alert: Alert) -> list[str]:
    """What is said when it is over."""
    times = "once" if alert.count == 1 else f"{alert.count:,} times"
    at = alert.last_at if alert.resolved_at is None else alert.resolved_at
    return [f"Resolved by itself at {_time(at)}; it was met {times} since {_time(alert.first_at)}."]


def document(paragraphs: list[str]) -> dict[str, Any]:
    """Paragraphs in the Atlassian Document Format."""
    content = [{"type": "paragraph", "content": [{"type": "text", "text": one}]} for one in paragraphs if one]
    return {"type": "doc", "version": 1, "content": content}


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
