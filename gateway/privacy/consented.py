"""What senders have consented to, as intake stamps it on their events: a small memory in front of MongoDB."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

from gateway.clock import Clock
from gateway.model.consent import Consent
from gateway.model.identity import key_of
from gateway.store.consents import Consents, Words, latest

#: How long what was read is believed: so late may another process stamp what was said in this one.
KNOWN_SECONDS = 2.0
#: How long what was said in this process is remembered beside what is stored, which comes with derivation.
SAID_SECONDS = 60.0
MOST_KEYS = 50_000


class Consented:
    """Consent by identity. Of workspaces where nobody has said anything, nothing is asked on the way in."""

    def __init__(self, store: Consents, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._anybody: dict[str, bool] = {}
        self._known: OrderedDict[bytes, tuple[float, Words]] = OrderedDict()
        self._said: OrderedDict[bytes, tuple[float, Words]] = OrderedDict()

    async def anybody(self, workspace: str) -> bool:
        """Whether anybody of the workspace has said anything, as far as is known here. Raises Unavailable."""
        if workspace not in self._anybody:
            self._anybody[workspace] = await self._store.there_are(workspace)
        return self._anybody[workspace]

    async def stamps(self, workspace: str, sks: Collection[str]) -> Mapping[str, Consent]:
        """What those of these identities consented to who said anything. Raises Unavailable."""
        if not await self.anybody(workspace):
            return {}
        keys = {key_of(workspace, sk): sk for sk in sks}
        now = self._clock.monotonic()
        missing = [key for key in keys if self._known.get(key, (0.0, {}))[0] <= now]
        if missing:
            found = await self._store.of(workspace, missing)
            for key in missing:
                _remember(self._known, key, now + KNOWN_SECONDS, found.get(key, {}))
        words = {sk: self._words(key, now) for key, sk in keys.items()}
        return {sk: {name: word.granted for name, word in said.items()} for sk, said in words.items() if said}

    def said(self, workspace: str, sk: str, words: Words) -> None:
        """Somebody said something in this process: the next event is stamped with it."""
        self._anybody[workspace] = True
        key, now = key_of(workspace, sk), self._clock.monotonic()
        _, before = self._said.get(key, (0.0, {}))
        _remember(self._said, key, now + SAID_SECONDS, latest([before, words]))

    def forget(self) -> None:
        """Somebody was erased: nothing of theirs stays in memory."""
        self._known.clear()
        self._said.clear()

    async def look(self) -> None:
        """See whether anybody has begun to say something. Raises Unavailable."""
        for workspace, anybody in tuple(self._anybody.items()):
            if not anybody:
                self._anybody[workspace] = await self._store.there_are(workspace)

    def _words(self, key: bytes, now: float) -> Words:
        until, said = self._said.get(key, (0.0, {}))
        _, known = self._known.get(key, (0.0, {}))
        return latest([known, said]) if until > now else known


def _remember(memory: OrderedDict[bytes, tuple[float, Words]], key: bytes, until: float, words: Words) -> None:
    memory[key] = (until, words)
    memory.move_to_end(key)
    while len(memory) > MOST_KEYS:
        memory.popitem(last=False)
