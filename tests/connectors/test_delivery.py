"""Delivery: each event once, through restarts and take-overs, in order per user, whatever destinations answer."""

from __future__ import annotations

from gateway.store.database import Database
from tests.connectors.delivering import Recorder, Stage, event, instance, until


def recorder(stage: Stage, name: str = "sink") -> Recorder:
    found = stage.instances[name].connector
    assert isinstance(found, Recorder)
    return found


async def test_an_event_is_delivered_once_and_not_again_after_a_restart(database: Database) -> None:
    async with Stage(database, instance()).running() as first:
        await first.store(event(1))
        await until(lambda: recorder(first).names == ["ada 1"])
    async with Stage(database, instance()).running() as second:
        await second.store(event(2))
        await until(lambda: recorder(second).names == ["ada 2"])
    assert [item.key for item in recorder(first).got] == [event(1).id.hex()]
