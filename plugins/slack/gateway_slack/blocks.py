"""An alert as a Slack message."""

from __future__ import annotations

from typing import Any

from gateway.plugin import Alert, Severity

_SIGNS = {
    Severity.INFO: ":information_source:",
    Severity.WARNING: ":warning:",
    Severity.CRITICAL: ":rotating_light:",
}
_RESOLVED = ":white_check_mark:"
#: Slack's own limits: a header, a section, a notification.
_HEADER, _SECTION, _TEXT = 150, 3_000, 3_000


def text_of(alert: Alert) -> str:
    """One line, for notifications."""
    return _shortened(_escaped(_title(alert)), _TEXT)


def blocks_of(alert: Alert) -> list[dict[str, Any]]:
    """Title, text, what to do, and what it concerns."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _shortened(_title(alert), _HEADER), "emoji": True}}
    ]
    if alert.resolved_at is None:
        if alert.text:
            blocks.append(_section(alert.text))
        if alert.hint:
            blocks.append(_section(alert.hint, before="*What to do:* "))
    kind, key = alert.about
    facts = [f"{kind}: {key}", f"severity: {alert.severity.value}", f"workspace: {alert.workspace}"]
    if alert.count > 1:
        facts.append(f"{alert.count:,} times")
    facts.append(_since(alert))
    elements = [{"type": "mrkdwn", "text": one if one.startswith("<!date") else _escaped(one)} for one in facts]
    blocks.append({"type": "context", "elements": elements})
    return blocks


def _title(alert: Alert) -> str:
    if alert.resolved_at is not None:
        return f"{_RESOLVED} Resolved: {alert.title}"
    return f"{_SIGNS[alert.severity]} {alert.title}"


def _since(alert: Alert) -> str:
    """A moment that Slack shows in each reader's own time."""
    word, at = ("since", alert.first_at) if alert.resolved_at is None else ("resolved", alert.resolved_at)
    return f"<!date^{at // 1000}^{word} {{date_short_pretty}} {{time}}|{word} {at // 1000}>"


def _section(text: str, before: str = "") -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _shortened(before + _escaped(text), _SECTION)}}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
