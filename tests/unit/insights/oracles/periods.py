"""Calendars, trends, retention, stickiness, lifecycle and churn by the local date of every single event."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.unit.insights.oracles.population import Event, of_users, people, percentile, share

HOUR = 3_600_000
LENGTH = {"DAY": 24 * HOUR, "WEEK": 7 * 24 * HOUR, "MONTH": 30 * 24 * HOUR}


def local_date(at: int, zone: ZoneInfo) -> date:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(zone).date()


def number_of(day: date, interval: str) -> int:
    """A number that grows by one from an interval to the next."""
    if interval == "DAY":
        return day.toordinal()
    if interval == "WEEK":
        return (day.toordinal() - 1) // 7  # day 1 is a Monday
    return day.year * 12 + day.month - 1


def first_day(number: int, interval: str) -> date:
    if interval == "DAY":
        return date.fromordinal(number)
    if interval == "WEEK":
        return date.fromordinal(number * 7 + 1)
    return date(number // 12, number % 12 + 1, 1)


def number_at(at: int, zone: ZoneInfo, interval: str) -> int:
    return number_of(local_date(at, zone), interval)


def begin(number: int, zone: ZoneInfo, interval: str) -> int:
    """The local midnight, where there is one."""
    day = first_day(number, interval)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 1000


def one_number(statistic: str, here: list[Event], fraction: float) -> float | None:
    values = [event["value"] for event in here]
    if statistic == "COUNT":
        return len(here)
    if statistic == "UNIQUES":
        return len(people(here))
    if statistic == "SUM":
        return float(sum(values))
    if statistic == "MEAN":
        return sum(values) / len(values) if values else None
    return percentile(values, fraction)


def trend(
    events: list[Event],
    codes: tuple[int, ...],
    between: tuple[int, int],
    zone: ZoneInfo,
    interval: str,
    as_of: int,
    statistic: str,
    fraction: float,
) -> list[tuple[dict[str, Any], list[int]]]:
    """`between`: any two moments of the first and the last interval. The users of each point beside it."""
    points = []
    for number in range(number_at(between[0], zone, interval), number_at(between[1], zone, interval) + 1):
        here = [event for event in events if number_at(event["at"], zone, interval) == number]
        here = [event for event in here if event["code"] in codes]
        if statistic not in ("COUNT", "UNIQUES"):
            here = [event for event in here if event["value"] is not None]
        value = one_number(statistic, here, fraction)
        end = begin(number + 1, zone, interval)
        point = {
            "start": begin(number, zone, interval),
            "end": end,
            "value": value,
            "n": len(here),
            "complete": end <= as_of,
        }
        points.append((point, people(here)))
    return points


# -- retention ------------------------------------------------------------------------------------------------------


def bucket_of(start: int, at: int, question: dict[str, Any]) -> int:
    zone, interval = question["zone"], question["interval"]
    if question["clock"] == "CALENDAR":
        return number_at(at, zone, interval) - number_at(start, zone, interval)
    return int((at - start) // LENGTH[interval])


def holds(kind: str, buckets: set[int], first: int, last: int) -> bool:
    if kind == "UNBOUNDED":
        return any(bucket >= first for bucket in buckets)
    if kind == "UP_TO" and first:
        return any(1 <= bucket <= last for bucket in buckets)
    if kind == "STREAK" and first:
        return all(bucket in buckets for bucket in range(1, last + 1))
    return any(first <= bucket <= last for bucket in buckets)


def starts(of_user: list[Event], question: dict[str, Any]) -> list[int]:
    """The places of the events with which a user begins, one per cohort."""
    places = [place for place, event in enumerate(of_user) if event["code"] in question["start"]]
    low, high = question["between"]
    if question["first_ever"]:
        return [place for place in places[:1] if low <= of_user[place]["at"] < high]
    first: dict[int, int] = {}
    for place in places:
        if low <= of_user[place]["at"] < high:
            first.setdefault(number_at(of_user[place]["at"], question["zone"], question["interval"]), place)
    return list(first.values())


def complete(cohort: int, bucket: int, question: dict[str, Any]) -> bool:
    zone, interval = question["zone"], question["interval"]
    if question["clock"] == "CALENDAR":
        return bool(begin(cohort + bucket + 1, zone, interval) <= question["as_of"])
    return bool(begin(cohort + 1, zone, interval) + (bucket + 1) * LENGTH[interval] <= question["as_of"])


def retention(events: list[Event], question: dict[str, Any]) -> dict[str, Any]:
    zone, interval = question["zone"], question["interval"]
    spans = question["brackets"] or [(bucket, bucket) for bucket in range(question["buckets"] + 1)]
    rows: list[tuple[int, int, list[bool]]] = []
    for of_user in of_users(events):
        for place in starts(of_user, question):
            start = of_user[place]["at"]
            back = [event for event in of_user[place + 1 :] if event["code"] in question["back"]]
            buckets = {bucket_of(start, event["at"], question) for event in back}
            held = [holds(question["kind"], buckets, first, last) for first, last in spans]
            rows.append((of_user[0]["user"], number_at(start, zone, interval), held))
    cohorts = []
    low, high = (number_at(at, zone, interval) for at in (question["between"][0], question["between"][1] - 1))
    sums = [[0, 0] for _ in spans]
    for cohort in range(low, high + 1):
        members = [held for _, number, held in rows if number == cohort]
        cells = []
        for column, (_, last) in enumerate(spans):
            back_again = sum(held[column] for held in members)
            over = complete(cohort, last, question)
            cells.append({"share": share(back_again, len(members)), "complete": over})
            if over:
                sums[column][0] += back_again
                sums[column][1] += len(members)
        cohorts.append(
            {
                "start": begin(cohort, zone, interval),
                "end": begin(cohort + 1, zone, interval),
                "size": len(members),
                "cells": tuple(cells),
            }
        )
    average = tuple(share(hits, n) for hits, n in sums)
    return {"cohorts": tuple(cohorts), "average": average, "rows": [(user, held) for user, _, held in rows]}


# -- activity -------------------------------------------------------------------------------------------------------


def active(events: list[Event], codes: tuple[int, ...], zone: ZoneInfo, interval: str) -> dict[int, set[int]]:
    """By interval, who was active."""
    found: dict[int, set[int]] = {}
    for event in events:
        if event["code"] in codes:
            found.setdefault(number_at(event["at"], zone, interval), set()).add(event["user"])
    return found


def stickiness(
    events: list[Event], codes: tuple[int, ...], between: tuple[int, int], zone: ZoneInfo, interval: str
) -> dict[str, Any]:
    found = active(events, codes, zone, interval)
    numbers = range(number_at(between[0], zone, interval), number_at(between[1], zone, interval) + 1)
    users = {user for number in numbers for user in found.get(number, set())}
    times = [sum(user in found.get(number, set()) for number in numbers) for user in users]
    actives = tuple(len(found.get(number, set())) for number in numbers)
    return {
        "exactly": tuple(times.count(k) for k in range(len(numbers) + 1)),
        "at_least": tuple(sum(time >= k for time in times) for k in range(len(numbers) + 1)),
        "actives": actives,
        "ratio": sum(actives) / len(actives) / len(users) if users else None,
    }


def lifecycle(
    events: list[Event], codes: tuple[int, ...], between: tuple[int, int], zone: ZoneInfo, interval: str, as_of: int
) -> list[dict[str, Any]]:
    """From the second interval on; users by their state."""
    found = active(events, codes, zone, interval)
    created = {of_user[0]["user"]: number_at(of_user[0]["at"], zone, interval) for of_user in of_users(events)}
    low, high = (number_at(at, zone, interval) for at in between)
    points = []
    for number in range(low + 1, high + 1):
        now, before = found.get(number, set()), found.get(number - 1, set())
        new = {user for user in now if created[user] == number}
        points.append(
            {
                "start": begin(number, zone, interval),
                "end": begin(number + 1, zone, interval),
                "new": sorted(new),
                "returning": sorted(now & before),
                "resurrecting": sorted(now - before - new),
                "dormant": sorted(before - now),
                "complete": begin(number + 1, zone, interval) <= as_of,
            }
        )
    return points


def customers(events: list[Event], joins: tuple[int, ...], leaves: tuple[int, ...], before: int) -> set[int]:
    found = set()
    for of_user in of_users(events):
        for event in of_user:
            if event["at"] < before and event["code"] in joins:
                found.add(event["user"])
            elif event["at"] < before and event["code"] in leaves:
                found.discard(event["user"])
    return found


def customer_churn(
    events: list[Event], joins: tuple[int, ...], leaves: tuple[int, ...], between: tuple[int, int]
) -> dict[str, Any]:
    at_start, at_end = (customers(events, joins, leaves, at) for at in between)
    left = at_start - at_end
    churn = share(len(left), len(at_start))
    return {"churn": churn, "open": 0, "left": sorted(left), "stayed": sorted(at_start - left)}


def usage_churn(
    events: list[Event], codes: tuple[int, ...], between: tuple[int, int], inactive: int, as_of: int
) -> dict[str, Any]:
    left, stayed, waiting = [], [], []
    for of_user in of_users(events):
        places = [place for place, event in enumerate(of_user) if event["code"] in codes]
        inside = [place for place in places if between[0] <= of_user[place]["at"] < between[1]]
        if not inside:
            continue
        last = of_user[inside[-1]]["at"]
        user = of_user[0]["user"]
        if any(of_user[place]["at"] - last <= inactive for place in places if place > inside[-1]):
            stayed.append(user)
        elif last + inactive < as_of:
            left.append(user)
        else:
            waiting.append(user)
    return {
        "churn": share(len(left), len(left) + len(stayed)),
        "open": len(waiting),
        "left": left,
        "stayed": stayed,
        "waiting": waiting,
    }
