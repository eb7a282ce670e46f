"""An event as the message it came as: what intake reads back to the same event, but for the stamps of its own.

`timestamp` is the corrected time, `originalTimestamp` what the device said, `receivedAt` when it was stored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.model.event import Event, EventType, JsonObject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def message_of(event: Event) -> JsonObject:
    """The message in the words of the Segment specification; empty objects and absent ids are left out."""
    message: JsonObject = {"type": event.type.value, "messageId": event.message_id}
    ids = {
        "userId": event.user_id,
        "anonymousId": event.anonymous_id,
        "previousId": event.previous_id,
        "groupId": event.group_id,
    }
    message |= {key: value for key, value in ids.items() if value is not None}
    if event.type is EventType.TRACK:
        message["event"] = event.name
    elif event.name != event.type.value:
        message["name"] = event.name
    message["timestamp"] = wire_time(event.at)
    message["originalTimestamp"] = wire_time(event.at if event.original_timestamp is None else event.original_timestamp)
    if event.sent_at is not None:
        message["sentAt"] = wire_time(event.sent_at)
    message["receivedAt"] = wire_time(event.received_at)
    objects = {"properties": event.properties, "traits": event.traits, "context": event.context}
    return message | {key: value for key, value in objects.items() if value} | event.extra


def wire_time(at: int) -> str:
    """Milliseconds since 1970 as ISO 8601 with Z."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
