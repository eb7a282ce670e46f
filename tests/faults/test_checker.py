"""The checker can fail: each planted fault of a run that was good is found, by the rule that is there for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests import oracle
from tests.faults.checker import LIMIT, STAGES, Evidence, check
from tests.faults.history import History
from tests.faults.messages import DAY, Plan
from tests.faults.subscribers import Heard
from tests.faults.tables import LANES, Row, Tables

START = 1_790_000_000_000
COUNT = 600
Mutant = Callable[[Evidence], None]


def made_up() -> Evidence:
    """A run that kept every rule, made from the plan and the oracle alone."""
    plan = Plan(7, START, people=12, events=COUNT)
    history = History(plan)
    for number in history.next_numbers(COUNT):
        history.acknowledge(number)
    history.counts.update(accepted=COUNT, sent=COUNT)
    events = [stored(plan, number) for number in range(COUNT)]
    ended = START + 60_000
    feed, heads = announced(events)
    rows: dict[str, list[Row]] = {
        "events": events,
        "feed": feed,
        "lanes": [{"_id": lane, "seq": heads[lane], "floor": 1} for lane in range(LANES)] + [{"_id": "derive"}],
        "quarantine": [],
        **people(events, ended),
    }
    heard = [Heard("event", [bytes(row["event"]).hex() for row in feed if row["kind"] == "event"])]
    heard.append(Heard("journey", [steps(row) for row in feed if row["kind"] == "journey"]))
    return Evidence(history, Tables(rows), heard, START, ended)


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
    }


def people(events: list[Row], ended: int) -> dict[str, list[Row]]:
    """Users, identities, sessions and journeys as the oracle says."""
    rows: dict[str, list[Row]] = {name: [] for name in ("users", "identities", "sessions", "journeys")}
    plain = [{"id": row["_id"], **row} for row in events]
    for number, person in enumerate(oracle.world(plain, STAGES, LIMIT, ended)):
        user = f"user {number}"
        rows["users"].append({"_id": user, "events": person["events"], "sessions": len(person["sessions"])})
        for kind, value in person["identities"]:
            rows["identities"].append({"_id": f"{kind} {value}", "user": user, "type": kind, "value": value})
        for start, end, count in person["sessions"]:
            session = {"_id": f"{user} {start}", "user": user, "start": start, "end": end, "events": count}
            rows["sessions"].append(session)
        for run, (status, reached, started) in enumerate(person["journeys"], 1):
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
    evidence.tables["users"].append({"_id": "apart", "events": 0, "sessions": 0})


def _applied_twice(rows: list[Row]) -> None:
    rows[0]["events"] += 1


def _accepted_too_often(evidence: Evidence) -> None:
    evidence.history.counts["accepted"] += 1


def _anomaly(evidence: Evidence) -> None:
    evidence.history.anomaly("status 500")


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
        table("events", lambda rows: rows.append({**rows[5], "_id": b"y" * 16, "messageId": f"7-{COUNT}"})),
    ),
    "a good event is quarantined": (
        "answers are right",
        table("quarantine", lambda rows: rows.append({"messageId": "7-1", "code": "planted"})),
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
    evidence.tables.others["rollups"] = 3
    assert check(evidence).unchecked == ["rollups"]


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
