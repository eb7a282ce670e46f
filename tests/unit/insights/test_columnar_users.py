"""Who is whose is followed for those who ask, and rests while nobody does."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import ServerClock
from gateway.insights.columnar.users import Directory
from gateway.model.identity import key_of
from gateway.store.columnar_users import IdentityKeys
from gateway.store.database import Database, Timestamp


async def known(database: Database, name: str) -> None:
    key = key_of("w", f"u:{name}")
    await database.insert_many("identities", [{"_id": key, "workspace": "w", "sk": f"u:{name}", "user": key.hex()}])


async def test_nothing_is_read_while_nobody_asks_and_who_asks_has_everybody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    settled = IdentityKeys.settled

    async def counted(self: IdentityKeys) -> Timestamp:
        read.append("settled")
        return await settled(self)

    monkeypatch.setattr(IdentityKeys, "settled", counted)
    directory = Directory(database, ServerClock())
    try:
        await known(database, "ann")
        assert len(await directory.users("w")) == 1
        before = len(read)
        await asyncio.sleep(0.5)
        assert len(read) <= before + 3, "it goes to rest"
        first = await directory.users("w")
        for number in range(20):
            await known(database, f"bob-{number}")
            assert len(await directory.users("w")) == 2 + number, "at once, whoever came last"
        latest = await directory.users("w")
        assert latest.moves == first.moves, "nobody who was there is anybody else"
        await database.update_many("identities", {"sk": "u:ann"}, {"$set": {"user": key_of("w", "u:bob-0").hex()}})
        moved = await directory.users("w")
        assert len(moved) == 20
        assert moved.moves != latest.moves
    finally:
        await directory.close()
