"""Who is suppressed, remembered whole by every process: a set of hashes that asks nothing of MongoDB."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from gateway.access.grant import Bell
from gateway.model.identity import Identity, key_of
from gateway.store.suppressions import Suppressions


class Suppressed:
    """Identities whose events are refused. A change by another process is known at the next `look`."""

    def __init__(self, store: Suppressions) -> None:
        self._store = store
        self._keys: set[bytes] = set()
        self._bells: set[Bell] = set()
        self._number = 0

    def __bool__(self) -> bool:
        """Whether anybody is."""
        return bool(self._keys)

    def names(self, workspace: str, sk: str) -> bool:
        """Whether this identity is suppressed; costs nothing as long as nobody is."""
        return bool(self._keys) and key_of(workspace, sk) in self._keys

    def has(self, workspace: str, identity: Identity | None) -> bool:
        """The same for an identity; nobody is not."""
        return identity is not None and self.names(workspace, identity.sk)

    def any_of(self, keys: Collection[bytes]) -> bool:
        """Whether one of these keys is that of a suppressed identity."""
        return not self._keys.isdisjoint(keys)

    def user(self, users: Collection[str]) -> bool:
        """Whether one of these ids of users is made of a suppressed identity."""
        return bool(self._keys) and self.any_of([bytes.fromhex(user) for user in users])

    async def look(self) -> None:
        """Take over what has changed, page by page. Raises Unavailable."""
        news = False
        while changes := await self._store.changes(self._number):
            if changes[-1].number <= self._number:
                continue  # somebody who looked at the same time has seen more
            self._number = changes[-1].number
            for change in changes:
                (self._keys.add if change.suppressed else self._keys.discard)(change.key)
            news = True
        if news:
            for bell in self._bells:
                bell.ring()

    @contextmanager
    def bell(self) -> Iterator[Bell]:
        """A bell that rings when somebody is suppressed, or no longer."""
        bell = Bell()
        self._bells.add(bell)
        try:
            yield bell
        finally:
            self._bells.discard(bell)
