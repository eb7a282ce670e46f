"""Survey responses as events: the log has them like all else, so that order, merges, erasure and rebuild hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.model.event import JsonObject
from gateway.model.response import RESPONDED, SCORES
from gateway.plugin import Response


def as_message(row: JsonObject | Response) -> JsonObject:
    """What intake takes: a message as it is, a response as a `track` whose id is the response's own."""
    if not isinstance(row, Response):
        return row
    own = f"response:{row.source}:{row.external_id}"
    properties: dict[str, Any] = {
        "survey": row.survey,
        "responseId": row.external_id,
        "source": row.source,
        "complete": row.complete,
        "answers": [
            {
                "question": answer.question,
                "value": answer.value,
                **({"text": answer.text} if answer.text is not None else {}),
                **({"kind": answer.kind} if answer.kind is not None else {}),
            }
            for answer in row.answers
        ],
    }
    # As one's own surveys are sent: what a KPI reads.
    for answer in reversed(row.answers):
        if answer.kind in SCORES and isinstance(answer.value, int | float) and not isinstance(answer.value, bool):
            properties["score"] = answer.value
        elif answer.kind == "text" and isinstance(answer.value, str):
            properties["comment"] = answer.value
    if row.touchpoint is not None:
        properties["touchpoint"] = row.touchpoint
    if row.metadata:
        properties["metadata"] = dict(row.metadata)
    # Who answered anonymously is somebody of their own: no two responses are taken for one person.
    kind, value = ("anonymousId", own) if row.identity is None else (row.identity.type, row.identity.value)
    at = datetime.fromtimestamp(row.at / 1000, UTC).isoformat()
    return {
        "type": "track",
        "event": RESPONDED,
        "messageId": own,
        "timestamp": at,
        "properties": properties,
        kind: value,
    }
