"""What a funnel says: every attempt of every user is walked from its first step, one event at a time.

A question is a dict: steps [(codes, optional)], window, order, re_entry, counting, exclusions [(codes, after, before)],
tolerance, between, as_of.
"""

from __future__ import annotations

from typing import Any

from tests.unit.insights.oracles.population import Event, share, spread, units

Question = dict[str, Any]
Attempt = dict[str, Any]


def in_window(events: list[Event], entry: int, done: dict[int, int], row: int, question: Question) -> bool:
    window = question["window"]
    return window is None or events[row]["at"] - events[entry]["at"] <= window


def fits(event: Event, step: tuple[tuple[int, ...], bool]) -> bool:
    return event["code"] in step[0]


def may_be_next(events: list[Event], done: dict[int, int], step: int, row: int, question: Question) -> bool:
    """After the step before; or up to the tolerance earlier, but after every step that this event could have done."""
    previous = done[max(done)]
    if not question["tolerance"]:
        return row > previous
    steps = question["steps"]
    alike = [number for number in done if set(steps[number][0]) & set(steps[step][0])]
    early_enough = events[row]["at"] >= events[previous]["at"] - question["tolerance"]
    return bool(early_enough) and all(row > done[number] for number in alike)


def required(question: Question) -> list[int]:
    return [number for number, (_, optional) in enumerate(question["steps"]) if not optional]


def begins(question: Question, events: list[Event]) -> list[int]:
    firsts = question["steps"] if question["order"] == "ANY_ORDER" else question["steps"][:1]
    between = question["between"]
    return [
        row
        for row, event in enumerate(events)
        if any(fits(event, step) for step in firsts) and (between is None or between[0] <= event["at"] < between[1])
    ]


def in_order(question: Question, events: list[Event], entry: int) -> Attempt:
    done, stopped = {0: entry}, None
    for step in required(question)[1:]:
        previous = done[max(done)]
        rows = [
            row
            for row, event in enumerate(events)
            if fits(event, question["steps"][step])
            and may_be_next(events, done, step, row, question)
            and in_window(events, entry, done, row, question)
        ]
        stops = [
            row
            for codes, after, before in question["exclusions"]
            if after < step <= before
            for row, event in enumerate(events)
            if row > previous and event["code"] in codes and in_window(events, entry, done, row, question)
        ]
        if stops and (not rows or min(stops) < rows[0]):
            stopped = min(stops)
            break
        if not rows:
            break
        done[step] = rows[0]
    depth, last = len(done), done[max(done)]
    add_optional(question, events, entry, done, stopped)
    return {"entry": entry, "depth": depth, "last": last, "done": done, "stopped": stopped}


def add_optional(
    question: Question, events: list[Event], entry: int, done: dict[int, int], stopped: int | None
) -> None:
    needed = required(question)
    for step in range(len(question["steps"])):
        before = [number for number in needed if number < step]
        if step in needed or before[-1] not in done:
            continue
        after = min(number for number in needed if number > step)
        previous = done[max(number for number in done if number < step)]
        limit = done.get(after, len(events) if stopped is None else stopped)
        for row in range(previous + 1, limit):
            if fits(events[row], question["steps"][step]) and in_window(events, entry, done, row, question):
                done[step] = row
                break


def with_nothing_between(question: Question, events: list[Event], entry: int) -> Attempt:
    done, row = {0: entry}, entry
    for step, kind in list(enumerate(question["steps"]))[1:]:
        there = row + 1 < len(events) and in_window(events, entry, done, row + 1, question)
        if there and fits(events[row + 1], kind):
            row += 1
            done[step] = row
        elif not kind[1]:
            break
    needed = [step for step in required(question) if step in done]
    return {"entry": entry, "depth": len(needed), "last": done[needed[-1]], "done": done, "stopped": None}


def in_any_order(question: Question, events: list[Event], entry: int) -> Attempt:
    missing = set(range(len(question["steps"])))
    rows: list[int] = []
    stopped = None
    for row in range(entry, len(events)):
        if not missing or not in_window(events, entry, {}, row, question):
            break
        if row > entry and any(events[row]["code"] in codes for codes, _, _ in question["exclusions"]):
            stopped = row
            break
        done = {step for step in missing if fits(events[row], question["steps"][step])}
        rows += [row] * len(done)
        missing -= done
    return {
        "entry": entry,
        "depth": len(rows),
        "last": rows[-1],
        "done": dict(enumerate(rows)),
        "stopped": stopped,
    }


def attempt(question: Question, events: list[Event], entry: int) -> Attempt:
    walk = {"ORDERED": in_order, "STRICT": with_nothing_between, "ANY_ORDER": in_any_order}[question["order"]]
    return walk(question, events, entry)


def best(attempts: list[Attempt]) -> Attempt:
    return max(attempts, key=lambda one: (one["depth"], -one["last"], one["entry"]))


def first_touch(question: Question) -> bool:
    return bool(question["re_entry"] == "FIRST_TOUCH")


def still_open(question: Question, events: list[Event], one: Attempt) -> bool:
    window = question["window"]
    if window is None or one["stopped"] is not None or one["depth"] == len(required(question)):
        return False
    return bool(question["as_of"] - events[one["entry"]]["at"] <= window)


def next_entry(question: Question, events: list[Event], one: Attempt, entries: list[int]) -> int | None:
    """The first entry after the attempt has ended."""
    if one["depth"] == len(required(question)):
        later = [entry for entry in entries if entry > max(one["last"], one["entry"])]
    elif one["stopped"] is not None:
        later = [entry for entry in entries if entry > max(one["stopped"], one["entry"])]
    elif question["window"] is None:
        later = []
    else:
        end = events[one["entry"]]["at"] + question["window"]
        later = [entry for entry in entries if events[entry]["at"] > end]
    return later[0] if later else None


def counted(question: Question, events: list[Event]) -> list[Attempt]:
    """The attempts of one sequence that count, each with its outcome."""
    entries = begins(question, events)
    if not entries:
        return []
    if question["counting"] == "TOTALS":
        found = []
        entry: int | None = entries[0]
        while entry is not None:
            one = attempt(question, events, entry)
            found.append(one | {"open": still_open(question, events, one)})
            entry = next_entry(question, events, one, entries)
    else:
        if first_touch(question):
            entries = entries[:1]
        every = [attempt(question, events, entry) for entry in entries]
        found = [best(every) | {"open": any(still_open(question, events, one) for one in every)}]
    for one in found:
        one["user"] = events[one["entry"]]["user"]
        one["outcome"] = outcome(question, one)
        one["at"] = {step: events[row]["at"] for step, row in one["done"].items()}
        one["began"] = events[one["entry"]]["at"]
        one["values"] = {step: events[row]["breakdown"] for step, row in one["done"].items()}
    return found


def outcome(question: Question, one: Attempt) -> str:
    if one["depth"] == len(required(question)):
        return "CONVERTED"
    if one["open"]:
        return "OPEN"
    return "DROPPED" if one["stopped"] is None else "EXCLUDED"


def attempts(question: Question, events: list[Event], *, own_sessions: bool, constant: bool = False) -> list[Attempt]:
    by = "SESSION" if question["counting"] == "SESSIONS" else "USER"
    return [
        one | {"constant": unit[0]["breakdown"]}
        for unit in units(events, by, own_sessions=own_sessions, constant=constant)
        for one in counted(question, unit)
    ]


def attributed(one: Attempt, attribution: str, step: int) -> int:
    if attribution == "ALL":
        return int(one["constant"])
    if attribution == "STEP":
        return int(one["values"].get(step, -1))
    known = [one["values"][number] for number in sorted(one["values"]) if one["values"][number] != -1]
    if not known:
        return -1
    return int(known[0] if attribution == "FIRST" else known[-1])


def summary(question: Question, found: list[Attempt]) -> dict[str, Any]:
    def number(kind: str) -> int:
        return sum(one["outcome"] == kind for one in found)

    steps: list[dict[str, Any]] = []
    needed = required(question)
    last = len(question["steps"]) - 1
    for step in range(len(question["steps"])):
        did = [one for one in found if step in one["done"]]
        before = [other for other in needed if other < step]
        depth = len(before)
        did_before = [one for one in found if before[-1] in one["done"]] if before else found
        waiting = [one for one in found if one["outcome"] == "OPEN" and one["depth"] <= depth]
        waiting_before = [one for one in waiting if one["depth"] == depth and depth > 0]
        optional = step not in needed
        stopped = {
            kind.lower(): None
            if optional
            else sum(one["outcome"] == kind and one["depth"] == depth + 1 for one in found)
            for kind in ("DROPPED", "OPEN", "EXCLUDED")
        }
        took = [max(one["at"][step] - one["at"][before[-1]], 0) for one in did] if before else []
        steps.append(
            {
                "reached": len(did),
                "of_first": share(len(did), len(found) - len(waiting)),
                "of_previous": share(len(did), len(did_before) - len(waiting_before)),
                "since_previous": spread(took),
                **stopped,
            }
        )
    return {
        "entered": len(found),
        "converted": number("CONVERTED"),
        "dropped": number("DROPPED"),
        "open": number("OPEN"),
        "excluded": number("EXCLUDED"),
        "conversion": share(number("CONVERTED"), len(found) - number("OPEN")),
        "to_convert": spread([max(one["at"][last] - one["began"], 0) for one in found if last in one["done"]]),
        "steps": tuple(steps),
    }


def people(found: list[Attempt], step: int) -> list[int]:
    return sorted({one["user"] for one in found if step in one["done"]})


def by_value(
    question: Question, found: list[Attempt], attribution: str, step: int, most: int
) -> list[tuple[int, dict[str, Any]]]:
    values = [attributed(one, attribution, step) for one in found]
    frequent = sorted(set(values), key=lambda value: (-values.count(value), value))
    kept = frequent[:most]
    folded = [value if value in kept else -2 for value in values]
    names = [*kept, *([-2] if -2 in folded else [])]
    return [
        (name, summary(question, [one for one, value in zip(found, folded, strict=True) if value == name]))
        for name in names
    ]
