"""What the database holds, read whole once a run is over, past the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pymongo
from pymongo.read_concern import ReadConcern

Row = dict[str, Any]
LANES = 16

_KEPT: Mapping[str, tuple[str, ...]] = {
    "events": (
        *("messageId", "type", "name", "userId", "anonymousId", "previousId", "groupId"),
        *("at", "seq", "receivedAt", "timestamp", "properties", "traits", "source", "run"),
    ),
    "users": ("movedTo", "events", "sessions", "maps"),
    "identities": ("user", "sk", "type", "value"),
    "merges": ("a", "b", "refused"),
    "work": ("user", "kind"),
    "sessions": ("user", "start", "end", "events"),
    "journeys": ("user", "map", "run", "status", "reached", "startedAt"),
    "feed": ("lane", "seq", "kind", "user", "event", "from", "to", "status", "at"),
    "rollups": ("kind", "key", "definition", "start", "lane", "count"),
    "lanes": ("seq", "floor"),
    "quarantine": ("code", "messageId"),
    "delivery_cursors": ("instance", "lane", "seq"),
    "destinations": ("instance", "state"),
    "alerts": ("key", "open", "title"),
    "accounting": (
        *("source", "hour", "run", "opened", "closed"),
        *("accepted", "duplicate", "conflict", "quarantined", "refused", "replayed"),
    ),
}
#: Of `work` only what waits: rows of what is done are kept for long, and say nothing more.
_WHICH: Mapping[str, Row] = {"work": {"pending": {"$ne": None}}}


@dataclass(slots=True)
class Tables:
    """Rows by collection; of the rest only how many documents each holds."""

    rows: dict[str, list[Row]]
    others: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, collection: str) -> list[Row]:
        return self.rows[collection]


def read_tables(client: pymongo.MongoClient[Row], database: str) -> Tables:
    """Everything the checker asks about, as a majority of the members holds it."""
    found = client.get_database(database, read_concern=ReadConcern("majority"))
    others = {name: found[name].count_documents({}) for name in found.list_collection_names() if name not in _KEPT}
    return Tables(
        {name: list(found[name].find(_WHICH.get(name, {}), dict.fromkeys(keys, 1))) for name, keys in _KEPT.items()},
        others,
    )
