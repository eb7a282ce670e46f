"""The questions of `test_numbers` as a good engineer asks them of others: ClickHouse (in process, through chdb) or
DuckDB over the same Parquet files, and MongoDB's aggregation over the stored events.

Each gives its answer in the same plain form as ours, so that they can be compared: a funnel as users by step, retention
as {(cohort, week): users}, paths as {names: paths}, a trend as {(day, value): users}.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import orjson

from gateway.store.database import Database, Document

DAY = 86_400_000
GAP = 30 * 60_000
Rows = Sequence[Sequence[Any]]
Ask = Callable[[str], Rows]


@contextmanager
def clickhouse(files: str, workers: int) -> Iterator[Ask]:
    """ClickHouse with a table of these files' columns that its own engine has written, ordered as it would be."""
    from chdb import session  # type: ignore[import-not-found]

    one = session.Session()
    try:
        one.query("CREATE DATABASE IF NOT EXISTS shop ENGINE = Atomic")
        one.query(
            "CREATE TABLE shop.events (name LowCardinality(String), who UInt64, at_ms Int64, seq Int64,"
            " device LowCardinality(String), properties String) ENGINE = MergeTree ORDER BY (name, who, at_ms)"
        )
        one.query(
            "INSERT INTO shop.events SELECT name, who, at_ms, seq, device, properties"
            f" FROM file('{files}', Parquet) SETTINGS max_threads = {workers}, max_insert_threads = 1"
        )
        one.query("OPTIMIZE TABLE shop.events FINAL")

        def ask(query: str) -> Rows:
            text = str(one.query(f"{query} SETTINGS max_threads = {workers}", "JSONCompactEachRow"))
            return [orjson.loads(line) for line in text.splitlines()]

        yield ask
    finally:
        one.close()


@contextmanager
def plain_duckdb(files: str, workers: int) -> Iterator[Ask]:
    """DuckDB over the files as they are."""
    connection = duckdb.connect(config={"threads": workers, "autoinstall_known_extensions": False})
    try:
        connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet('{files}')")
        yield lambda query: connection.execute(query).fetchall()
    finally:
        connection.close()


def _within(between: tuple[int, int]) -> str:
    return f"at_ms >= {between[0]} AND at_ms < {between[1]}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def monday(at: int) -> int:
    """The UTC Monday (ms) of the week of a moment (ms)."""
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((day - timedelta(days=day.weekday())).timestamp()) * 1000


_MONDAY = f"(at_ms - 4 * {DAY}) // {7 * DAY} * {7 * DAY} + 4 * {DAY}"  # 1970-01-05 was one


# -- ClickHouse -----------------------------------------------------------------------------------------------------


def clickhouse_funnel(ask: Ask, steps: Sequence[str], window: int, between: tuple[int, int]) -> list[int]:
    """Ordered, best attempt, in milliseconds."""
    each = ", ".join(f"name = '{name}'" for name in steps)
    rows = ask(
        f"SELECT level, count() FROM (SELECT who, windowFunnel({window})(toUInt64(at_ms), {each}) AS level"
        f" FROM shop.events WHERE name IN ({_listed(steps)}) AND {_within(between)} GROUP BY who) GROUP BY level"
    )
    return _reached({int(level): int(users) for level, users in rows}, len(steps))


def _reached(levels: dict[int, int], steps: int) -> list[int]:
    return [sum(users for level, users in levels.items() if level > step) for step in range(steps)]


def clickhouse_retention(
    ask: Ask, start: str, back: str, weeks: int, between: tuple[int, int]
) -> dict[tuple[int, int], int]:
    """Weeks of the calendar after that of the first start; cohorts by that week."""
    week = _MONDAY.replace(" // ", " DIV ")
    rows = ask(
        f"SELECT cohort, intDiv(week - cohort, {7 * DAY}) AS n, count() FROM"
        f" (SELECT who, minIf({week}, name = '{start}') AS cohort, minIf(at_ms, name = '{start}') AS first,"
        f" countIf(name = '{start}') AS starts, arrayJoin(groupUniqArrayIf({week}, name = '{back}')) AS week"
        f" FROM shop.events WHERE name IN ({_listed([start, back])}) AND at_ms < {between[1]} GROUP BY who)"
        f" WHERE starts > 0 AND first >= {between[0]} AND n BETWEEN 1 AND {weeks} GROUP BY cohort, n"
    )
    return {(int(cohort), int(n)): int(users) for cohort, n, users in rows}


def clickhouse_paths(ask: Ask, anchor: str, depth: int, between: tuple[int, int]) -> dict[tuple[str, ...], int]:
    """From the first anchor of each session, repeats in a row as one."""
    rows = ask(
        "SELECT path, count() FROM (SELECT arraySlice(arrayCompact(arraySlice(session, indexOf(session, '"
        f"{anchor}'))), 1, {depth + 1}) AS path FROM (SELECT arrayMap(one -> one.1, arrayJoin(arraySplit("
        f"(one, gap) -> gap > {GAP}, all, arrayDifference(arrayMap(one -> one.2, all))))) AS session FROM"
        " (SELECT who, arraySort(one -> (one.2, one.3), groupArray((toString(name), at_ms, seq))) AS all"
        f" FROM shop.events WHERE {_within(between)} GROUP BY who)) WHERE has(session, '{anchor}')) GROUP BY path"
    )
    return {tuple(path): int(count) for path, count in rows}


def clickhouse_trend(ask: Ask, event: str, label: str, between: tuple[int, int]) -> dict[tuple[int, str], int]:
    """Different users by day and value of a property."""
    rows = ask(
        f"SELECT intDiv(at_ms, {DAY}) * {DAY} AS day, JSONExtractString(properties, '{label}') AS value,"
        f" uniqExact(who) FROM shop.events WHERE name = '{event}' AND {_within(between)} GROUP BY day, value"
    )
    return {(int(day), str(value)): int(users) for day, value, users in rows}


# -- DuckDB ---------------------------------------------------------------------------------------------------------


def duckdb_funnel(ask: Ask, steps: Sequence[str], window: int, between: tuple[int, int]) -> list[int]:
    """From each first step to the next second one, and so on: what an attempt reaches the soonest."""
    parts = [
        f"step{n} AS (SELECT who, at_ms AS at{n} FROM events WHERE name = '{name}' AND {_within(between)})"
        for n, name in enumerate(steps)
    ]
    joins = "".join(
        f" ASOF LEFT JOIN step{n} ON step0.who = step{n}.who AND step{n - 1}.at{n - 1} < step{n}.at{n}"
        for n in range(1, len(steps))
    )
    level = " + ".join(["1", *(f"coalesce(at{n} - at0 <= {window}, false)::INT" for n in range(1, len(steps)))])
    rows = ask(
        f"WITH {', '.join(parts)} SELECT level, count(*) FROM (SELECT step0.who, max({level}) AS level"
        f" FROM step0{joins} GROUP BY step0.who) GROUP BY level"
    )
    return _reached({int(level): int(users) for level, users in rows}, len(steps))


def duckdb_retention(
    ask: Ask, start: str, back: str, weeks: int, between: tuple[int, int]
) -> dict[tuple[int, int], int]:
    """As `clickhouse_retention`."""
    rows = ask(
        f"WITH firsts AS (SELECT who, min(at_ms) AS at_ms FROM events WHERE name = '{start}' GROUP BY who),"
        f" cohorts AS (SELECT who, {_MONDAY} AS cohort FROM firsts WHERE {_within(between)}),"
        f" weeks AS (SELECT DISTINCT who, {_MONDAY} AS week FROM events WHERE name = '{back}' AND {_within(between)})"
        f" SELECT cohort, (week - cohort) // {7 * DAY} AS n, count(*) FROM cohorts JOIN weeks USING (who)"
        f" WHERE n BETWEEN 1 AND {weeks} GROUP BY ALL"
    )
    return {(int(cohort), int(n)): int(users) for cohort, n, users in rows}


def duckdb_paths(ask: Ask, anchor: str, depth: int, between: tuple[int, int]) -> dict[tuple[str, ...], int]:
    """As `clickhouse_paths`."""
    rows = ask(
        "WITH gaps AS (SELECT who, at_ms, seq, name, at_ms - lag(at_ms) OVER users AS gap FROM events"
        f" WHERE {_within(between)} WINDOW users AS (PARTITION BY who ORDER BY at_ms, seq)),"
        f" sessions AS (SELECT *, sum((coalesce(gap, 0) > {GAP})::INT) OVER (PARTITION BY who ORDER BY at_ms, seq)"
        " AS session FROM gaps), behind AS (SELECT *, min(CASE WHEN name = "
        f"'{anchor}' THEN (at_ms, seq) END) OVER (PARTITION BY who, session) AS first FROM sessions),"
        " compact AS (SELECT *, lag(name) OVER (PARTITION BY who, session ORDER BY at_ms, seq) AS before"
        " FROM behind WHERE (at_ms, seq) >= first), paths AS (SELECT list(name ORDER BY at_ms, seq)[1:"
        f"{depth + 1}] AS path FROM compact WHERE before IS DISTINCT FROM name GROUP BY who, session)"
        " SELECT path, count(*) FROM paths GROUP BY path"
    )
    return {tuple(path): int(count) for path, count in rows}


def duckdb_trend(ask: Ask, event: str, label: str, between: tuple[int, int]) -> dict[tuple[int, str], int]:
    """As `clickhouse_trend`."""
    rows = ask(
        f"SELECT at_ms // {DAY} * {DAY} AS day, json_extract_string(properties, '$.{label}') AS value,"
        f" count(DISTINCT who) FROM events WHERE name = '{event}' AND {_within(between)} GROUP BY ALL"
    )
    return {(int(day), str(value)): int(users) for day, value, users in rows}


# -- MongoDB --------------------------------------------------------------------------------------------------------


def _match(names: Sequence[str] | None, between: tuple[int, int]) -> Document:
    named = {} if names is None else {"name": {"$in": list(names)}}
    return {"$match": {"workspace": "main", **named, "at": {"$gte": between[0], "$lt": between[1]}}}


async def mongo_funnel(database: Database, steps: Sequence[str], window: int, between: tuple[int, int]) -> list[int]:
    """One pass over each user's events in order, which carries when the attempt at each step began."""
    entered: list[Any] = [{"$cond": [{"$eq": ["$$this.n", steps[0]]}, "$$this.t", {"$arrayElemAt": ["$$value", 0]}]}]
    for n, name in enumerate(steps[1:], 1):
        before, now = {"$arrayElemAt": ["$$value", n - 1]}, {"$arrayElemAt": ["$$value", n]}
        fits = [
            {"$eq": ["$$this.n", name]},
            {"$ne": [before, None]},
            {"$lte": [{"$subtract": ["$$this.t", before]}, window]},
        ]
        entered.append({"$cond": [{"$and": fits}, before, now]})
    state = {"$reduce": {"input": "$events", "initialValue": [None] * len(steps), "in": entered}}
    rows = await database.aggregate(
        "events",
        [
            _match(steps, between),
            {"$sort": {"sk": 1, "at": 1, "seq": 1}},
            {"$group": {"_id": "$sk", "events": {"$push": {"n": "$name", "t": "$at"}}}},
            {"$project": {"state": state}},
            {"$project": {"level": {"$size": {"$filter": {"input": "$state", "cond": {"$ne": ["$$this", None]}}}}}},
            {"$group": {"_id": "$level", "users": {"$sum": 1}}},
        ],
    )
    return _reached({row["_id"]: row["users"] for row in rows}, len(steps))


async def mongo_retention(
    database: Database, start: str, back: str, weeks: int, between: tuple[int, int]
) -> dict[tuple[int, int], int]:
    """As `clickhouse_retention`."""
    since = {"$subtract": ["$at", 4 * DAY]}
    week = {"$add": [{"$subtract": [since, {"$mod": [since, 7 * DAY]}]}, 4 * DAY]}
    nothing = "$$REMOVE"
    rows = await database.aggregate(
        "events",
        [
            _match([start, back], (0, between[1])),
            {
                "$group": {
                    "_id": "$sk",
                    "first": {"$min": {"$cond": [{"$eq": ["$name", start]}, "$at", nothing]}},
                    "cohort": {"$min": {"$cond": [{"$eq": ["$name", start]}, week, nothing]}},
                    "weeks": {"$addToSet": {"$cond": [{"$eq": ["$name", back]}, week, nothing]}},
                }
            },
            {"$match": {"first": {"$gte": between[0]}}},
            {"$unwind": "$weeks"},
            {"$project": {"cohort": 1, "n": {"$divide": [{"$subtract": ["$weeks", "$cohort"]}, 7 * DAY]}}},
            {"$match": {"n": {"$gte": 1, "$lte": weeks}}},
            {"$group": {"_id": {"cohort": "$cohort", "n": "$n"}, "users": {"$sum": 1}}},
        ],
    )
    return {(int(row["_id"]["cohort"]), int(row["_id"]["n"])): row["users"] for row in rows}


async def mongo_paths(
    database: Database, anchor: str, depth: int, between: tuple[int, int]
) -> dict[tuple[str, ...], int]:
    """As `clickhouse_paths`."""
    in_order = {"at": 1, "seq": 1}
    whole = {"documents": ["unbounded", "current"]}
    tail = {"$slice": ["$names", {"$indexOfArray": ["$names", anchor]}, {"$size": "$names"}]}
    last = {"$arrayElemAt": ["$$value", -1]}
    longer = {"$concatArrays": ["$$value", ["$$this"]]}
    compact = {"$cond": [{"$eq": [last, "$$this"]}, "$$value", longer]}
    began = {"$cond": [{"$gt": [{"$subtract": ["$at", "$before"]}, GAP]}, 1, 0]}
    rows = await database.aggregate(
        "events",
        [
            _match(None, between),
            {"$project": {"sk": 1, "at": 1, "seq": 1, "name": 1}},
            {
                "$setWindowFields": {
                    "partitionBy": "$sk",
                    "sortBy": in_order,
                    "output": {"before": {"$shift": {"output": "$at", "by": -1, "default": None}}},
                }
            },
            {"$set": {"began": {"$cond": [{"$eq": ["$before", None]}, 0, began]}}},
            {
                "$setWindowFields": {
                    "partitionBy": "$sk",
                    "sortBy": in_order,
                    "output": {"session": {"$sum": "$began", "window": whole}},
                }
            },
            {"$group": {"_id": {"sk": "$sk", "session": "$session"}, "names": {"$push": "$name"}}},
            {"$match": {"names": anchor}},
            {"$project": {"path": {"$reduce": {"input": tail, "initialValue": [], "in": compact}}}},
            {"$group": {"_id": {"$slice": ["$path", depth + 1]}, "count": {"$sum": 1}}},
        ],
    )
    return {tuple(row["_id"]): row["count"] for row in rows}


async def mongo_trend(
    database: Database, event: str, label: str, between: tuple[int, int]
) -> dict[tuple[int, str], int]:
    """As `clickhouse_trend`."""
    day = {"$subtract": ["$at", {"$mod": ["$at", DAY]}]}
    rows = await database.aggregate(
        "events",
        [
            _match([event], between),
            {"$group": {"_id": {"day": day, "value": f"$properties.{label}", "sk": "$sk"}}},
            {"$group": {"_id": {"day": "$_id.day", "value": "$_id.value"}, "users": {"$sum": 1}}},
        ],
    )
    return {(int(row["_id"]["day"]), row["_id"]["value"]): row["users"] for row in rows}
