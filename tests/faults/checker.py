"""The judgment over a run: what was acknowledged, what the database holds, what subscribers heard.

Each rule yields one line per breach. Nothing here asks the gateway anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests import oracle
from tests.faults.deliveries import missing, out_of_order, twice_without_reason
from tests.faults.history import History
from tests.faults.messages import DAY, Message
from tests.faults.sinks import Sink
from tests.faults.subscribers import Heard
from tests.faults.tables import LANES, Row, Tables

_SHOWN = 20
#: The map that the sample contract ships with (schema/shop/journeys/purchase.yaml), in the oracle's words.
STAGES = [
    ("browse", {"Product List Viewed", "Product Viewed"}),
    ("cart", {"Product Added"}),
    ("checkout", {"Checkout Started"}),
    ("purchased", {"Order Completed"}),
]
LIMIT = 7 * DAY


@dataclass(slots=True)
class Evidence:
    """What is judged. `began` and `ended` are milliseconds by this machine's clock, which no fault moves."""

    history: History
    tables: Tables
    heard: list[Heard]
    began: int
    ended: int
    sinks: list[Sink] = field(default_factory=list)
    #: When each fault began and was over (monotonic seconds).
    faults: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Verdict:
    """Breaches by rule: how many, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)
    #: Collections that hold documents and have no rule yet.
    unchecked: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.counts

    def add(self, rule: str, breach: str) -> None:
        self.counts[rule] += 1
        if self.counts[rule] <= _SHOWN:
            self.shown.setdefault(rule, []).append(breach)


def check(evidence: Evidence) -> Verdict:
    """Every rule over the evidence."""
    verdict = Verdict()
    for rule, judge in RULES.items():
        for breach in judge(evidence):
            verdict.add(rule, breach)
    verdict.unchecked = sorted(name for name in ("rollups", "accounting") if evidence.tables.others.get(name))
    return verdict


# -- intake --------------------------------------------------------------------------------------------------------


def acknowledged_is_kept(evidence: Evidence) -> Iterator[str]:
    """What was called accepted or duplicate is stored, once, with its content."""
    stored = _by_number(evidence)
    for number in evidence.history.acknowledged():
        rows = stored.get(number, [])
        if len(rows) != 1:
            yield f"message {number} was acknowledged and is stored {len(rows)} times"
    for number, rows in stored.items():
        wanted = _content(evidence.history.plan.message(number))
        for row in rows:
            wrong = [key for key, value in wanted.items() if row.get(key) != value]
            if wrong:
                yield f"message {number} is stored with another {', '.join(wrong)}"


def stored_was_sent(evidence: Evidence) -> Iterator[str]:
    """Nothing is stored that nobody sent, and nothing twice."""
    seen: set[str] = set()
    for row in evidence.tables["events"]:
        number = evidence.history.plan.number_of(row["messageId"])
        if number is None or not evidence.history.was_sent(number):
            yield f"{row['messageId']} is stored and nobody sent it"
        if row["messageId"] in seen:
            yield f"{row['messageId']} is stored more than once"
        seen.add(row["messageId"])


def answers_are_right(evidence: Evidence) -> Iterator[str]:
    """Good messages are accepted or duplicates, each accepted at most once; nothing is quarantined."""
    for anomaly in evidence.history.anomalies:
        yield str(anomaly)[:500]
    accepted, stored = evidence.history.counts["accepted"], len(evidence.tables["events"])
    if accepted > stored:
        yield f"{accepted} were called accepted, {stored} are stored"
    for row in evidence.tables["quarantine"]:
        yield f"{row['messageId']} is quarantined: {row['code']}"


def times_are_the_servers(evidence: Evidence) -> Iterator[str]:
    """An event is received while the run lasts, whatever a gateway's own clock says; its time is what was sent."""
    for row in evidence.tables["events"]:
        if not evidence.began - 2_000 <= row["receivedAt"] <= evidence.ended + 2_000:
            yield f"{row['messageId']} was received at {row['receivedAt']}, outside of the run"
        expected = row["receivedAt"] if row["timestamp"] is None else row["timestamp"]
        if row["at"] != expected:
            yield f"{row['messageId']} has the time {row['at']} instead of {expected}"


def _by_number(evidence: Evidence) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in evidence.tables["events"]:
        number = evidence.history.plan.number_of(row["messageId"])
        if number is not None:
            found.setdefault(number, []).append(row)
    return found


def _content(message: Message) -> dict[str, Any]:
    """What must be stored of a message, by the names of its row."""
    named = message.get("event" if message["type"] == "track" else "name")
    keys = ("type", "userId", "anonymousId", "previousId", "groupId", "timestamp")
    return {
        "name": named or message["type"],
        "properties": message.get("properties", {}),
        "traits": message.get("traits", {}),
        **{key: message.get(key) for key in keys},
    }


# -- derivation ----------------------------------------------------------------------------------------------------


def people_are_the_oracles(evidence: Evidence) -> Iterator[str]:
    """Every user, session and journey is what the oracle makes of the stored events."""
    expected: dict[Any, dict[str, Any]] = {}
    for part in _independent(_plain(row) for row in evidence.tables["events"]):
        for person in oracle.world(part, STAGES, LIMIT, evidence.ended):
            expected[tuple(person["identities"])] = person
    derived = {tuple(person["identities"]): person for person in world_of(evidence.tables)}
    for identities in expected.keys() - derived.keys():
        yield f"{identities} should be one person"
    for identities in derived.keys() - expected.keys():
        yield f"{identities} should not be one person"
    for identities in expected.keys() & derived.keys():
        for key in ("events", "sessions", "journeys"):
            if expected[identities][key] != derived[identities][key]:
                yield f"{identities}: {key} are {derived[identities][key]} instead of {expected[identities][key]}"[:600]


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


# ROLLUPS: when `rollups` comes, its rule stands here: every cell counted again from the stored events and the oracle's
# journeys. ACCOUNTING: likewise sent = accepted + duplicate + conflict + quarantined + refused, per source and hour,
# with what `history.counts` says. Until then `Verdict.unchecked` names both once they hold anything.


# -- the feed ------------------------------------------------------------------------------------------------------


def feed_is_dense(evidence: Evidence) -> Iterator[str]:
    """In each lane every number from the floor to the head is there once."""
    rows: dict[int, list[int]] = {lane: [] for lane in range(LANES)}
    for row in evidence.tables["feed"]:
        rows.setdefault(row["lane"], []).append(row["seq"])
    lanes = {row["_id"]: row for row in evidence.tables["lanes"] if isinstance(row["_id"], int)}
    for lane, seqs in rows.items():
        if lane not in lanes:
            yield f"lane {lane} has {len(seqs)} rows and no head"
            continue
        floor, head = lanes[lane]["floor"], lanes[lane]["seq"]
        twice = [seq for seq, count in Counter(seqs).items() if count > 1]
        wanted, there = set(range(floor, head + 1)), set(seqs)
        if twice or wanted != there:
            yield (
                f"lane {lane} from {floor} to {head}: missing {sorted(wanted - there)[:5]}, "
                f"outside {sorted(there - wanted)[:5]}, twice {twice[:5]}"
            )


def feed_announces_once(evidence: Evidence) -> Iterator[str]:
    """Every stored event is announced by exactly one row."""
    told = Counter(bytes(row["event"]) for row in evidence.tables["feed"] if row["kind"] == "event")
    stored = {bytes(row["_id"]) for row in evidence.tables["events"]}
    for event in stored - told.keys():
        yield f"event {event.hex()} is stored and not announced"
    for event in told.keys() - stored:
        yield f"event {event.hex()} is announced and not stored"
    for event, count in told.items():
        if count > 1:
            yield f"event {event.hex()} is announced {count} times"


def subscribers_missed_nothing(evidence: Evidence) -> Iterator[str]:
    """From before the first event: each row of the kind once, less what the gateway said was lost."""
    for number, heard in enumerate(evidence.heard):
        told = Counter(_told(row) for row in evidence.tables["feed"] if row["kind"] == heard.kind)
        got = Counter(heard.news)
        missing, extra = told - got, got - told
        who = f"subscriber {number} ({heard.kind})"
        if missing.total() > heard.missed:
            yield f"{who} was not told of {missing.total()} rows ({heard.missed} said), first {list(missing)[:3]}"
        if extra:
            yield f"{who} was told {extra.total()} rows too many, first {list(extra)[:3]}"


def _told(row: Row) -> Any:
    if row["kind"] == "event":
        return bytes(row["event"]).hex()
    return row["from"], row["to"], row["status"], row["at"]


# -- destinations --------------------------------------------------------------------------------------------------


def destinations_got_everything(evidence: Evidence) -> Iterator[str]:
    """Every announced event came to each destination, however it behaved."""
    for sink in evidence.sinks:
        yield from missing(sink, evidence.tables["feed"])


def destinations_got_it_in_order(evidence: Evidence) -> Iterator[str]:
    """Of each user, in the order of the feed."""
    for sink in evidence.sinks:
        yield from out_of_order(sink, evidence.tables["feed"])


def nothing_came_twice(evidence: Evidence) -> Iterator[str]:
    """What came again came with a fault."""
    for sink in evidence.sinks:
        yield from twice_without_reason(sink, evidence.faults)


RULES: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "acknowledged is kept": acknowledged_is_kept,
    "stored was sent": stored_was_sent,
    "answers are right": answers_are_right,
    "times are the server's": times_are_the_servers,
    "people are the oracle's": people_are_the_oracles,
    "totals agree": totals_agree,
    "the feed is dense": feed_is_dense,
    "the feed announces once": feed_announces_once,
    "subscribers missed nothing": subscribers_missed_nothing,
    "destinations got everything": destinations_got_everything,
    "destinations got it in order": destinations_got_it_in_order,
    "nothing came twice but for a fault": nothing_came_twice,
}


def summary(verdict: Verdict) -> Sequence[str]:
    """The verdict in lines for people."""
    if verdict.good:
        return [f"good: {len(RULES)} rules kept"]
    return [
        f"{rule}: {count} breaches\n    " + "\n    ".join(verdict.shown[rule][:5])
        for rule, count in verdict.counts.items()
    ]
