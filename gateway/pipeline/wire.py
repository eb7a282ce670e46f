"""Messages with their ids replaced, for logs that leave the house."""

from __future__ import annotations

from gateway.model.event import DECISIONS, JsonObject
from gateway.model.identity import Identity, digest


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
