"""What is sent: message `number` of a plan is a function of the seed, so that a history need only keep numbers.

People come for a few messages at a time, and in pods of four. Each is anonymous at first, under up to three ids, and
known later: `identify` and `alias` merge them; now and then an id is linked to a second person of the pod (to be
refused) or to nobody (`anonymous`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

DAY = 86_400_000
HOUR = 3_600_000
#: So many messages in a row are one person's.
_VISIT = 5
_TRACKS = ("Product Viewed",) * 6 + ("Product List Viewed",) * 3 + ("Product Added",) * 2 + ("Checkout Started",) * 2
_NAMES = (*_TRACKS, "Order Completed", "Searched", "Coupon Seen")
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """`start`: when the run began (ms); `people` share about `events` messages."""

    seed: int
    start: int
    people: int
    events: int

    def message_id(self, number: int) -> str:
        return f"{self.seed}-{number}"

    def number_of(self, message_id: str) -> int | None:
        """The number of a message of this plan; None for what nobody sent."""
        seed, _, number = message_id.partition("-")
        return int(number) if seed == str(self.seed) and number.isdecimal() else None

    def message(self, number: int) -> Message:
        """The message as it is sent, each time."""
        chance = random.Random(self.seed * 1_000_003 + number)
        person = random.Random(f"visit {self.seed} {number // _VISIT}").randrange(self.people)
        progress = min(1.0, number / self.events)
        known = progress > 0.2 + 0.6 * random.Random(self.seed * 31 + person).random()
        sent: Message = {"messageId": self.message_id(number)}
        sent |= _identified(chance, person) if known else _anonymous(chance, person)
        at = self._at(chance, person, progress)
        if at is not None:
            sent["timestamp"] = at
        key = "traits" if sent["type"] in ("identify", "group") else "properties"
        sent[key] = {"n": number, "pad": "x" * chance.randrange(200)}
        return sent

    def _at(self, chance: random.Random, person: int, progress: float) -> int | None:
        """Milliseconds. A twentieth of the people send no time at all, some live days ago; one in 50 is late."""
        if person % 20 == 3:
            return None
        at = self.start - 3 * DAY + int(progress * 2.8 * DAY) + chance.randrange(120_000)
        if person % 50 == 1:
            at -= 8 * DAY
        if chance.random() < 0.02:
            at -= chance.randrange(6 * HOUR)
        return at // 60_000 * 60_000 if chance.random() < 0.1 else at


def _anonymous(chance: random.Random, person: int) -> Message:
    anonymous = "anonymous" if chance.random() < 0.0005 else f"a{person}-{chance.randrange(3)}"
    return {**_call(chance), "anonymousId": anonymous}


def _identified(chance: random.Random, person: int) -> Message:
    user, kind = f"u{person}", chance.random()
    if kind < 0.08:
        return {"type": "identify", "userId": user, "anonymousId": _other_id(chance, person)}
    if kind < 0.10:
        return {"type": "alias", "userId": user, "previousId": f"a{person}-2"}
    if kind < 0.12:
        return {"type": "group", "userId": user, "groupId": f"g{person % 7}"}
    if kind < 0.6:
        return {**_call(chance), "userId": user}
    return {**_call(chance), "userId": user, "anonymousId": f"a{person}-{chance.randrange(3)}"}


def _other_id(chance: random.Random, person: int) -> str:
    kind = chance.random()
    if kind < 0.005:
        return "anonymous"
    if kind < 0.05:
        return f"a{person // 4 * 4 + (person + 1) % 4}-0"
    return f"a{person}-{chance.randrange(3)}"


def _call(chance: random.Random) -> Message:
    if chance.random() < 0.05:
        return {"type": "page", "name": "Home"}
    return {"type": "track", "event": chance.choice(_NAMES)}
