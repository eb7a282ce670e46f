"""Every command on a tenant's collection names the workspace; the few that work for all of them are listed here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.clock import ServerClock
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.derive import Derivation
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.owner import Deriver
from gateway.store import collections
from gateway.store.database import CommandListener, connect
from gateway.store.events import Events
from gateway.store.lanes import Lanes
from gateway.store.quarantine import Quarantine
from tests.flow.test_derive_equals_oracle import contract
from tests.pace import PATIENCE

TENANTS = {collection.name for collection in collections.COLLECTIONS} - {"lanes", "keys", "contracts"}

#: The owner of derivation and a credential's look-up work for every workspace.
FOR_ALL = {
    ("find", "users", "dueAt"),
    ("find", "users", "maps"),
    ("find", "events", "$or"),  # the first owner reads every stored event
    ("aggregate", "feed", "writtenAt"),
    ("find", "suppressions", "_id"),  # whether anybody was ever erased
    ("find", "erasures", "status"),  # what the owner of a lane has to go on with
    ("find", "work", "pending"),  # likewise
    ("find", "requests", "status"),  # those that wait for their first event, whose lane is looked at then
    ("find", "users", "lane"),  # those of its lanes whom time has changed
    ("delete", "feed", "_id"),
    ("delete", "work", "doneAt"),
    ("aggregate", "feed", "$changeStream"),
    ("aggregate", "events", "$changeStream"),
}


class Watcher(CommandListener):
    """Collects commands that name no workspace."""

    def __init__(self) -> None:
        self.seen = 0
        self.without: list[tuple[str, str, str]] = []

    def started(self, event: Any) -> None:
        name, command = event.command_name, event.command
        collection = command.get(name) if isinstance(command.get(name), str) else command.get("collection")
        if collection not in TENANTS or name in ("createIndexes", "create", "getMore", "killCursors"):
            return
        for wanted in filters(name, command):
            self.seen += 1
            key = (name, collection, next(iter(wanted), ""))
            if not isinstance(wanted.get("workspace"), str) and key not in FOR_ALL:
                self.without.append(key)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


def filters(name: str, command: Any) -> list[Any]:
    """What a command selects by, or the documents it inserts."""
    if name == "aggregate":
        first = command["pipeline"][0] if command["pipeline"] else {}
        return [first.get("$match", first)]
    if name == "insert":
        return list(command.get("documents", []))
    if name == "update":
        return [one["q"] | written(one) for one in command["updates"]]
    if name == "delete":
        return [one["q"] for one in command["deletes"]]
    return [command.get("filter") or command.get("query") or {}]


def written(update: Any) -> dict[str, Any]:
    """The workspace that an update by `_id` alone writes: what is found so belongs to it (`Database.key`)."""
    if update["q"].keys() != {"_id"} or not isinstance(update["u"], Mapping):
        return {}
    said = {**update["u"].get("$setOnInsert", {}), **update["u"].get("$set", {}), **update["u"]}
    return {"workspace": said["workspace"]} if "workspace" in said else {}


async def test_intake_and_derivation_name_the_workspace(mongo_uri: str) -> None:
    watcher = Watcher()
    database = connect(mongo_uri, "workspace_rule", listeners=[watcher])
    await database.drop_database()
    await collections.prepare(database)
    lanes, events, clock = Lanes(database), Events(database), ServerClock()
    await lanes.prepare()
    deriver = Deriver(database, Derivation.of(database, Contracts.fixed(contract())), clock)
    running = asyncio.create_task(deriver.run())
    intake = Intake(events, Quarantine(database), clock)
    for workspace in ("w1", "w2"):
        messages: list[Any] = [
            {"type": "track", "event": "View", "anonymousId": "a", "messageId": "1"},
            {"type": "identify", "userId": "ada", "anonymousId": "a", "messageId": "2"},
            {"type": "track", "event": "Add", "userId": "ada", "timestamp": 1_000, "messageId": "3"},
            {"type": "nothing"},
        ]
        await intake.ingest(Delivery(workspace, "s", messages))
        await intake.ingest(Delivery(workspace, "s", messages))
    async with asyncio.timeout(PATIENCE):
        while await database.count("work", {}) < 6:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)
    deriver.stop()
    await running
    assert watcher.seen > 50
    assert {key for key in watcher.without if key != ("aggregate", "work", "")} == set()
    await database.drop_database()
    await database.close()
