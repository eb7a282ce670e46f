"""`alerts/<key>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from gateway.contract.alerts import COMPARISONS, AlertRule, Muted, OnDrift, OnKpi, OnLoss, OnSilence, Watched
from gateway.contract.durations import parse_duration
from gateway.contract.paths import DEEPEST, parts_of
from gateway.contract.reading.checks import check_duration, check_key, mappings
from gateway.contract.sources import Place, Source, shown
from gateway.model.alert import Severity

#: A KPI, a drift and a loss are of a window; the share of a day is the least that the catalogue knows.
_NEEDS_WINDOW = ("kpi", "drift", "loss")


def check_alert(source: Source) -> None:
    """Report keys, durations, windows that are missing or would not count, and days that are none."""
    check_key(source)
    value = source.value
    if not isinstance(value, dict):
        return
    for name in ("window", "for", "every"):
        check_duration(source, (name,), value.get(name))
    watch = value.get("watch")
    for name, said in watch.items() if isinstance(watch, dict) else ():
        if name in _NEEDS_WINDOW and "window" not in value:
            source.report((), f"a {name} is of a stretch of time", "add window: 7d, over which it is worked out")
        if name == "drift" and isinstance(said, dict) and len(parts_of(str(said.get("property")))) > DEEPEST:
            what = f"what is more than {DEEPEST} levels deep is not catalogued"
            source.report(("watch", name, "property"), what, "name what it stands in")
        if name == "silence":
            for needless in ("window", "minimum"):
                if needless in value:
                    what = f"the hours since an event have no {needless}"
                    source.report((needless,), what, "remove it; when: {gt: 6} says how many hours are too many")
    for index, muted in mappings(value.get("mute")):
        _check_days(source, ("mute", index), muted)


def _check_days(source: Source, place: Place, muted: Mapping[str, object]) -> None:
    days: dict[str, date] = {}
    for name in ("from", "to"):
        text = muted.get(name)
        if isinstance(text, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            try:
                days[name] = date.fromisoformat(text)
            except ValueError:
                source.report((*place, name), f"{shown(text)} is no day", "look it up in a calendar")
    if len(days) == 2 and days["from"] > days["to"]:
        source.report((*place, "to"), "it ends before it begins", "write a later day")


def build_alert(content: dict[str, Any]) -> AlertRule:
    """What a file without a problem says."""
    said: dict[str, Any] = {}
    if "for" in content:
        said["lasting"] = parse_duration(content["for"])
    if "every" in content:
        said["every"] = parse_duration(content["every"])
    comparison = next(one for one in COMPARISONS if one in content["when"])
    return AlertRule(
        key=content["key"],
        name=content["name"],
        owners=tuple(content["owners"]),
        watched=_watched(content["watch"]),
        comparison=comparison,
        threshold=float(content["when"][comparison]),
        severity=Severity(content.get("severity", "warning")),
        window=parse_duration(content["window"]) if "window" in content else None,
        minimum=int(content.get("minimum", 0)),
        hysteresis=float(content.get("hysteresis", 0)),
        no_data=content.get("noData", "keep"),
        muted=tuple(
            Muted(date.fromisoformat(one["from"]), date.fromisoformat(one["to"])) for one in content.get("mute", ())
        ),
        channels=tuple(content.get("channels", ())),
        hint=content.get("hint", "").strip(),
        **said,
    )


def _watched(content: dict[str, Any]) -> Watched:
    ((name, said),) = content.items()
    match name:
        case "kpi":
            return OnKpi(said["key"], said.get("segment"))
        case "silence":
            return OnSilence(said["event"])
        case "drift":
            return OnDrift(said["event"], said["property"])
        case _:
            return OnLoss(said.get("source"))
