"""Parts: Parquet files of events, sorted by name, identity as sent, time, sequence and id, so that a question about a
few names skips most of each file. Every function blocks and runs in a worker thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from gateway.insights.columnar.engine import Connection
from gateway.insights.columnar.folder import Folder
from gateway.model.identity import key_of
from gateway.store.columnar import Part
from gateway.store.database import Document
from gateway.store.events import readable

#: Columns of a part. `who` is the first 8 bytes of the identity's key, `id` the event's; times are ms since 1970 UTC.
COLUMNS = {
    "name": "VARCHAR",
    "who": "UBIGINT",
    "at_ms": "BIGINT",
    "seq": "BIGINT",
    "id": "BLOB",
    "sk": "VARCHAR",
    "type": "VARCHAR",
    "received_ms": "BIGINT",
    "platform": "VARCHAR",
    "device": "VARCHAR",
    "country": "VARCHAR",
    "app": "VARCHAR",
    "app_version": "VARCHAR",
    "properties": "VARCHAR",
}
#: What the software that sent an event says of itself, by column.
OF_CLIENT = {
    "platform": "platform",
    "device": "device",
    "country": "country",
    "app": "app",
    "app_version": "appVersion",
}
_SORTED = "ORDER BY name, who, at_ms, seq, id"
_WRITTEN = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 61440)"
_MONTH = "strftime(epoch_ms(at_ms), '%Y-%m')"


def who_of(key: bytes) -> int:
    """The number that stands for an identity, by its key (`model.identity.key_of`)."""
    return int.from_bytes(key[:8], "big")


def properties_of(row: Document) -> dict[str, Any]:
    """The properties of a stored event as they were sent."""
    properties: dict[str, Any] = row.get("properties") or {}
    return readable(properties) if row.get("escaped") else properties


def write(cursor: Connection, folder: Folder, part: Part, workspace: str, rows: Sequence[Document]) -> Part:
    """Write events (as stored) to the file of `part`; what is known of it then."""
    cursor.register("rows", _columns(workspace, rows))
    chosen = ", ".join(
        f"nullif({name}, '')::{kind} AS {name}" if name in OF_CLIENT else f"{name}::{kind} AS {name}"
        for name, kind in COLUMNS.items()
    )
    copied = copy(cursor, folder, part, f"SELECT {chosen} FROM rows", ())
    cursor.unregister("rows")
    times = [row["at"] for row in rows]
    months = cursor.execute(
        f"SELECT {_MONTH.replace('at_ms', '$first')}, {_MONTH.replace('at_ms', '$last')}",
        {"first": min(times), "last": max(times)},
    ).fetchone()
    assert months is not None
    return replace(
        copied,
        first=min(times),
        last=max(times),
        names=Counter(row["name"] for row in rows),
        rows=len(rows),
        month=months[0] if months[0] == months[1] else None,
    )


def _columns(workspace: str, rows: Sequence[Document]) -> dict[str, np.ndarray[Any, Any]]:
    whos = {sk: who_of(key_of(workspace, sk)) for sk in {row["sk"] for row in rows}}
    # None at its start would tell DuckDB nothing of a column: an empty text stands for what is not known.
    texts = {
        name: [str((row.get("client") or {}).get(field) or "") for row in rows] for name, field in OF_CLIENT.items()
    }
    texts |= {name: [row[name] for row in rows] for name in ("name", "sk", "type")}
    texts["properties"] = [orjson.dumps(properties_of(row)).decode() for row in rows]
    numbers = {"at_ms": "at", "seq": "seq", "received_ms": "receivedAt"}
    return {
        **{name: _objects(values) for name, values in texts.items()},
        **{name: np.array([row[field] for row in rows], np.int64) for name, field in numbers.items()},
        "who": np.array([whos[row["sk"]] for row in rows], np.uint64),
        "id": _objects([bytes(row["_id"]) for row in rows]),
    }


def _objects(values: list[Any]) -> np.ndarray[Any, Any]:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def merge(cursor: Connection, folder: Folder, parts: Sequence[Part], into: Iterable[Part]) -> list[Part]:
    """The rows of `parts` anew, a part for each month; files and levels come from `into`, which goes on for ever."""
    files = [folder.path(part.file) for part in parts]
    months = cursor.execute(f"SELECT DISTINCT {_MONTH} FROM read_parquet($files) ORDER BY 1", {"files": files})
    made = []
    for (month,), part in zip(months.fetchall(), into, strict=False):
        query = f"SELECT * FROM read_parquet($files) WHERE {_MONTH} = $month"
        copied = copy(cursor, folder, part, query, {"files": files, "month": month})
        made.append(replace(described(cursor, folder, copied), month=month))
    return made


def holding(
    cursor: Connection, folder: Folder, parts: Sequence[Part], workspace: str, sks: Collection[str]
) -> dict[str, int]:
    """How many rows of these identities each part has; those without any are left out."""
    if not parts:
        return {}
    paths = {folder.path(part.file): part.file for part in parts}
    asked = {"files": list(paths), "whos": [who_of(key_of(workspace, sk)) for sk in sks], "sks": list(sks)}
    found = cursor.execute(
        "SELECT filename, count(*) FROM read_parquet($files, filename = true)"
        " WHERE list_contains($whos::UBIGINT[], who) AND list_contains($sks, sk) GROUP BY filename",
        asked,
    )
    return {paths[path]: rows for path, rows in found.fetchall()}


def without(cursor: Connection, folder: Folder, part: Part, sks: Collection[str], into: Part) -> Part:
    """The rows of a part that are not of these identities, anew; `rows` 0: nothing was left to write."""
    query = "SELECT * FROM read_parquet($files) WHERE NOT list_contains($sks, sk)"
    asked = {"files": [folder.path(part.file)], "sks": list(sks)}
    made = described(cursor, folder, copy(cursor, folder, into, query, asked))
    return replace(made, month=part.month)


def known_ids(
    cursor: Connection, folder: Folder, parts: Sequence[Part], ids: Sequence[bytes], between: tuple[int, int]
) -> set[bytes]:
    """Those of these events that the parts have; all of them happened in [first, last] (ms)."""
    first, last = between
    files = [folder.path(part.file) for part in parts if part.first <= last and part.last >= first]
    if not files:
        return set()
    cursor.register("wanted", {"id": _objects(list(ids))})
    found = cursor.execute(
        "SELECT id FROM read_parquet($files) WHERE at_ms BETWEEN $first AND $last AND id IN (SELECT id FROM wanted)",
        {"files": files, "first": first, "last": last},
    ).fetchall()
    cursor.unregister("wanted")
    return {key for (key,) in found}


def copy(cursor: Connection, folder: Folder, part: Part, query: str, asked: Any) -> Part:
    """Write what a query finds to the file of `part`, sorted; raises whatever the query or the store raises."""
    folder.make(part.file)
    try:
        cursor.execute(f"COPY ({query} {_SORTED}) TO '{_quoted(folder.path(part.file))}' {_WRITTEN}", asked or None)
        return replace(part, bytes=folder.settle(part.file))
    except BaseException:
        folder.delete([part.file])
        raise


def described(cursor: Connection, folder: Folder, part: Part) -> Part:
    """What is in the file of a part: rows, names and times."""
    rows = cursor.execute(
        "SELECT name, count(*), min(at_ms), max(at_ms) FROM read_parquet($files) GROUP BY name",
        {"files": [folder.path(part.file)]},
    ).fetchall()
    return replace(
        part,
        names={name: count for name, count, _, _ in rows},
        rows=sum(count for _, count, _, _ in rows),
        first=min((first for _, _, first, _ in rows), default=0),
        last=max((last for _, _, _, last in rows), default=0),
    )


def _quoted(path: str) -> str:
    return path.replace("'", "''")


#: Parts of one kind that are merged together.
MERGED_TOGETHER = 8


def to_merge(parts: Sequence[Part], *, most_rows: int) -> list[Part]:
    """Parts that are worth merging now: eight or more of one level and month, the lowest level first; else none."""
    kinds: dict[tuple[int, str], list[Part]] = {}
    for part in parts:
        if part.rows < most_rows:
            # Those that came in are of any month; merging tells them apart.
            kinds.setdefault((part.level, (part.month or "") if part.level else ""), []).append(part)
    for _, some in sorted(kinds.items()):
        if len(some) >= MERGED_TOGETHER:
            return _up_to(sorted(some, key=lambda part: part.file), most_rows)
    return []


def _up_to(parts: list[Part], most_rows: int) -> list[Part]:
    chosen: list[Part] = []
    rows = 0
    for part in parts:
        rows += part.rows
        if rows > most_rows and len(chosen) > 1:
            break
        chosen.append(part)
    return chosen
