"""What people consented to, by identity and purpose, as the consent events say it.

Only an identity's key stands here, not the identity. The latest word about a purpose counts, in the order of events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gateway.model.event import Event, OrderKey
from gateway.model.identity import Identity, key_of
from gateway.store.database import Database, Document, ReplaceOne, Session

COLLECTION = "consents"


@dataclass(frozen=True, slots=True)
class Word:
    """What was said last about a purpose: granted or denied, when (`order`), and where it was asked (`source`)."""

    granted: bool
    order: OrderKey
    source: str


#: By purpose.
Words: TypeAlias = Mapping[str, Word]


class Consents:
    """Rows: `_id` (the identity's key), `workspace`, `purposes`: by name `granted`, `order` and `source`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def there_are(self, workspace: str) -> bool:
        """Whether anybody in the workspace has said anything."""
        return await self._database.find_one(COLLECTION, {"workspace": workspace}, projection={"_id": 1}) is not None

    async def of(
        self, workspace: str, keys: Collection[bytes], *, session: Session | None = None
    ) -> dict[bytes, dict[str, Word]]:
        """What is known of identities, by their keys."""
        wanted = {"_id": {"$in": list(keys)}, "workspace": workspace}
        rows = await self._database.find(COLLECTION, wanted, session=session)
        return {bytes(row["_id"]): {name: _word(one) for name, one in row["purposes"].items()} for row in rows}

    async def take(self, workspace: str, events: Iterable[Event], session: Session) -> None:
        """Write what consent events say, unless something later is known. By the owner of their lane alone."""
        said = [(key_of(workspace, event.identity.sk), words_of(event)) for event in events]
        known = await self.of(workspace, [key for key, _ in said], session=session)
        for key, words in said:
            known[key] = latest([known.get(key, {}), words])
        rows = [
            ReplaceOne({"_id": key, "workspace": workspace}, _row(workspace, key, known[key]), upsert=True)
            for key in dict(said)
        ]
        await self._database.bulk_write(COLLECTION, list(rows), session=session)

    async def remove(self, workspace: str, keys: Collection[bytes], session: Session | None = None) -> int:
        """Forget what these identities said."""
        wanted = {"_id": {"$in": list(keys)}, "workspace": workspace}
        return await self._database.delete_many(COLLECTION, wanted, session=session)


def words_of(event: Event) -> dict[str, Word]:
    """What a consent event says."""
    source = str(event.properties.get("source") or "")
    return {name: Word(bool(granted), event.order, source) for name, granted in event.properties["purposes"].items()}


def latest(several: Iterable[Words]) -> dict[str, Word]:
    """The latest word about each purpose."""
    found: dict[str, Word] = {}
    for words in several:
        for purpose, word in words.items():
            if purpose not in found or found[purpose].order < word.order:
                found[purpose] = word
    return found


def keys_of(workspace: str, identities: Iterable[Identity]) -> list[bytes]:
    """The keys of identities."""
    return [key_of(workspace, identity.sk) for identity in identities]


def _word(stored: Document) -> Word:
    at, seq, key = stored["order"]
    return Word(stored["granted"], (at, seq, bytes(key)), stored["source"])


def _row(workspace: str, key: bytes, words: Words) -> Document:
    purposes = {
        name: {"granted": word.granted, "order": list(word.order), "source": word.source}
        for name, word in words.items()
    }
    return {"_id": key, "workspace": workspace, "purposes": purposes}
