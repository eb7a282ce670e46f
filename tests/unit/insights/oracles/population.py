"""Events as dicts, and the sequences they form, the slow and obvious way. Imports nothing from the product.

An event: user, at (ms), seq, id, code (-1: not in the question), value (None: none), session and breakdown (-1: none).
"""

from __future__ import annotations

from typing import Any

Event = dict[str, Any]

MINUTE = 60_000
GAP = 30 * MINUTE


def order(event: Event) -> tuple[Any, ...]:
    return (event["at"], event["seq"], event["id"])


def of_users(events: list[Event]) -> list[list[Event]]:
    """By user, ascending, each in order."""
    users = sorted({event["user"] for event in events})
    return [sorted((event for event in events if event["user"] == user), key=order) for user in users]


def new_session(before: Event, event: Event) -> bool:
    return bool(event["at"] - before["at"] > GAP)


def units(events: list[Event], by: str, *, own_sessions: bool = False, constant: bool = False) -> list[list[Event]]:
    """Sequences of events, in the order of users, sessions and values."""
    found: dict[tuple[int, ...], list[Event]] = {}
    for of_user in of_users(events):
        number = 0
        for place, event in enumerate(of_user):
            if place and new_session(of_user[place - 1], event):
                number += 1
            key = [event["user"]]
            if by == "SESSION":
                if own_sessions and event["session"] == -1:
                    continue
                key.append(event["session"] if own_sessions else number)
            if constant:
                key.append(event["breakdown"])
            found.setdefault(tuple(key), []).append(event)
    return [found[key] for key in sorted(found)]


def percentile(values: list[float], share: float) -> float | None:
    if not values:
        return None
    ranked = sorted(values)
    place = (len(ranked) - 1) * share
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


def spread(values: list[float]) -> dict[str, Any]:
    mean = sum(values) / len(values) if values else None
    p50, p75, p90 = (percentile(values, share) for share in (0.5, 0.75, 0.9))
    return {"n": len(values), "mean": mean, "p50": p50, "p75": p75, "p90": p90}


def share(hits: int, n: int) -> dict[str, Any]:
    """Wilson: the two shares p for which (hits / n - p)² = z² p (1 - p) / n, as a quadratic equation."""
    if n == 0:
        return {"hits": hits, "n": 0, "value": None, "low": None, "high": None}
    z, seen = 1.959963984540054, hits / n
    a, b, c = 1 + z * z / n, -(2 * seen + z * z / n), seen * seen
    root = max(b * b - 4 * a * c, 0) ** 0.5
    low, high = (-b - root) / (2 * a), (-b + root) / (2 * a)
    return {"hits": hits, "n": n, "value": seen, "low": low, "high": high}


def people(events: list[Event]) -> list[int]:
    return sorted({event["user"] for event in events})
