"""An event as the message it came as: what intake reads back to the same event, but for the stamps of its own.

`timestamp` is the corrected time, `originalTimestamp` what the device said, `receivedAt` when it was stored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.model.event import DECISIONS, Event, EventType, JsonObject
from gateway.model.identity import Identity, digest

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


class Pseudonyms:
    """Ids replaced by keyed hashes: the same id is always the same hash, and nobody without the key can tell whose."""

    _KEPT = ("type", "event", "name", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "properties")

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def message(self, message: JsonObject) -> JsonObject:
        """The message without traits, context and whatever else is not an id, a time, a name or a property."""
        hashed = {key: message[key] for key in self._KEPT if key in message}
        for key in ("messageId", "userId", "anonymousId", "groupId"):
            if key in message:
                hashed[key] = self.hash(key, message[key])
        if "previousId" in message:
            # It has to meet the hash of the anonymous id that it is, or say as little as before.
            same = message["previousId"] == message.get("userId")
            hashed["previousId"] = self.hash("userId" if same else "anonymousId", message["previousId"])
        if message["type"] in DECISIONS:  # whom it names, and neither the reason nor who decided
            sides = {side: [self._sk(str(sk)) for sk in message["properties"][side]] for side in ("one", "other")}
            hashed["properties"] = sides
        return hashed

    def _sk(self, sk: str) -> str:
        identity = Identity.from_sk(sk)
        return Identity(identity.type, self.hash(identity.type, identity.value)).sk

    def hash(self, kind: str, value: str) -> str:
        """32 hexadecimal digits; what stands for nobody in particular stays, or strangers would become one person."""
        if Identity("anonymousId", value).blocked:
            return value
        return digest(self._secret, kind, value).hex()
