"""The judgment over a run: what was acknowledged, what the database holds, what subscribers heard.

Each rule yields one line per breach. Nothing here asks the gateway anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.accounting import everything_sent_is_counted, rows_count_what_they_stored
from tests.faults.deliveries import missing, out_of_order, twice_without_reason, unfinished
from tests.faults.evidence import Evidence
from tests.faults.messages import Message
from tests.faults.people import (
    links_are_the_oracles,
    nothing_is_left_to_do,
    people_are_the_oracles,
    rollups_are_recounted,
    totals_agree,
    worked_out,
)
from tests.faults.tables import LANES, Row

_SHOWN = 20
#: What was given to the gateway before the run; nothing of a run goes in there.
GIVEN = frozenset({"contracts", "keys"})


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
    evidence.people, evidence.links = worked_out(evidence)
    verdict = Verdict()
    for rule, judge in RULES.items():
        for breach in judge(evidence):
            verdict.add(rule, breach)
    verdict.unchecked = sorted(name for name, count in evidence.tables.others.items() if count and name not in GIVEN)
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


def deliveries_are_finished(evidence: Evidence) -> Iterator[str]:
    """Nothing is left to deliver, and nobody is alarmed any more."""
    return unfinished(evidence.tables)


RULES: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "acknowledged is kept": acknowledged_is_kept,
    "stored was sent": stored_was_sent,
    "answers are right": answers_are_right,
    "times are the server's": times_are_the_servers,
    "everything sent is counted": everything_sent_is_counted,
    "rows count what they stored": rows_count_what_they_stored,
    "people are the oracle's": people_are_the_oracles,
    "totals agree": totals_agree,
    "links are the oracle's": links_are_the_oracles,
    "rollups are recounted": rollups_are_recounted,
    "nothing is left to do": nothing_is_left_to_do,
    "the feed is dense": feed_is_dense,
    "the feed announces once": feed_announces_once,
    "subscribers missed nothing": subscribers_missed_nothing,
    "destinations got everything": destinations_got_everything,
    "destinations got it in order": destinations_got_it_in_order,
    "nothing came twice but for a fault": nothing_came_twice,
    "deliveries are finished": deliveries_are_finished,
}


def summary(verdict: Verdict) -> Sequence[str]:
    """The verdict in lines for people."""
    if verdict.good:
        return [f"good: {len(RULES)} rules kept"]
    return [
        f"{rule}: {count} breaches\n    " + "\n    ".join(verdict.shown[rule][:5])
        for rule, count in verdict.counts.items()
    ]
