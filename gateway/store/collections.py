"""Every collection in one place: its indexes, and what it would be sharded by.

A document's key is `_id`; all but `lanes`, `contracts` and `incidents` carry `workspace`. Unique keys begin with the
shard key or are `_id` of documents that retries send to the same shard (DERIVE: `sk` is the identity exactly as sent).
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.response import DISMISSED, QUESTION_ANSWERED, RESPONDED, SHOWN
from gateway.store.database import Database, Index


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection; `shard_key` is documentation until someone shards."""

    name: str
    shard_key: str
    indexes: tuple[Index, ...] = ()
    #: Its rows lie in the order of their `_id`: nothing of the order in which they came is kept.
    clustered: bool = False


def _index(*keys: str, unique: bool = False) -> Index:
    pairs = tuple((key.lstrip("-"), -1 if key.startswith("-") else 1) for key in keys)
    return Index(pairs, unique=unique)


COLLECTIONS = (
    Collection(
        "events",
        "workspace, sk",
        (
            _index("workspace", "sk", "at", "seq", "_id"),
            _index("workspace", "at", "seq", "_id"),
            _index("workspace", "name", "at", "seq", "_id"),
            _index("receivedAt", "seq", "_id"),
            # What one user was asked is looked up whenever a page wonders whether to ask them.
            Index(
                (("workspace", 1), ("sk", 1), ("name", 1), ("at", -1)),
                partial={"name": {"$in": [SHOWN, QUESTION_ANSWERED, DISMISSED, RESPONDED]}},
            ),
        ),
    ),
    Collection(
        "identities",
        "workspace, sk",
        (_index("workspace", "sk", unique=True), _index("workspace", "user"), _index("workspace", "group")),
    ),
    Collection("merges", "workspace, group", (_index("workspace", "group"),)),
    Collection(
        "work",
        "workspace, _id",
        (
            _index("doneAt"),
            Index((("lane", 1), ("_id", 1)), partial={"pending": True}),
            Index((("lane", 1), ("pending", 1), ("user", 1)), partial={"pending": {"$gt": ""}}),
        ),
    ),
    Collection(
        "users",
        "workspace, _id",
        (
            _index("workspace", "movedTo", "-lastSeen", "-_id"),
            _index("lane", "maps"),
            _index("lane", "dueAt"),
            Index(
                (("workspace", 1), ("segments", 1), ("_id", 1)),
                partial={"segments": {"$gt": ""}},
            ),
            Index((("workspace", 1), ("setAside.at", -1), ("_id", -1)), partial={"setAside.at": {"$exists": True}}),
        ),
    ),
    Collection(
        "sessions",
        "workspace, user",
        (_index("workspace", "user", "-start", "-_id"), _index("workspace", "start")),
    ),
    Collection(
        "journeys",
        "workspace, user",
        (
            _index("workspace", "user", "map", "run"),
            _index("workspace", "map", "stage", "status"),
            _index("workspace", "-lastAt", "-_id"),
            _index("workspace", "map", "-lastAt", "-_id"),
        ),
    ),
    Collection("checkpoints", "workspace, user", (_index("workspace", "user", "at", "seq", "key"),)),
    Collection("rollups", "workspace, _id", (_index("workspace", "kind", "key", "start"),)),
    Collection("feed", "workspace, _id", (_index("writtenAt"),)),
    Collection("lanes", "_id"),
    Collection(
        "quarantine",
        "workspace, _id",
        (_index("workspace", "-receivedAt", "-_id"), _index("workspace", "who")),
    ),
    Collection("accounting", "workspace, _id", (_index("workspace", "hour", "source"),)),
    Collection(
        "catalog",
        "workspace, _id",
        (_index("workspace", "kind", "name", "type"), _index("workspace", "kind", "day")),
    ),
    Collection("imports", "workspace, _id"),
    Collection("keys", "workspace, _id", (_index("workspace"),)),
    Collection("contracts", "_id"),
    Collection("proposals", "workspace, _id", (_index("workspace", "-createdAt", "-_id"),)),
    Collection(
        "requests",
        "workspace, _id",
        (
            _index("workspace", "-createdAt", "-_id"),
            _index("workspace", "status", "-createdAt", "-_id"),
            Index((("status", 1), ("workspace", 1)), partial={"status": "shipped"}),
        ),
    ),
    Collection("discrepancies", "workspace, _id", (_index("workspace", "kpi", "-at", "-_id"),)),
    Collection("observations", "workspace, _id", (_index("workspace", "kind", "key", "-at", "-_id"),)),
    Collection("connector_states", "workspace, _id"),
    Collection("incidents", "_id", (_index("-startedAt", "-_id"),)),
    Collection("rebuilds", "workspace, _id"),
    Collection("consents", "workspace, _id", (_index("workspace"),)),
    Collection("suppressions", "workspace, _id", (_index("number"),)),
    Collection("destinations", "workspace, _id"),
    Collection("delivery_cursors", "workspace, _id"),
    Collection(
        "lane_items",
        "workspace, _id",
        (
            _index("workspace", "instance", "state", "lane", "dueAt"),
            _index("workspace", "instance", "queue", "seq"),
            _index("workspace", "state", "since", "_id"),
            _index("workspace", "user"),
            _index("workspace", "replay"),
        ),
    ),
    Collection(
        "dead_letters",
        "workspace, _id",
        (_index("workspace", "-diedAt", "-_id"), _index("workspace", "user")),
    ),
    Collection("replays", "workspace, _id", (Index((("lane", 1), ("_id", 1)), partial={"running": True}),)),
    Collection("alert_states", "workspace, _id", (_index("workspace"),)),
    Collection("alerts", "workspace, _id", (_index("workspace", "-lastAt", "-_id"),)),
    Collection("kpi_snapshots", "workspace, _id", (_index("workspace", "kpi", "-start", "-_id"),)),
    Collection("columnar_manifest", "workspace, _id", (_index("workspace", "kind"),)),
    Collection(
        "follow_ups",
        "workspace, _id",
        (
            _index("workspace", "-at", "-_id"),
            _index("workspace", "key"),
            Index((("workspace", 1), ("dueAt", 1)), partial={"late": False}),
        ),
    ),
    Collection("anonymous_answers", "workspace, _id", (_index("workspace", "survey", "at"),), clustered=True),
    Collection("anonymous_marks", "workspace, _id", (_index("workspace", "survey"),), clustered=True),
    Collection("anonymous_secrets", "workspace, _id", (_index("workspace"),)),
    Collection("erasures", "workspace, _id", (Index((("lane", 1), ("dueAt", 1)), partial={"status": "running"}),)),
)


async def prepare(database: Database) -> None:
    """Create what is missing; cheap when everything is there."""
    for collection in COLLECTIONS:
        if collection.clustered:
            await database.create_collection(collection.name, clustered=True)
        if collection.indexes:
            await database.ensure_indexes(collection.name, collection.indexes)
        else:
            await database.create_collection(collection.name)
