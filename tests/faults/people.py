"""The judgment over what is derived: people, sessions, journeys, links and rollups, worked out again by the oracle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests import oracle
from tests.faults.evidence import Evidence, Identity, Person
from tests.faults.messages import DAY
from tests.faults.tables import Row, Tables

#: The map of the suite (schema/shop/journeys/purchase.yaml), in the oracle's words.
STAGES = [
    ("browse", {"Product List Viewed", "Product Viewed"}),
    ("cart", {"Product Added"}),
    ("checkout", {"Checkout Started"}),
    ("purchased", {"Order Completed"}),
]
LIMIT = 7 * DAY
MAP = oracle.plain_map(STAGES, LIMIT)
#: Rollups count in 15 minutes (ms).
CELL = 15 * 60_000


def worked_out(evidence: Evidence) -> tuple[list[Person], dict[tuple[Identity, Identity], str | None]]:
    """Every person and every link of the stored events, as the oracle says."""
    people: list[Person] = []
    links: dict[tuple[Identity, Identity], str | None] = {}
    for part in _independent(_plain(row) for row in evidence.tables["events"]):
        crowd = oracle.crowd(part)
        links |= oracle.links(crowd, part)
        for identities, events in oracle.lives(crowd, part):
            people.append(Person(identities, events, oracle.trips(events, MAP, evidence.ended)))
    return people, links


def people_are_the_oracles(evidence: Evidence) -> Iterator[str]:
    """Every user, session and journey is what the oracle makes of the stored events."""
    expected = {tuple(person.identities): _told(person) for person in evidence.people}
    derived = {tuple(person["identities"]): person for person in world_of(evidence.tables)}
    for identities in expected.keys() - derived.keys():
        yield f"{identities} should be one person"
    for identities in derived.keys() - expected.keys():
        yield f"{identities} should not be one person"
    for identities in expected.keys() & derived.keys():
        for key in ("events", "sessions", "journeys"):
            if expected[identities][key] != derived[identities][key]:
                yield f"{identities}: {key} are {derived[identities][key]} instead of {expected[identities][key]}"[:600]


def _told(person: Person) -> dict[str, Any]:
    return {
        "events": len(person.events),
        "sessions": oracle.sessions(person.events),
        "journeys": oracle.briefly(person.runs),
    }


def totals_agree(evidence: Evidence) -> Iterator[str]:
    """What a user's row says of the sessions is what there is; nothing belongs to a user that is gone."""
    alive = {row["_id"]: row for row in evidence.tables["users"] if row.get("movedTo") is None}
    visits = Counter(row["user"] for row in evidence.tables["sessions"])
    for user, row in alive.items():
        if row.get("sessions") != visits[user]:
            yield f"user {user} says {row.get('sessions')} sessions and has {visits[user]}"
    gone = {row["_id"] for row in evidence.tables["users"]} - alive.keys()
    for collection in ("sessions", "journeys", "identities"):
        for row in evidence.tables[collection]:
            # An id that was only ever linked, and refused, has a user's id and no user.
            if row["user"] in gone or (collection != "identities" and row["user"] not in alive):
                yield f"{collection} hold {row['_id']!r} of {row['user']}, who is gone"


def links_are_the_oracles(evidence: Evidence) -> Iterator[str]:
    """Every link that was said is kept, and holds or is refused for the oracle's reason."""
    names = {row["sk"]: (row["type"], row["value"]) for row in evidence.tables["identities"]}
    found: dict[Any, str | None] = {}
    for row in evidence.tables["merges"]:
        pair = names.get(row["a"]), names.get(row["b"])
        if pair in found:
            yield f"the link {pair} is kept twice"
        found[pair] = row["refused"]
    for pair in evidence.links.keys() - found.keys():
        yield f"the link {pair} was said and is not kept"
    for pair in found.keys() - evidence.links.keys():
        yield f"the link {pair} is kept and nobody said it"
    for pair, reason in evidence.links.items():
        if pair in found and found[pair] != reason:
            yield f"the link {pair} is refused for {found[pair]} instead of {reason}"


def rollups_are_recounted(evidence: Evidence) -> Iterator[str]:
    """Every cell, over all lanes, is the number of stored events, or of the oracle's entries of a stage, in it."""
    maps = {row.get("maps") for row in evidence.tables["users"] if row.get("movedTo") is None}
    if len(maps) != 1:
        yield f"users were folded under {sorted(map(str, maps))}, not under one version of the maps"
        return
    expected: Counter[Any] = Counter(("event", row["name"], "", _cell(row["at"])) for row in evidence.tables["events"])
    expected.update(("event day", row["name"], "", row["at"] // DAY * DAY) for row in evidence.tables["events"])
    (version,) = maps
    for person in evidence.people:
        for run in person.runs:
            stays = run["stages"]
            expected.update(("stage", f"purchase.{stay['stage']}", version, _cell(stay["entered"])) for stay in stays)
    found: Counter[Any] = Counter()
    places: set[Any] = set()
    for row in evidence.tables["rollups"]:
        cell = (row["kind"], row["key"], row["definition"], row["start"])
        found[cell] += row["count"]
        if (*cell, row["lane"]) in places:
            yield f"cell {cell} has two rows in lane {row['lane']}"
        places.add((*cell, row["lane"]))
    for cell in expected.keys() | found.keys():
        if found[cell] != expected[cell]:
            yield f"cell {cell} says {found[cell]} instead of {expected[cell]}"


def nothing_is_left_to_do(evidence: Evidence) -> Iterator[str]:
    """No event waits to be folded, and no user to be folded again."""
    for row in evidence.tables["work"]:
        yield f"{row.get('kind', 'event')} {row['_id']!r} of user {row.get('user')} still waits"


def _cell(at: int) -> int:
    return at // CELL * CELL


def world_of(tables: Tables) -> list[dict[str, Any]]:
    """The stored world in the oracle's words."""
    identities, visits, runs = (_by_user(tables[name]) for name in ("identities", "sessions", "journeys"))
    return [
        {
            "identities": sorted((row["type"], row["value"]) for row in identities.get(user["_id"], [])),
            "events": user.get("events"),
            "sessions": sorted((row["start"], row["end"], row["events"]) for row in visits.get(user["_id"], [])),
            "journeys": [
                (row["status"], row["reached"], row["startedAt"])
                for row in sorted(runs.get(user["_id"], []), key=lambda row: row["run"])
            ],
        }
        for user in tables["users"]
        if user.get("movedTo") is None
    ]


def _by_user(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["user"]].append(row)
    return found


def _plain(row: Row) -> oracle.Event:
    keys = ("type", "name", "userId", "anonymousId", "previousId", "at", "seq")
    return {"id": bytes(row["_id"]), **{key: row[key] for key in keys}}


def _independent(events: Iterable[oracle.Event]) -> Iterator[list[oracle.Event]]:
    """Parts that no edge connects: the oracle is slow and obvious, and takes each part by itself."""
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(identity: tuple[str, str]) -> tuple[str, str]:
        parents.setdefault(identity, identity)
        while parents[identity] != identity:
            parents[identity] = parents[parents[identity]]
            identity = parents[identity]
        return identity

    all_events = list(events)
    for event in all_events:
        pair = oracle.edge(event)
        # What names nobody connects nobody; it would make one part of everything.
        if pair is not None and not any(value in oracle.NOBODY for _, value in pair):
            parents[root(pair[0])] = root(pair[1])
    parts: dict[tuple[str, str], list[oracle.Event]] = {}
    for event in all_events:
        who = oracle.sender(event)
        assert who is not None, "the suite sends no operator's decisions"
        parts.setdefault(root(who), []).append(event)
    nobody = [part for (_, value), part in parts.items() if value in oracle.NOBODY]
    yield from (part for (_, value), part in parts.items() if value not in oracle.NOBODY)
    yield [event for part in nobody for event in part]
