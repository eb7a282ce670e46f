"""What each KPI says, observation by observation. Imports nothing from the product.

A function is a dict with its `kind`; events are those of `population`, with the `name` of what happened. An observation
is user, at (ms: when it belongs to a range), value (None: cannot be judged yet) and part (-1: none).
"""

from __future__ import annotations

from math import ceil, floor, lgamma, pi
from typing import Any
from zoneinfo import ZoneInfo

from tests.unit.insights.oracles import funnels, periods
from tests.unit.insights.oracles.population import Event, new_session, of_users, percentile, share

DAY = 24 * 3_600_000
Z = 1.959963984540054
Question = dict[str, Any]
Seen = dict[str, Any]


# -- what is seen ---------------------------------------------------------------------------------------------------


def within(at: int, between: tuple[int, int]) -> bool:
    return between[0] <= at < between[1]


def seen(event: Event, value: float | None) -> Seen:
    return {"user": event["user"], "at": event["at"], "value": value, "part": event["breakdown"]}


def is_answer(value: float | None, question: Question) -> bool:
    return value is not None and question["lowest"] <= value <= question["highest"]


def score(value: float, question: Question) -> float:
    """On a scale of seven 5, 6 and 7 are easy, 6 and 7 very easy, 1 to 3 hard; on others what lies there."""
    lowest, highest = question["lowest"], question["highest"]
    place = (value - lowest) / (highest - lowest)
    if question.get("low_is_easy"):
        place = 1 - place
    match question["kind"]:
        case "satisfied":
            return float(value >= question["at_least"])
        case "nps":
            return float(value >= 9) - float(value <= 6)
        case "easy":
            return float(place >= 4 / 6 - 1e-12)
        case "index":
            return float(place >= 5 / 6 - 1e-12) - float(place <= 2 / 6 + 1e-12)
    return value


def sessions(events: list[Event]) -> list[list[Event]]:
    found: list[list[Event]] = []
    for of_user in of_users(events):
        for place, event in enumerate(of_user):
            if not place or new_session(of_user[place - 1], event):
                found.append([])
            found[-1].append(event)
    return found


def of_session(session: list[Event], value: float) -> Seen:
    parts = [event["breakdown"] for event in session if event["breakdown"] != -1]
    return {"user": session[0]["user"], "at": session[0]["at"], "value": value, "part": (parts or [-1])[0]}


def beginning(of_user: list[Event], names: list[str] | None, between: tuple[int, int]) -> int | None:
    """The place of the event that a user begins with: the first ever, or the first of these names in the range."""
    if names is None:
        return 0 if within(of_user[0]["at"], between) else None
    places = [place for place, event in enumerate(of_user) if event["name"] in names and within(event["at"], between)]
    return places[0] if places else None


def took_too_long(took: int, limit: int | None) -> bool:
    return limit is not None and took > limit


def times(question: Question, events: list[Event], between: tuple[int, int], as_of: int) -> list[Seen]:
    found = []
    for of_user in of_users(events):
        place = beginning(of_user, question["start"], between)
        if place is None:
            continue
        begun, limit = of_user[place], question["within"]
        ends = [event for event in of_user[place + 1 :] if event["name"] in question["end"]]
        if ends and not took_too_long(ends[0]["at"] - begun["at"], limit):
            found.append(seen(begun, (ends[0]["at"] - begun["at"]) / 1000))
        elif limit is None or begun["at"] + limit >= as_of:
            found.append(seen(begun, None))
    return found


def period_over(start: int, question: Question, zone: ZoneInfo, as_of: int) -> bool:
    after, interval = question["after"], question["period"]
    if question["bucket"] == "rolling":
        return bool(start + (after + 1) * periods.LENGTH[interval] <= as_of)
    return periods.begin(periods.number_at(start, zone, interval) + after + 1, zone, interval) <= as_of


def returns(
    question: Question, events: list[Event], between: tuple[int, int], as_of: int, zone: ZoneInfo
) -> list[Seen]:
    found = []
    clock = {"clock": question["bucket"].upper(), "interval": question["period"], "zone": zone}
    for of_user in of_users(events):
        place = beginning(of_user, question["start"], between)
        if place is None:
            continue
        start = of_user[place]["at"]
        back = [one for one in of_user[place + 1 :] if question["back"] is None or one["name"] in question["back"]]
        buckets = {periods.bucket_of(start, event["at"], clock) for event in back}
        held = {question["after"]} & buckets
        if question["unbounded"]:
            held = {bucket for bucket in buckets if bucket >= question["after"]}
        over = period_over(start, question, zone, as_of)
        found.append(seen(of_user[place], float(bool(held)) if over else None))
    return found


def leavers(question: Question, events: list[Event], between: tuple[int, int], as_of: int) -> list[Seen]:
    found = []
    for of_user in of_users(events):
        mine = [event for event in of_user if question["names"] is None or event["name"] in question["names"]]
        inside = [place for place, event in enumerate(mine) if within(event["at"], between)]
        if not inside:
            continue
        last = mine[inside[-1]]
        back = any(event["at"] - last["at"] <= question["quiet"] for event in mine[inside[-1] + 1 :])
        judged = back or last["at"] + question["quiet"] < as_of
        found.append(seen(last, float(not back) if judged else None))
    return found


def attempts(question: Question, events: list[Event], between: tuple[int, int], as_of: int) -> list[Seen]:
    asked = question["funnel"] | {"between": between, "as_of": as_of}
    found = funnels.attempts(asked, events, own_sessions=False)
    values = {"CONVERTED": 1.0, "OPEN": None}
    return [
        {
            "user": one["user"],
            "at": between[0],
            "value": values.get(one["outcome"], 0.0),
            "part": funnels.attributed(one, "FIRST", 0),
        }
        for one in found
    ]


def observations(
    question: Question, events: list[Event], between: tuple[int, int], as_of: int, zone: ZoneInfo
) -> list[Seen]:
    """All that a function sees in [start, end) ms; nothing later than `as_of` is there."""
    events = sorted((event for event in events if event["at"] <= as_of), key=lambda event: event["at"])
    inside = [event for event in events if within(event["at"], between)]
    match question["kind"]:
        case "count" | "uniques":
            return [seen(event, 1.0) for event in inside if event["name"] in question["names"]]
        case "sum" | "statistic":
            valued = [event for event in inside if event["name"] in question["names"]]
            return [seen(event, event["value"]) for event in valued if event["value"] is not None]
        case "satisfied" | "nps" | "score" | "easy" | "index":
            answers = [event for event in inside if event["name"] in question["names"]]
            answers = [event for event in answers if is_answer(event["value"], question)]
            return [seen(event, score(event["value"], question)) for event in answers]
        case "length":
            found = [one for one in sessions(events) if within(one[0]["at"], between)]
            return [of_session(one, (one[-1]["at"] - one[0]["at"]) / 1000) for one in found]
        case "depth":
            found = [one for one in sessions(events) if within(one[0]["at"], between)]
            return [of_session(one, len({e["name"] for e in one} & set(question["names"]))) for one in found]
        case "between":
            return times(question, events, between, as_of)
        case "retention":
            return returns(question, events, between, as_of, zone)
        case "churn":
            return leavers(question, events, between, as_of)
        case "funnel":
            return attempts(question, events, between, as_of)
    raise AssertionError(question["kind"])


# -- what is made of it ---------------------------------------------------------------------------------------------


def density(x: float, freedom: int) -> float:
    """Student's t."""
    scale = 2.718281828459045 ** (lgamma((freedom + 1) / 2) - lgamma(freedom / 2))
    return float(scale / (freedom * pi) ** 0.5 * (1 + x * x / freedom) ** (-(freedom + 1) / 2))


def student(freedom: int, known: dict[int, float] = {}) -> float:  # noqa: B006 - remembered
    """Within plus or minus so much lie 95 % of Student's t, by Simpson's rule; from 30 on near enough to the normal."""
    if freedom >= 30:
        return Z
    if freedom not in known:
        low, high = 1.0, 13.0
        while high - low > 1e-11:
            middle = (low + high) / 2
            step = middle / 4000
            inside = sum((2 if place % 2 == 0 else 4) * density(place * step, freedom) for place in range(1, 4000))
            area = (inside + density(0, freedom) + density(middle, freedom)) * step / 3
            low, high = (middle, high) if area < 0.475 else (low, middle)
        known[freedom] = high
    return known[freedom]


def mean(values: list[float]) -> dict[str, Any]:
    n = len(values)
    if not n:
        return nothing()
    middle = sum(values) / n
    if n == 1:
        return {"value": middle, "n": n, "low": None, "high": None}
    deviation = (sum((value - middle) ** 2 for value in values) / (n - 1)) ** 0.5
    margin = student(n - 1) * deviation / n**0.5
    return {"value": middle, "n": n, "low": middle - margin, "high": middle + margin}


def ranked(values: list[float], fraction: float) -> dict[str, Any]:
    """Between which of the ranked values the percentile lies."""
    n = len(values)
    margin = Z * (n * fraction * (1 - fraction)) ** 0.5
    first, last = floor(n * fraction - margin), ceil(n * fraction + margin)
    bounds = (sorted(values)[first - 1], sorted(values)[last - 1]) if first >= 1 and last <= n else (None, None)
    return {"value": percentile(values, fraction), "n": n, "low": bounds[0], "high": bounds[1]}


def hundredths(hits: int, n: int) -> dict[str, Any]:
    found = share(hits, n)
    return {name: found[name] if name == "n" or found[name] is None else 100 * found[name] for name in VALUES}


VALUES = ("value", "n", "low", "high")


def nothing() -> dict[str, Any]:
    return {"value": None, "n": 0, "low": None, "high": None}


def net(values: list[float]) -> dict[str, Any]:
    """The variance of a difference of two shares: p + d - (p - d)²."""
    n = len(values)
    if not n:
        return nothing()
    up, down = (sum(value == sign for value in values) / n for sign in (1, -1))
    margin = 100 * Z * ((up + down - (up - down) ** 2) / n) ** 0.5
    value = 100 * (up - down)
    return {"value": value, "n": n, "low": max(-100.0, value - margin), "high": min(100.0, value + margin)}


def bounded(found: dict[str, Any], low: float | None, high: float | None) -> dict[str, Any]:
    if found["low"] is not None and low is not None:
        found["low"] = max(low, found["low"])
    if found["high"] is not None and high is not None:
        found["high"] = min(high, found["high"])
    return found


def number(question: Question, found: list[Seen]) -> dict[str, Any]:
    """Value, n, interval and open ones."""
    values = [one["value"] for one in found if one["value"] is not None]
    made = made_of(question, found, values)
    return made | {"open": len(found) - len(values)}


def made_of(question: Question, found: list[Seen], values: list[float]) -> dict[str, Any]:
    match question["kind"]:
        case "count":
            return {"value": float(len(found)), "n": len(found), "low": None, "high": None}
        case "uniques":
            users = len({one["user"] for one in found})
            return {"value": float(users), "n": users, "low": None, "high": None}
        case "sum":
            return {"value": float(sum(values)), "n": len(values), "low": None, "high": None}
        case "satisfied" | "easy" | "retention" | "churn" | "funnel":
            return hundredths(int(sum(values)), len(values))
        case "nps" | "index":
            return net(values)
        case "score":
            return bounded(mean(values), question["lowest"], question["highest"])
        case "length" | "depth":
            return bounded(mean(values), 0.0, None)
    if question["statistic"] == "mean":
        return bounded(mean(values), 0.0 if question["kind"] == "between" else None, None)
    return ranked(values, question["statistic"])


def divided(question: Question, part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Of a ratio: only what is a part has an interval."""
    if not whole["value"]:
        return nothing() | {"n": whole["n"], "open": 0}
    scale = 100 if question["percent"] else 1
    value = {"value": scale * part["value"] / whole["value"], "n": whole["n"], "low": None, "high": None, "open": 0}
    alike = question["part"]["kind"] == question["whole"]["kind"] != "sum"
    if alike and part["value"] <= whole["value"]:
        bounds = share(int(part["value"]), int(whole["value"]))
        value |= {"low": scale * bounds["low"], "high": scale * bounds["high"]}
    return value


def kpi(question: Question, events: list[Event], between: tuple[int, int], as_of: int, zone: ZoneInfo) -> Any:
    """The number over [start, end) ms."""
    if question["kind"] == "ratio":
        part, whole = (kpi(question[side], events, between, as_of, zone) for side in ("part", "whole"))
        return divided(question, part, whole)
    return number(question, observations(question, events, between, as_of, zone))


def slices(
    question: Question, events: list[Event], between: tuple[int, int], as_of: int, zone: ZoneInfo, most: int
) -> list[tuple[int, Any]]:
    """By value, most frequent first (the lowest of those as frequent), then Other (-2)."""
    sides = [question["part"], question["whole"]] if question["kind"] == "ratio" else [question]
    found = [observations(side, events, between, as_of, zone) for side in sides]
    counts: dict[int, int] = {}
    for one in found[-1]:
        counts[one["part"]] = counts.get(one["part"], 0) + 1
    kept = sorted(counts, key=lambda part: (-counts[part], part))[:most]
    shown = kept + [-2] * any(part not in kept for part in counts)
    result = []
    for value in shown:
        mine = [[one for one in side if (one["part"] if one["part"] in kept else -2) == value] for side in found]
        numbers = [number(side, some) for side, some in zip(sides, mine, strict=True)]
        result.append((value, divided(question, *numbers) if question["kind"] == "ratio" else numbers[0]))
    return result


def people(question: Question, found: list[Seen], group: str) -> list[int]:
    signed = question["kind"] in ("nps", "index")

    def chosen(value: float | None) -> bool:
        if value is None or group == "OPEN":
            return (value is None) is (group == "OPEN")
        missed = value < 0 if signed else not value
        return {"COUNTED": True, "HIT": value > 0, "MISSED": missed}[group]

    return sorted({one["user"] for one in found if chosen(one["value"])})
