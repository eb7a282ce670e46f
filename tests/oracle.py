"""What users, sessions and journeys a set of events gives, worked out the slow and obvious way.

Imports nothing from the product. Events are dicts: id, type, name, userId, anonymousId, previousId, at (ms), seq; an
operator's merge or split: id, type, at, seq and two lists of identities, `one` and `other`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Event = dict[str, Any]

GAP = 30 * 60 * 1000
MOST = 100  # visits, after which a run only goes forward
NOBODY = {"", "null", "none", "anonymous", "guest", "undefined", "unknown", "0"}


def order(event: Event) -> tuple[int, int, bytes]:
    return (event["at"], event["seq"], event["id"])


def sender(event: Event) -> tuple[str, str] | None:
    if event["type"] in ("merge", "split"):
        return None  # an operator's word about others
    return ("userId", event["userId"]) if event["userId"] is not None else ("anonymousId", event["anonymousId"])


def edge(event: Event) -> tuple[tuple[str, str], tuple[str, str]] | None:
    if event["type"] in ("merge", "split") or event["userId"] is None:
        return None
    if event["type"] == "identify" and event["anonymousId"] is not None:
        return ("anonymousId", event["anonymousId"]), ("userId", event["userId"])
    if event["type"] != "identify" and event["previousId"] not in (None, event["userId"]):
        return ("anonymousId", event["previousId"]), ("userId", event["userId"])
    return None


def nobody(identity: tuple[str, str]) -> bool:
    return identity[1].strip().lower() in NOBODY


class Crowd:
    """Sets of identities that are one person each, and pairs of identities that must never be one."""

    def __init__(self, user_ids: int, anonymous_ids: int) -> None:
        self.most = {"userId": user_ids, "anonymousId": anonymous_ids}
        self.groups: list[set[tuple[str, str]]] = []
        self.never: set[frozenset[tuple[str, str]]] = set()

    def group_of(self, identity: tuple[str, str]) -> set[tuple[str, str]]:
        for group in self.groups:
            if identity in group:
                return group
        self.groups.append({identity})
        return self.groups[-1]

    def unite(self, one: tuple[str, str], other: tuple[str, str]) -> None:
        left, right = self.group_of(one), self.group_of(other)
        if left is not right:
            self.groups.remove(right)
            left |= right

    def apart(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        return any(frozenset({i, j}) in self.never for i in self.group_of(one) for j in self.group_of(other))

    def why_not(self, one: tuple[str, str], other: tuple[str, str]) -> str | None:
        if nobody(one) or nobody(other):
            return "blocked_value"
        left, right = self.group_of(one), self.group_of(other)
        if left is right:
            return None
        if self.apart(one, other):
            return "split"
        for kind, code in (("userId", "two_user_ids"), ("anonymousId", "limit_anonymousId")):
            counts = [sum(member[0] == kind for member in group) for group in (left, right)]
            if min(counts) > 0 and sum(counts) > self.most[kind]:
                return code
        return None

    def say(self, event: Event) -> None:
        pair = edge(event)
        if pair is not None and self.why_not(*pair) is None:
            self.unite(*pair)

    def merge(self, event: Event) -> None:
        """The operator has the last word: whoever is named is one person, and what forbade it is forgotten."""
        named = [identity for identity in event["one"] + event["other"] if not nobody(identity)]
        for identity in named[1:]:
            self.unite(named[0], identity)
        if named:
            self.never -= {frozenset({i, j}) for i in self.group_of(named[0]) for j in self.group_of(named[0])}

    def merge_again(self, event: Event) -> None:
        """A merge from before a split joins only whom no split keeps apart."""
        named = sorted(identity for identity in {*event["one"], *event["other"]} if not nobody(identity))
        for number, identity in enumerate(named):
            for earlier in named[:number]:
                if not self.apart(earlier, identity):
                    self.unite(earlier, identity)
                    break

    def split(self, event: Event) -> None:
        one, other = set(event["one"]), set(event["other"]) - set(event["one"])
        self.never |= {frozenset({i, j}) for i in one for j in other}
        for group in list(self.groups):
            if group & one and group & other:
                self.groups.remove(group)
                self.groups += [group & one, group & other, *({rest} for rest in group - one - other)]


def crowd(events: Iterable[Event], user_ids: int = 1, anonymous_ids: int = 100) -> Crowd:
    """Everything said and decided, in order; after each split everything before it is said again."""
    found = Crowd(user_ids, anonymous_ids)
    past: list[Event] = []
    for event in sorted(events, key=order):
        for identity in (sender(event), *(edge(event) or ()), *event.get("one", ()), *event.get("other", ())):
            if identity is not None:
                found.group_of(identity)
        if event["type"] == "split":
            found.split(event)
            for before in past:
                (found.merge_again if before["type"] == "merge" else found.say)(before)
            continue
        (found.merge if event["type"] == "merge" else found.say)(event)
        past.append(event)
    return found


def people(events: Iterable[Event]) -> list[set[tuple[str, str]]]:
    """The sets of identities that are one person each."""
    return crowd(events).groups


def refusals(
    events: Iterable[Event], user_ids: int = 1, anonymous_ids: int = 100
) -> dict[tuple[tuple[str, str], tuple[str, str]], str | None]:
    """Every link that was ever said, and why it does not hold in the end (None: it does)."""
    events = list(events)
    return links(crowd(events, user_ids, anonymous_ids), events)


def links(found: Crowd, events: Iterable[Event]) -> dict[tuple[tuple[str, str], tuple[str, str]], str | None]:
    """Every link among the events that made this crowd, and why it does not hold in the end (None: it does)."""
    return {pair: found.why_not(*pair) for event in events if (pair := edge(event)) is not None}


def sessions(events: list[Event]) -> list[tuple[int, int, int]]:
    """(start, end, events) of one person's sorted events."""
    found: list[tuple[int, int, int]] = []
    for event in events:
        if found and event["at"] - found[-1][1] <= GAP:
            start, _, count = found[-1]
            found[-1] = (start, event["at"], count + 1)
        else:
            found.append((event["at"], event["at"], 1))
    return found


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def holds(condition: dict[str, Any], properties: Any) -> bool:
    """Whether one `where` of a map file is true of the properties."""
    there = True
    for name in condition["property"].split("."):
        there = there and isinstance(properties, dict) and name in properties
        properties = properties[name] if there else None
    if "exists" in condition:
        return bool(there == condition["exists"])
    if not there or isinstance(properties, dict | list):
        return False
    if "equals" in condition or "in" in condition:
        wanted = condition["in"] if "in" in condition else [condition["equals"]]
        return any(kind(one) == kind(properties) and one == properties for one in wanted)
    (name,) = set(condition) - {"property"}
    if kind(properties) != kind(condition[name]) or kind(properties) not in ("number", "str"):
        return False
    low, high = sorted([properties, condition[name]])
    if low == high:
        return name in ("gte", "lte")
    return bool((properties == high) == (name in ("gt", "gte")))


def hit(rules: list[dict[str, Any]], event: Event) -> int | None:
    """Which of the rules is the first that the event meets."""
    for number, rule in enumerate(rules):
        properties = event.get("properties", {})
        if rule["event"] == event["name"] and all(holds(one, properties) for one in rule.get("where", [])):
            return number
    return None


def span(text: Any) -> int:
    """Milliseconds: a number of them, or as map files write durations."""
    if isinstance(text, int):
        return text
    return int(text[:-1]) * {"m": 60, "h": 3600, "d": 86400, "w": 604800}[text[-1]] * 1000


# A run is the list of what was noted about it, in order; everything else is read from that list.

Note = dict[str, Any]


def stays(run: list[Note]) -> list[dict[str, Any]]:
    """The visits of stages: a stay ends where the next one begins, or where it was left."""
    found: list[dict[str, Any]] = []
    for note in run:
        if note["what"] in ("enter", "leave") and found and found[-1]["left"] is None:
            found[-1]["left"] = note["at"]
            if note["what"] == "leave":
                found[-1] |= {"leftRule": note["rule"], "leftEvent": note["event"]}
        if note["what"] == "enter":
            found.append({"stage": note["stage"], "entered": note["at"], "left": None, "rule": note["rule"]})
            found[-1] |= {"first": note["event"], "leftRule": None, "leftEvent": None, "events": 0}
        if note["what"] in ("enter", "stay"):
            found[-1] |= {"last": note["event"], "events": found[-1]["events"] + 1}
    return found


def end(run: list[Note]) -> Note | None:
    return next((note for note in run if note["what"] in ("completed", "abandoned")), None)


def deadline(run: list[Note], journey_map: dict[str, Any]) -> int:
    due: int = max(note["at"] for note in run) + span(journey_map["abandonedAfter"])
    stay = stays(run)[-1]
    for stage in journey_map["stages"]:
        if stage["key"] == stay["stage"] and stay["left"] is None and "limit" in stage:
            due = min(due, stay["entered"] + span(stage["limit"]))
    return due


def ways(journey_map: dict[str, Any], run: list[Note]) -> list[str]:
    """Where the run may go from here, the best first."""
    stages = journey_map["stages"]
    stay = stays(run)[-1]
    (here,) = (stage for stage in stages if stage["key"] == stay["stage"])
    found: list[str] | None = here.get("next")
    if found is None:
        behind = [stage["key"] for stage in stages[: stages.index(here)] if stage.get("repeats")]
        found = [stage["key"] for stage in stages[stages.index(here) + 1 :]] + behind
    found = found + ([here["key"]] if stay["left"] is not None and here.get("repeats") else [])
    if len(stays(run)) >= MOST:
        found = [key for key in found if key in [stage["key"] for stage in stages[stages.index(here) + 1 :]]]
    return found


def write_down(run: list[Note], event: Event, what: str, stage: str | None = None, rule: str | None = None) -> None:
    run.append({"what": what, "at": event["at"], "event": event["id"], "stage": stage, "rule": rule})


def enter(run: list[Note], event: Event, journey_map: dict[str, Any], candidates: list[str]) -> bool:
    """Enter the first of the candidates that the event enters, if there is one."""
    for key in candidates:
        (stage,) = (stage for stage in journey_map["stages"] if stage["key"] == key)
        number = hit(stage["enter"], event)
        if number is not None:
            write_down(run, event, "enter", key, f"{journey_map['key']}.{key}.enter[{number}]")
            if stage.get("completes"):
                write_down(run, event, "completed")
            return True
    return False


def go_on(run: list[Note], event: Event, journey_map: dict[str, Any]) -> None:
    """One event of a run that is open and stays so, or is completed."""
    stages = journey_map["stages"]
    stay = stays(run)[-1]
    (here,) = (stage for stage in stages if stage["key"] == stay["stage"])
    leaves = hit(here.get("leave", []), event) if stay["left"] is None else None
    if stay["left"] is None and leaves is None and hit(here["enter"], event) is not None:
        write_down(run, event, "stay")
    elif enter(run, event, journey_map, ways(journey_map, run)):
        pass
    elif leaves is not None:
        write_down(run, event, "leave", rule=f"{journey_map['key']}.{here['key']}.leave[{leaves}]")
    elif any(hit(stage["enter"], event) is not None for stage in stages):
        write_down(run, event, "sign of life")


def trips(events: list[Event], journey_map: dict[str, Any], as_of: int) -> list[dict[str, Any]]:
    """One person's runs through a map, as its file says it, with all that proves them; `events` are sorted."""
    stages = journey_map["stages"]
    starts = [stage["key"] for stage in stages if not stage.get("completes") or stage is stages[0]]
    runs: list[list[Note]] = []
    for event in [*events, None]:
        run = runs[-1] if runs and end(runs[-1]) is None else None
        if run is not None and deadline(run, journey_map) <= (as_of if event is None else event["at"]):
            run.append({"what": "abandoned", "at": deadline(run, journey_map), "event": None, "rule": None})
            run = None
        if event is None:
            break
        broken = hit(journey_map.get("restart", []), event)
        if run is not None and broken is not None:
            write_down(run, event, "abandoned", rule=f"{journey_map['key']}.restart[{broken}]")
            run = None
        if run is not None:
            go_on(run, event, journey_map)
            continue
        begun: list[Note] = []
        if enter(begun, event, journey_map, starts):
            runs.append(begun)
    return [told(run, number, journey_map) for number, run in enumerate(runs, 1)]


def told(run: list[Note], number: int, journey_map: dict[str, Any]) -> dict[str, Any]:
    ended = end(run)
    return {
        "run": number,
        "status": "active" if ended is None else ended["what"],
        "stages": stays(run),
        "started": run[0]["at"],
        "last": max(note["at"] for note in run if note["what"] != "abandoned"),
        "ended": None if ended is None else ended["at"],
        "due": deadline(run, journey_map) if ended is None else None,
        "broken": None if ended is None or ended["rule"] is None else (ended["rule"], ended["event"]),
    }


def plain_map(stages: list[tuple[str, set[str]]], limit: int) -> dict[str, Any]:
    """A map as files say it, of (stage, names of events that enter it); the last stage completes it."""
    plain = [{"key": key, "enter": [{"event": name} for name in sorted(names)]} for key, names in stages]
    return {"key": "m", "abandonedAfter": limit, "stages": [*plain[:-1], {**plain[-1], "completes": True}]}


def briefly(runs: list[dict[str, Any]]) -> list[tuple[str, list[str], int]]:
    """(status, stages visited, started) of one person's runs."""
    return [(run["status"], [stay["stage"] for stay in run["stages"]], run["started"]) for run in runs]


def journeys(
    events: list[Event], stages: list[tuple[str, set[str]]], limit: int, as_of: int
) -> list[tuple[str, list[str], int]]:
    """(status, stages visited, started) of one person's runs through a plain map, whose last stage completes it."""
    return briefly(trips(events, plain_map(stages, limit), as_of))


def lives(found: Crowd, events: Iterable[Event]) -> list[tuple[list[tuple[str, str]], list[Event]]]:
    """Of every person of the crowd who did anything: the identities and the events, both in order."""
    events = list({event["id"]: event for event in events}.values())
    everyone = []
    for identities in found.groups:
        mine = sorted((event for event in events if sender(event) in identities), key=order)
        if mine:
            everyone.append((sorted(identities), mine))
    return everyone


def world(events: Iterable[Event], stages: list[tuple[str, set[str]]], limit: int, as_of: int) -> list[dict[str, Any]]:
    """Every person with sessions and journeys, in an order that does not depend on anything else."""
    events = list({event["id"]: event for event in events}.values())
    result = [
        {
            "identities": identities,
            "events": len(mine),
            "sessions": sessions(mine),
            "journeys": journeys(mine, stages, limit, as_of),
        }
        for identities, mine in lives(crowd(events), events)
    ]
    return sorted(result, key=lambda person: person["identities"])
