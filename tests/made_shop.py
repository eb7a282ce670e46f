"""A shop of any size, made by rule: its events as parts of the columnar projection, and as many of them in MongoDB.

Sessions of some five events lead from a page to an order, each step less often than the one before it; users come
unequally often over ten weeks. Everything follows from a session's number, so that every run has the same shop but for
its dates, and no two events of a session share a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import orjson

from gateway.insights.columnar import parts as files
from gateway.insights.columnar.engine import Connection, Engine
from gateway.insights.columnar.folder import Folder, part_name
from gateway.model.identity import digest, key_of
from gateway.store.columnar import Changes, Generation, Manifests, Part
from gateway.store.database import Database, Document
from gateway.store.rollups import CELL_MS, DAY_MS

DAYS = 70
SESSION_EVENTS = 5.3  # on average
EVENTS_PER_USER = 20
PART_SESSIONS = 200_000
_AT_ONCE = 5_000

# The names of a session in their order, each with the condition under which the session has it. `r` is how far the
# session goes, `s`, `t` and `p` are other numbers in [0, 1).
_STEPS = (
    ("Page Viewed", "true"),
    ("Promotion Viewed", "p < 0.33"),
    ("Promotion Clicked", "p < 0.07"),
    ("Product List Viewed", "r < 0.75"),
    ("Product Viewed", "r < 0.6"),
    ("Product Viewed", "r < 0.45"),
    ("Product Viewed", "r < 0.15"),
    ("Task Started", "t < 0.1"),
    ("Product Added", "r < 0.22"),
    ("Checkout Started", "r < 0.12"),
    ("Form Submitted", "r < 0.12"),
    ("Payment Info Entered", "r < 0.095"),
    ("Order Completed", "r < 0.07"),
    ("Task Ended", "t < 0.08"),
    ("Survey Response Submitted", "s < 0.04"),
    ("Page Left", "true"),
)
_PROPERTIES = """CASE
    WHEN name = 'Order Completed' THEN {total: floor(1000 + 20000 * u * u) / 100, currency: 'EUR'}::JSON
    WHEN name = 'Survey Response Submitted' THEN {survey: ['csat', 'nps', 'ces'][1 + h % 3],
        score: CASE h % 3 WHEN 0 THEN 1 + (4.99 * sqrt(u))::INT WHEN 1 THEN (10 * sqrt(u))::INT
        ELSE 1 + (6 * u)::INT END, touchpoint: ['checkout', 'product', 'help'][1 + h // 3 % 3]}::JSON
    WHEN name = 'Form Submitted' THEN {form: 'address', error_count: greatest(0, (u * 5)::INT - 3)}::JSON
    WHEN name LIKE 'Task %' THEN {task: ['find', 'buy'][1 + h % 2], outcome: ['success', 'failure'][1 + (u < 0.2)::INT]}::JSON
    WHEN name LIKE 'Promotion %' THEN {placement: ['top', 'side'][1 + h % 2], promotion_id: 'p' || h % 40}::JSON
    WHEN name LIKE 'Product %' THEN {product_id: 'sku-' || h % 5000, category: 'category ' || h % 24,
        price: floor(10000 * u) / 100}::JSON
    WHEN name = 'Page Left' THEN {path: '/p/' || h % 200, engaged_time: floor(180 * u * u),
        view: 'v' || (i * 32 + k) % 1000000}::JSON
    ELSE {path: '/p/' || h % 200}::JSON END"""  # noqa: E501 - a table


@dataclass(frozen=True, slots=True)
class Shop:
    """What was made: events in [start, end) ms of so many users."""

    workspace: str
    start: int
    end: int
    users: int
    events: int
    bytes: int


def _drawn(salt: int) -> str:
    """A number in [0, 1) that follows from a session's."""
    return f"(hash(i * 97 + {salt}) % 1000003) / 1000003.0"


def _rows(shop: Shop, first: int, count: int) -> str:
    """SQL of the events of so many sessions, by the columns of parts; `people` has the users."""
    names = ", ".join(f"CASE WHEN {met} THEN '{name}' END" for name, met in _STEPS)
    length = shop.end - shop.start - 40 * 60_000
    # In the afternoon more than in the morning, some people ten times as often as others.
    begun = f"{shop.start} + floor({length} * ({_drawn(1)}))::BIGINT // {DAY_MS} * {DAY_MS}"
    within = f"floor({DAY_MS - 60 * 60_000} * (({_drawn(2)}) * 0.5 + sqrt({_drawn(3)}) * 0.5))::BIGINT"
    user = f"floor({shop.users} * pow({_drawn(4)}, 1.6))::BIGINT"
    return f"""WITH sessions AS (SELECT i, least({begun} + {within}, {shop.end - 40 * 60_000}) AS began, {user} AS n,
            {_drawn(5)} AS r, {_drawn(6)} AS s, {_drawn(7)} AS t, {_drawn(8)} AS p
            FROM (SELECT range AS i FROM range({first}, {first + count}))),
        named AS (SELECT i, began, n, list_filter([{names}], lambda one: one IS NOT NULL) AS names FROM sessions),
        told AS (SELECT i, began, n, unnest(names) AS name, generate_subscripts(names, 1) AS k FROM named),
        drawn AS (SELECT *, (hash(i * 131 + k) % 1000003)::BIGINT AS h,
            (hash(i * 17 + k * 7) % 1000003) / 1000003.0 AS u FROM told)
        SELECT name, p.who AS who, (began + k * 60000 + (u * 50000)::BIGINT)::BIGINT AS at_ms,
            ({shop.start} * 4096 + i * 32 + k)::BIGINT AS seq, unhex(md5((i * 32 + k)::VARCHAR)) AS id, p.sk AS sk,
            'track' AS type, (began + k * 60000 + 60000)::BIGINT AS received_ms,
            ['web', 'ios', 'android'][1 + (hash(d.n) % 3)::INT] AS platform,
            ['desktop', 'mobile', 'tablet'][1 + (hash(d.n * 3) % 3)::INT] AS device,
            ['DE', 'FR', 'AT', 'CH'][1 + (hash(d.n * 5) % 4)::INT] AS country,
            NULL::VARCHAR AS app, NULL::VARCHAR AS app_version, ({_PROPERTIES})::VARCHAR AS properties
        FROM drawn d JOIN people p USING (n)"""


async def open_shop(
    database: Database, folder: Folder, engine: Engine, *, now: int, events: int, workspace: str = "main"
) -> Shop:
    """Write about so many events, up to a minute before `now` (ms), to parts, with their users' identities and rollups.
    The parts are the current generation; the feed is empty."""
    start = now - now % DAY_MS - DAYS * DAY_MS
    shop = Shop(workspace, start, now - 60_000, max(1, events // EVENTS_PER_USER), 0, 0)
    sks = [f"u:user-{number}" for number in range(shop.users)]
    keys = [key_of(workspace, sk) for sk in sks]
    for first in range(0, shop.users, _AT_ONCE):
        some = range(first, min(shop.users, first + _AT_ONCE))
        rows = [{"_id": keys[n], "workspace": workspace, "sk": sks[n], "user": keys[n].hex()} for n in some]
        await database.insert_many("identities", rows)
    manifests = Manifests(database)
    hold = await manifests.acquire(workspace, "made", 3_600)
    assert hold is not None
    store = await engine.run(lambda _: folder.name(make=True))
    head = {"current": 1, "numbered": 1, "store": store}
    await manifests.commit(hold, Changes(generation=Generation(1), head=head))
    sessions = int(events / SESSION_EVENTS)
    made: list[Part] = []
    for first in range(0, sessions, PART_SESSIONS):
        count = min(PART_SESSIONS, sessions - first)
        empty = Part(part_name(workspace, 1, hold.epoch), 1, 0, 0, 0, 0, {}, level=3)
        work = partial(_written, folder=folder, part=empty, people=(sks, keys), query=_rows(shop, first, count))
        made.append(await engine.run(work))
        await manifests.commit(hold, Changes(add=made[-1:]))
    await manifests.release(hold)
    await _roll_up(database, folder, engine, workspace, made)
    return replace(shop, events=sum(part.rows for part in made), bytes=sum(part.bytes for part in made))


def _written(
    cursor: Connection, *, folder: Folder, part: Part, people: tuple[list[str], list[bytes]], query: str
) -> Part:
    sks, keys = people
    told = np.empty(len(sks), object)
    told[:] = sks
    whos = np.array([files.who_of(key) for key in keys], np.uint64)
    cursor.register("people", {"n": np.arange(len(sks), dtype=np.int64), "sk": told, "who": whos})
    made = files.described(cursor, folder, files.copy(cursor, folder, part, query, {}))
    cursor.unregister("people")
    return made


async def _roll_up(database: Database, folder: Folder, engine: Engine, workspace: str, made: Sequence[Part]) -> None:
    paths = [folder.path(part.file) for part in made]

    def counted(cursor: Connection) -> list[tuple[str, int, int]]:
        query = "SELECT name, at_ms // $size * $size, count(*) FROM read_parquet($files) GROUP BY ALL"
        return cursor.execute(query, {"size": CELL_MS, "files": paths}).fetchall()

    quarters = await engine.run(counted)
    days: dict[tuple[str, int], int] = {}
    for name, start, count in quarters:
        key = name, start - start % DAY_MS
        days[key] = days.get(key, 0) + count
    cells = [("event", *one) for one in quarters]
    cells += [("event day", name, start, count) for (name, start), count in days.items()]
    rows = [
        {
            "_id": digest(workspace, kind, name, "", str(start), "0"),
            "workspace": workspace,
            "kind": kind,
            "key": name,
            "definition": "",
            "start": start,
            "lane": 0,
            "count": count,
        }
        for kind, name, start, count in cells
    ]
    for first in range(0, len(rows), _AT_ONCE):
        await database.insert_many("rollups", rows[first : first + _AT_ONCE])


async def store_events(database: Database, folder: Folder, engine: Engine, shop: Shop, *, most: int) -> int:
    """Put its events into MongoDB as intake stores them: all of them, or about `most`, of every name; how many."""
    manifest = await Manifests(database).read(shop.workspace)
    every, stored = max(1, -(-shop.events // most)), 0
    for part in manifest.live(1):
        for first in range(0, part.rows, 10 * _AT_ONCE * every):
            path = folder.path(part.file)
            rows = await engine.run(partial(_read, path=path, first=first, count=10 * _AT_ONCE * every, every=every))
            for begin in range(0, len(rows), _AT_ONCE):
                some = rows[begin : begin + _AT_ONCE]
                await database.insert_many("events", [_document(shop.workspace, row) for row in some])
            stored += len(rows)
    return stored


_READ = ("name", "at_ms", "seq", "id", "sk", "received_ms", "platform", "device", "country", "properties")


def _read(cursor: Connection, path: str, first: int, count: int, every: int) -> list[tuple[Any, ...]]:
    query = f"SELECT {', '.join(_READ)} FROM read_parquet($file, file_row_number = true)"
    query += " WHERE file_row_number >= $first AND file_row_number < $end AND file_row_number % $every = 0"
    asked = {"file": path, "first": first, "end": first + count, "every": every}
    return cursor.execute(query, asked).fetchall()


def _document(workspace: str, row: tuple[Any, ...]) -> Document:
    name, at, seq, key, sk, received, platform, device, country, properties = row
    return {
        "_id": key,
        "workspace": workspace,
        "source": "web",
        "messageId": key.hex(),
        "type": "track",
        "name": name,
        "userId": sk.partition(":")[2],
        "anonymousId": None,
        "previousId": None,
        "groupId": None,
        "sk": sk,
        "at": at,
        "seq": seq,
        "receivedAt": received,
        "sentAt": None,
        "originalTimestamp": at,
        "timestamp": at,
        "properties": orjson.loads(properties),
        "traits": {},
        "context": {},
        "extra": {},
        "client": {"platform": platform, "device": device, "country": country},
        "hash": key,
        "flags": [],
    }
