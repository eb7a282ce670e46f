"""Paths, variants, directly-follows, sessions and time on page, one sequence after the other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.unit.insights.oracles.population import Event, percentile, share, spread, units

EXIT, OTHER = -1, -2


def collapsed(events: list[Event], collapse: bool) -> list[Event]:
    kept: list[Event] = []
    for event in events:
        if not (collapse and kept and kept[-1]["code"] == event["code"]):
            kept.append(event)
    return kept


def named(events: list[Event]) -> list[Event]:
    return [event for event in events if event["code"] >= 0]


def one_path(events: list[Event], anchor: int, question: dict[str, Any]) -> list[int]:
    step = 1 if question["direction"] == "FROM" else -1
    path = []
    for column in range(question["depth"] + 1):
        row = anchor + step * column
        if row < 0 or row >= len(events):
            break
        if question["window"] is not None and abs(events[row]["at"] - events[anchor]["at"]) > question["window"]:
            break
        path.append(events[row]["code"])
    return path


def exits(path: list[int], columns: int) -> list[int]:
    return path + [EXIT] * (columns - len(path))


def shown_codes(codes: list[int], most: int) -> list[int]:
    here = [code for code in codes if code != EXIT]
    return sorted(set(here), key=lambda code: (-here.count(code), code))[:most]


def paths(events: list[Event], question: dict[str, Any], *, own_sessions: bool) -> dict[str, Any]:
    found, users = [], []
    for unit in units(named(events), question["unit"], own_sessions=own_sessions):
        sequence = collapsed(unit, question["collapse"])
        if question["anchor"]:
            anchors = [row for row, event in enumerate(sequence) if event["code"] in question["anchor"]]
            if not question["totals"]:
                anchors = anchors[:1]
        else:
            anchors = [0] if question["direction"] == "FROM" else [len(sequence) - 1]
        for anchor in anchors:
            found.append(exits(one_path(sequence, anchor, question), question["depth"] + 1))
            users.append(unit[0]["user"])
    columns = []
    for number in range(question["depth"] + 1):
        codes = [path[number] for path in found]
        kept = shown_codes(codes, question["most"])
        for path in found:
            if path[number] not in (*kept, EXIT):
                path[number] = OTHER
        folded = [path[number] for path in found]
        shown = tuple((code, codes.count(code)) for code in kept)
        columns.append({"shown": shown, "other": folded.count(OTHER), "exited": folded.count(EXIT)})
    links = []
    for number in range(question["depth"]):
        pairs = [(path[number], path[number + 1]) for path in found if path[number] != EXIT]
        rows = [{"column": number, "source": pair[0], "to": pair[1], "paths": pairs.count(pair)} for pair in set(pairs)]
        links += sorted(rows, key=lambda row: (-row["paths"], row["source"], row["to"]))
    return {"total": len(found), "columns": tuple(columns), "links": tuple(links), "paths": found, "users": users}


def variants(events: list[Event], unit: str, *, collapse: bool, most: int, own_sessions: bool) -> dict[str, Any]:
    sequences = [collapsed(one, collapse) for one in units(named(events), unit, own_sessions=own_sessions)]
    keys = [tuple(event["code"] for event in one) for one in sequences]
    ranked = sorted(dict.fromkeys(keys), key=lambda key: -keys.count(key))
    shown, covered = [], 0
    for key in ranked[:most]:
        having = [one for one, other in zip(sequences, keys, strict=True) if other == key]
        covered += len(having)
        lasted = [one[-1]["at"] - one[0]["at"] for one in having]
        shown.append(
            {
                "codes": key,
                "count": len(having),
                "share": share(len(having), len(keys)),
                "coverage": covered / len(keys),
                "duration": spread(lasted),
            }
        )
    who = {key: {one[0]["user"] for one, other in zip(sequences, keys, strict=True) if other == key} for key in ranked}
    people = [sorted(who[key]) for key in ranked]
    return {"total": len(keys), "distinct": len(ranked), "shown": tuple(shown), "people": people}


def follows(events: list[Event], unit: str, *, own_sessions: bool) -> dict[str, Any]:
    took: dict[tuple[int, int], list[float]] = {}
    where: dict[tuple[int, int], set[int]] = {}
    people: dict[tuple[int, int], set[int]] = {}
    first: list[int] = []
    last: list[int] = []
    for number, one in enumerate(units(named(events), unit, own_sessions=own_sessions)):
        first.append(one[0]["code"])
        last.append(one[-1]["code"])
        for before, event in pairwise(one):
            pair = before["code"], event["code"]
            took.setdefault(pair, []).append(event["at"] - before["at"])
            where.setdefault(pair, set()).add(number)
            people.setdefault(pair, set()).add(event["user"])
    edges: list[dict[str, Any]] = [
        {
            "source": pair[0],
            "to": pair[1],
            "count": len(times),
            "sequences": len(where[pair]),
            "mean": sum(times) / len(times),
            "p50": percentile(times, 0.5),
            "p90": percentile(times, 0.9),
        }
        for pair, times in took.items()
    ]
    edges.sort(key=lambda edge: (-edge["count"], edge["source"], edge["to"]))

    def ends(codes: list[int]) -> tuple[tuple[int, int], ...]:
        return tuple(sorted(((code, codes.count(code)) for code in set(codes)), key=lambda pair: (-pair[1], pair[0])))

    return {
        "edges": tuple(edges),
        "begins": ends(first),
        "ends": ends(last),
        "people": {pair: sorted(users) for pair, users in people.items()},
    }


def is_engaged(session: list[Event], views: tuple[int, ...], key_events: tuple[int, ...]) -> bool:
    """GA4's rule."""
    longer = session[-1]["at"] - session[0]["at"] > 10_000
    seen = sum(event["code"] in views for event in session)
    return longer or any(event["code"] in key_events for event in session) or seen >= 2


def session_stats(
    events: list[Event], views: tuple[int, ...], key_events: tuple[int, ...], *, own_sessions: bool
) -> dict[str, Any]:
    found = units(events, "SESSION", own_sessions=own_sessions)
    lasted = [one[-1]["at"] - one[0]["at"] for one in found]
    engaged = sum(is_engaged(one, views, key_events) for one in found)
    return {
        "sessions": len(found),
        "users": len({one[0]["user"] for one in found}),
        "events": spread([len(one) for one in found]),
        "duration": spread(lasted),
        "duration_of_several": spread([time for one, time in zip(found, lasted, strict=True) if len(one) > 1]),
        "engaged": share(engaged, len(found)),
        "bounce": share(len(found) - engaged, len(found)),
        "single_event": share(sum(len(one) == 1 for one in found), len(found)),
    }


def view_time(session: list[Event], row: int, views: tuple[int, ...], pings: tuple[int, ...], method: str) -> int:
    """-1: none."""
    at = session[row]["at"]
    following = [other for other in range(row + 1, len(session)) if session[other]["code"] in views]
    if method == "NEXT_VIEW":
        return session[following[0]]["at"] - at if following else -1
    end = following[0] if following else len(session)
    alive = [event["at"] for event in session[row:end] if event["code"] in pings]
    if method == "ABSOLUTE":
        return alive[-1] - at if alive else -1
    beats = {time // 10_000 for time in alive}
    return 10_000 * (len(beats) - 1) + 5_000 if beats else 0


def time_on_page(
    events: list[Event], views: tuple[int, ...], pings: tuple[int, ...], method: str, *, own_sessions: bool
) -> tuple[dict[str, Any], ...]:
    times: dict[int, list[int]] = {}
    for session in units(events, "SESSION", own_sessions=own_sessions):
        for row, event in enumerate(session):
            if event["code"] in views:
                times.setdefault(event["breakdown"], []).append(view_time(session, row, views, pings, method))
    ranked = sorted(times, key=lambda page: (-len(times[page]), page))
    return tuple(
        {"page": page, "views": len(times[page]), "time": spread([time for time in times[page] if time >= 0])}
        for page in ranked
    )
