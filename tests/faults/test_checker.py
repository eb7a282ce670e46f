"""The checker can fail: each planted fault of a run that was good is found, by the rule that is there for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests import oracle
from tests.faults.accounting import bounds_of
from tests.faults.checker import check
from tests.faults.evidence import Evidence, Person
from tests.faults.history import History, Request
from tests.faults.messages import DAY, HOUR, Plan
from tests.faults.people import CELL, worked_out
from tests.faults.subscribers import Heard
from tests.faults.tables import LANES, Row, Tables

START = 1_790_000_000_000
#: Of a plan in which links are refused for two reasons.
SEED = 1
COUNT = 600
Mutant = Callable[[Evidence], None]


def made_up() -> Evidence:
    """A run that kept every rule, made from the plan and the oracle alone."""
    plan = Plan(SEED, START, people=12, events=COUNT)
    history = History(plan)
    for number in history.next_numbers(COUNT):
        history.acknowledge(number)
    history.counts.update(accepted=COUNT, sent=COUNT + 30)
    events = [stored(plan, number) for number in range(COUNT)]
    ended = START + 60_000
    feed, heads = announced(events)
    history.requests = requests()
    rows: dict[str, list[Row]] = {
        "events": events,
        "feed": feed,
        "lanes": [{"_id": lane, "seq": heads[lane], "floor": 1} for lane in range(LANES)] + [{"_id": "derive"}],
        "quarantine": [],
        "work": [],
        "delivery_cursors": [],
        "destinations": [],
        "alerts": [],
        "accounting": sums(),
    }
    heard = [Heard("event", [bytes(row["event"]).hex() for row in feed if row["kind"] == "event"])]
    heard.append(Heard("journey", [steps(row) for row in feed if row["kind"] == "journey"]))
    evidence = Evidence(history, Tables(rows), heard, START, ended)
    found, links = worked_out(evidence)
    rows |= people(found)
    rows["merges"] = [{"a": sk(one), "b": sk(other), "refused": why} for (one, other), why in links.items()]
    for identity in {one for pair in links for one in pair} - {
        (row["type"], row["value"]) for row in rows["identities"]
    }:
        rows["identities"].append(identity_row(identity, "nobody"))
    rows["rollups"] = cells(events, found)
    return evidence


def requests() -> list[Request]:
    """All messages a hundred at a time; ten of them twice, and twenty whose answers were lost."""
    sent = [Request(START + n, START + n + 90, 100, {"accepted": 100, "duplicate": 0}) for n in range(0, COUNT, 100)]
    again = Request(START + 700, START + 701, 10, {"accepted": 0, "duplicate": 10})
    return [*sent, again, Request(START + 800, START + 6_800, 20, None)]


def sums() -> list[Row]:
    """Of one process that ended well and of one that was killed before it wrote: it stored the odd messages."""
    row = {"source": "shop", "hour": START // HOUR * HOUR, "conflict": 0, "quarantined": 0, "refused": 0, "replayed": 0}
    return [
        {**row, "_id": b"0", "run": 0, "opened": 1, "closed": 1, "accepted": COUNT // 2, "duplicate": 15},
        {**row, "_id": b"1", "run": 1, "opened": 1, "closed": 0, "accepted": 3, "duplicate": 0},
    ]


def cells(events: list[Row], found: list[Person]) -> list[Row]:
    """Each cell in two lanes, one of which takes away from the other; and one that came to nothing."""
    counts: dict[tuple[str, str, str, int], int] = {("event", "Gone", "", START // CELL * CELL): 0}
    for event in events:
        for kind, length in (("event", CELL), ("event day", DAY)):
            cell = (kind, event["name"], "", event["at"] // length * length)
            counts[cell] = counts.get(cell, 0) + 1
    for stay in (stay for person in found for run in person.runs for stay in run["stages"]):
        cell = ("stage", f"purchase.{stay['stage']}", "maps 1", stay["entered"] // CELL * CELL)
        counts[cell] = counts.get(cell, 0) + 1
    return [
        {"_id": f"{cell} {lane}", **dict(zip(("kind", "key", "definition", "start"), cell, strict=True))}
        | {"lane": lane, "count": number}
        for cell, count in counts.items()
        for lane, number in ((1, count + 2), (2, -2))
    ]


def sk(identity: tuple[str, str]) -> str:
    return f"sk {identity[0]} {identity[1]}"


def identity_row(identity: tuple[str, str], user: str) -> Row:
    kind, value = identity
    return {"_id": f"{kind} {value}", "user": user, "sk": sk(identity), "type": kind, "value": value}


def stored(plan: Plan, number: int) -> Row:
    message = plan.message(number)
    received = START + number
    name = message.get("event" if message["type"] == "track" else "name") or message["type"]
    keys = ("messageId", "type", "userId", "anonymousId", "previousId", "groupId", "timestamp")
    return {
        "_id": number.to_bytes(16, "big"),
        **{key: message.get(key) for key in keys},
        "name": name,
        "at": message.get("timestamp", received),
        "seq": number,
        "receivedAt": received,
        "properties": message.get("properties", {}),
        "traits": message.get("traits", {}),
        "source": "shop",
        "run": number % 2,
    }


def people(found: list[Person]) -> dict[str, list[Row]]:
    """Users, identities, sessions and journeys as the oracle says."""
    rows: dict[str, list[Row]] = {name: [] for name in ("users", "identities", "sessions", "journeys")}
    for number, person in enumerate(found):
        user, visits = f"user {number}", oracle.sessions(person.events)
        counts = {"events": len(person.events), "sessions": len(visits)}
        rows["users"].append({"_id": user, **counts, "maps": "maps 1"})
        rows["identities"] += [identity_row(identity, user) for identity in person.identities]
        for start, end, count in visits:
            session = {"_id": f"{user} {start}", "user": user, "start": start, "end": end, "events": count}
            rows["sessions"].append(session)
        for run, (status, reached, started) in enumerate(oracle.briefly(person.runs), 1):
            journey = {"_id": f"{user} {run}", "user": user, "run": run, "status": status}
            rows["journeys"].append({**journey, "reached": reached, "startedAt": started})
    rows["users"].append({"_id": "gone", "movedTo": "user 0"})
    return rows


def announced(events: list[Row]) -> tuple[list[Row], dict[int, int]]:
    """A row for every event, and a journey's step for every third."""
    heads = dict.fromkeys(range(LANES), 0)
    feed: list[Row] = []
    for number, event in enumerate(events):
        lane = number % (LANES - 1)
        for kind in ("event", "journey")[: 1 + (number % 3 == 0)]:
            heads[lane] += 1
            row = {"_id": (lane, heads[lane]), "lane": lane, "seq": heads[lane], "kind": kind, "event": event["_id"]}
            feed.append({**row, "from": None, "to": "browse", "status": "active", "at": event["at"]})
    return feed, heads


def steps(row: Row) -> Any:
    return row["from"], row["to"], row["status"], row["at"]


def first(rows: list[Row], **wanted: Any) -> Row:
    return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))


def table(name: str, change: Callable[[list[Row]], Any]) -> Mutant:
    """A mutant of one collection."""

    def mutate(evidence: Evidence) -> None:
        change(evidence.tables[name])

    return mutate


def heard(change: Callable[[list[Any]], Any], who: int = 0) -> Mutant:
    """A mutant of what a subscriber heard."""

    def mutate(evidence: Evidence) -> None:
        change(evidence.heard[who].news)

    return mutate


def _feed_row_missing(rows: list[Row]) -> None:
    rows.remove(first(rows, kind="journey"))


def _announced_twice(evidence: Evidence) -> None:
    row = evidence.tables["feed"][0]
    lane = first(evidence.tables["lanes"], _id=row["lane"])
    lane["seq"] += 1
    evidence.tables["feed"].append({**row, "seq": lane["seq"], "_id": "again"})


def _merge_skipped(evidence: Evidence) -> None:
    """One identity of a merged person stays a user of its own."""
    rows = evidence.tables["identities"]
    several = next(row for row in rows if sum(one["user"] == row["user"] for one in rows) > 1)
    several["user"] = "apart"
    evidence.tables["users"].append({"_id": "apart", "events": 0, "sessions": 0, "maps": "maps 1"})


def _applied_twice(rows: list[Row]) -> None:
    rows[0]["events"] += 1


def _accepted_too_often(evidence: Evidence) -> None:
    evidence.history.counts["accepted"] += 1


def _anomaly(evidence: Evidence) -> None:
    evidence.history.anomaly("status 500")


def cell(kind: str, **change: Any) -> Mutant:
    """A mutant of one cell of this kind; numbers are added, all else is put in its place."""

    def mutate(evidence: Evidence) -> None:
        row = first(evidence.tables["rollups"], kind=kind, lane=1)
        row.update({key: row[key] + value if isinstance(value, int) else value for key, value in change.items()})

    return mutate


def _folded_under_two_versions(rows: list[Row]) -> None:
    rows[0]["maps"] = "maps 0"


def _cell_missing(rows: list[Row]) -> None:
    rows[:] = [row for row in rows if row["start"] != first(rows, kind="stage")["start"]]


def counted(row: int, **change: int) -> Mutant:
    """A mutant of what one process counted."""

    def mutate(evidence: Evidence) -> None:
        found = evidence.tables["accounting"][row]
        found.update({key: found[key] + value for key, value in change.items()})

    return mutate


MUTANTS: dict[str, tuple[str, Mutant]] = {
    "an acknowledged event is lost": ("acknowledged is kept", table("events", lambda rows: rows.pop(100))),
    "an event is stored twice": (
        "acknowledged is kept",
        table("events", lambda rows: rows.append({**rows[5], "_id": b"x" * 16})),
    ),
    "an event has another content": (
        "acknowledged is kept",
        table("events", lambda rows: rows[9].update(properties={"n": -1})),
    ),
    "an event has another sender": ("acknowledged is kept", table("events", lambda rows: rows[9].update(userId="x"))),
    "an event nobody sent": (
        "stored was sent",
        table("events", lambda rows: rows.append({**rows[5], "_id": b"y" * 16, "messageId": f"{SEED}-{COUNT}"})),
    ),
    "a good event is quarantined": (
        "answers are right",
        table("quarantine", lambda rows: rows.append({"messageId": f"{SEED}-1", "code": "planted"})),
    ),
    "more accepted than stored": ("answers are right", _accepted_too_often),
    "an answer of 500": ("answers are right", _anomaly),
    "a gateway's own clock": (
        "times are the server's",
        table("events", lambda rows: rows[3].update(receivedAt=START + 3_600_000)),
    ),
    "a time that is not the sender's": (
        "times are the server's",
        table("events", lambda rows: rows[3].update(at=rows[3]["at"] + 1)),
    ),
    "a merge is skipped": ("people are the oracle's", _merge_skipped),
    "an event is applied twice": ("people are the oracle's", table("users", _applied_twice)),
    "a late event is ignored": (
        "people are the oracle's",
        table("sessions", lambda rows: rows[4].update(start=rows[4]["start"] + 60_000)),
    ),
    "a session is missing": ("people are the oracle's", table("sessions", lambda rows: rows.pop(7))),
    "a journey has another status": (
        "people are the oracle's",
        table("journeys", lambda rows: first(rows, status="active").update(status="abandoned")),
    ),
    "a journey's stage is missing": (
        "people are the oracle's",
        table("journeys", lambda rows: max(rows, key=lambda row: len(row["reached"]))["reached"].pop()),
    ),
    "a run too many": ("people are the oracle's", table("journeys", lambda rows: rows.append({**rows[0], "run": 99}))),
    "a user is missing": ("people are the oracle's", table("users", lambda rows: rows.pop(0))),
    "a count of sessions is wrong": ("totals agree", table("users", lambda rows: rows[0].update(sessions=0))),
    "something of a user who is gone": (
        "totals agree",
        table("journeys", lambda rows: rows.append({**rows[0], "_id": "left over", "user": "gone"})),
    ),
    "an event is counted twice in a cell": ("rollups are recounted", cell("event", count=1)),
    "an entry of a stage is counted twice": ("rollups are recounted", cell("stage", count=1)),
    "an entry of a stage is not taken back": ("rollups are recounted", cell("stage", count=-1)),
    "a cell of another time": ("rollups are recounted", cell("stage", start=CELL)),
    "a cell of another stage": ("rollups are recounted", cell("stage", key="purchase.nowhere")),
    "a cell of another version of the map": ("rollups are recounted", cell("stage", definition="maps 0")),
    "a cell of an event nobody sent": ("rollups are recounted", cell("event", key="Nothing")),
    "a cell is missing": ("rollups are recounted", table("rollups", _cell_missing)),
    "a cell has two rows in a lane": (
        "rollups are recounted",
        table("rollups", lambda rows: rows.append({**rows[0], "_id": "again", "count": 0})),
    ),
    "a user is folded under an old version": ("rollups are recounted", table("users", _folded_under_two_versions)),
    "a link is not kept": ("links are the oracle's", table("merges", lambda rows: rows.pop(0))),
    "a link that nobody said": (
        "links are the oracle's",
        table("merges", lambda rows: rows.append({**rows[0], "a": rows[0]["b"]})),
    ),
    "a link is kept twice": ("links are the oracle's", table("merges", lambda rows: rows.append(dict(rows[0])))),
    "a link is refused without a reason": (
        "links are the oracle's",
        table("merges", lambda rows: first(rows, refused="two_user_ids").update(refused=None)),
    ),
    "a link is refused that holds": (
        "links are the oracle's",
        table("merges", lambda rows: first(rows, refused=None).update(refused="blocked_value")),
    ),
    "an event still waits": (
        "nothing is left to do",
        table("work", lambda rows: rows.append({"_id": b"w", "user": "user 0"})),
    ),
    "an accepted event is not counted": ("everything sent is counted", counted(0, accepted=-1)),
    "a duplicate is not counted": ("everything sent is counted", counted(0, duplicate=-6)),
    "a duplicate nobody sent": ("everything sent is counted", counted(0, duplicate=16)),
    "a good event is counted as a conflict": ("everything sent is counted", counted(0, conflict=1)),
    "a good event is counted as quarantined": ("everything sent is counted", counted(0, quarantined=1)),
    "a good event is counted as refused": ("everything sent is counted", counted(1, refused=1)),
    "an event is counted as replayed": ("everything sent is counted", counted(1, replayed=1)),
    "a row of another hour": ("everything sent is counted", counted(0, hour=-HOUR)),
    "a row of another source": (
        "everything sent is counted",
        table("accounting", lambda rows: rows[0].update(source="app")),
    ),
    "a row is missing": ("everything sent is counted", table("accounting", lambda rows: rows.pop(1))),
    "a dead process's row is closed as it was": ("everything sent is counted", counted(1, closed=1)),
    "a process counts what it did not store": ("rows count what they stored", counted(0, accepted=1)),
    "a row is closed more often than opened": ("rows count what they stored", counted(0, closed=1)),
    "a feed row is missing": ("the feed is dense", table("feed", _feed_row_missing)),
    "the last feed row is missing": ("the feed is dense", table("feed", lambda rows: rows.pop())),
    "a feed row beyond the head": ("the feed is dense", table("lanes", lambda rows: rows[0].update(seq=1))),
    "two rows at one place": ("the feed is dense", table("feed", lambda rows: rows.append(dict(rows[0])))),
    "an event is announced twice": ("the feed announces once", _announced_twice),
    "an event is announced as another": (
        "the feed announces once",
        table("feed", lambda rows: rows[0].update(event=rows[4]["event"])),
    ),
    "a silent gap": ("subscribers missed nothing", heard(lambda news: news.pop(50))),
    "a repeat": ("subscribers missed nothing", heard(lambda news: news.append(news[50]))),
    "a silent gap in journeys": ("subscribers missed nothing", heard(lambda news: news.pop(3), who=1)),
    "a repeat in journeys": ("subscribers missed nothing", heard(lambda news: news.append(news[3]), who=1)),
}


@pytest.fixture(scope="module")
def good() -> Evidence:
    return made_up()


def test_a_good_run_keeps_every_rule(good: Evidence) -> None:
    verdict = check(good)
    assert verdict.good, verdict.shown
    journeys = good.tables["journeys"]
    assert {row["status"] for row in journeys} == {"active", "completed", "abandoned"}
    assert any(len(row["reached"]) > 2 for row in journeys)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_found(good: Evidence, name: str) -> None:
    rule, mutate = MUTANTS[name]
    evidence = copy.deepcopy(good)
    mutate(evidence)
    verdict = check(evidence)
    assert verdict.counts[rule], f"{name} was not found by {rule!r}: {verdict.counts}"


def test_a_gap_that_was_told_is_no_silent_one(good: Evidence) -> None:
    evidence = copy.deepcopy(good)
    del evidence.heard[0].news[10:15]
    evidence.heard[0].missed, evidence.heard[0].gaps = 5, 1
    assert check(evidence).good


def test_collections_without_a_rule_are_named(good: Evidence) -> None:
    evidence = copy.deepcopy(good)
    evidence.tables.others |= {"kpis": 3, "empty": 0, "keys": 2}
    assert check(evidence).unchecked == ["kpis"]


def test_an_answer_around_the_full_hour_counts_in_either_and_a_lost_one_perhaps_in_none() -> None:
    hour = START // HOUR * HOUR
    requests = [
        Request(hour + 60_000, hour + 61_000, 5, {"accepted": 4, "duplicate": 1}),
        Request(hour - 1_000, hour + 1_000, 10, {"accepted": 10, "duplicate": 0}),
        Request(hour + 60_000, hour + 66_000, 7, None),
    ]
    bounds = bounds_of(requests)
    assert sorted(bounds) == [hour - HOUR, hour]
    assert not +bounds[hour - HOUR].least
    assert dict(bounds[hour].least) == {"sent": 5, "accepted": 4, "duplicate": 1}
    assert dict(bounds[hour].most) == {"sent": 22, "accepted": 21, "duplicate": 8}


def test_messages_are_a_function_of_the_seed() -> None:
    one, same, other = (Plan(seed, START, people=40, events=2_000) for seed in (3, 3, 4))
    sent = [one.message(number) for number in range(2_000)]
    assert sent == [same.message(number) for number in range(2_000)]
    assert sent != [other.message(number) for number in range(2_000)]
    assert {message["type"] for message in sent} == {"track", "page", "identify", "alias", "group"}
    assert all(message.get("timestamp", START - 4 * DAY) < START - DAY // 8 for message in sent)


def test_the_longest_silence_counts_what_reaches_into_it() -> None:
    history = History(Plan(1, START, 1, 1))
    history.acknowledged_at = [1.0, 2.0, 2.5, 6.0, 6.1]
    assert history.longest_silence(3.0, 5.0) == 3.5
    assert history.longest_silence(1.5, 2.2) == 1.0
