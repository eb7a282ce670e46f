"""`kpis/<key>.yaml`."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeGuard

from gateway.contract.durations import parse_duration
from gateway.contract.functions import (
    Ces,
    Churn,
    Count,
    EngagementDepth,
    Function,
    Funnel,
    FunnelStep,
    Nps,
    Planned,
    PluginFunction,
    PropertyStatistic,
    Quantity,
    Ratio,
    Retention,
    Satisfied,
    SessionLength,
    StageMetric,
    Sum,
    TimeBetween,
    UniqueUsers,
)
from gateway.contract.kpis import Kpi, Thresholds
from gateway.contract.reading.checks import check_duration, check_key, check_keys, mappings, reported
from gateway.contract.reading.rules import build_rule, build_rules, build_where
from gateway.contract.rules import EventRule
from gateway.contract.sources import Place, Source, shown

#: The units that fit what a function gives; functions that are not here give what their property or file says.
_UNITS: dict[str, tuple[str, ...]] = {
    "funnel": ("percent",),
    "satisfied": ("percent",),
    "retention": ("percent",),
    "churn": ("percent",),
    "ratio": ("percent", "number", "currency", "events"),
    "sessionLength": ("seconds",),
    "timeBetween": ("seconds",),
    "count": ("events",),
    "uniqueUsers": ("users",),
    "engagementDepth": ("events",),
    "nps": ("points",),
}
_BY_MEASURE = {
    "users": ("users",),
    "conversion": ("percent",),
    "dropOff": ("percent",),
    "backTracks": ("percent",),
    "time": ("seconds",),
}
_BY_METHOD = {"mean": ("score",), "percentEasy": ("percent",), "index": ("points",)}


def check_kpi(source: Source) -> None:
    """Report units that do not fit, durations, keys, scales and thresholds."""
    check_key(source)
    value = source.value
    if not isinstance(value, dict):
        return
    _check_thresholds(source, value)
    function = value.get("function")
    if not isinstance(function, dict):
        return
    _check_unit(source, value.get("unit"), function)
    for name in ("funnel", "satisfied", "timeBetween", "churn", "stage", "ces", "sessionLength", "retention"):
        content = function.get(name)
        if not isinstance(content, dict):
            continue
        place: Place = ("function", name)
        for duration in ("window", "within", "quiet"):
            check_duration(source, (*place, duration), content.get(duration))
        if name == "funnel":
            _check_funnel(source, place, content)
        elif name == "satisfied":
            _check_scale(source, place, content)
        elif name == "ces":
            _check_range(source, place, content.get("lowest", 1), content.get("highest", 7))
        elif name == "churn":
            _check_churn(source, place, content)
        elif name == "stage" and "statistic" in content and content.get("measure") != "time":
            source.report((*place, "statistic"), "only times have a statistic", "remove it, or write measure: time")
    if isinstance(value.get("filters"), list) and ("sessionLength" in function or "stage" in function):
        what = f"{next(iter(function))} counts no events that could be filtered"
        source.report(("filters",), what, "remove filters; the number can be parted by breakdowns")


def build_kpi(content: dict[str, Any]) -> Kpi:
    """What a file without a problem says."""
    thresholds: dict[str, Any] = content.get("thresholds", {})
    return Kpi(
        key=content["key"],
        question=content["question"].strip(),
        unit=content["unit"],
        better=content["better"],
        owners=tuple(content["owners"]),
        term=content.get("term"),
        function=_function(content["key"], content["function"], content["unit"]),
        target=content.get("target"),
        filters=build_where({"where": content.get("filters", ())}),
        breakdowns=tuple(content.get("breakdowns", ())),
        thresholds=Thresholds(thresholds.get("warning"), thresholds.get("critical")) if thresholds else None,
        cadence=content.get("cadence"),
    )


# -- checks -------------------------------------------------------------------------------------------------------


def _check_unit(source: Source, unit: object, function: dict[str, Any]) -> None:
    if len(function) != 1 or not isinstance(unit, str) or reported(source, ("unit",)):
        return
    ((name, content),) = function.items()
    fitting = _UNITS.get(name)
    if isinstance(content, dict) and name == "stage":
        fitting = _BY_MEASURE.get(content.get("measure", ""))
    elif isinstance(content, dict) and name == "ces":
        fitting = _BY_METHOD.get(content.get("method", "mean"))
    if fitting is not None and unit not in fitting:
        source.report(("unit",), f"{name} is not measured in {unit}", f"write {' or '.join(fitting)}")


def _check_funnel(source: Source, place: Place, funnel: dict[str, Any]) -> None:
    steps = mappings(funnel.get("steps"))
    check_keys(source, (*place, "steps"), steps, "step")
    for index, step in steps:
        if step.get("optional") is True and index in (0, len(steps) - 1):
            what = f"the {'last' if index else 'first'} step is what is measured, and cannot be optional"
            source.report((*place, "steps", index, "optional"), what, "remove optional")
        elif step.get("optional") is True and funnel.get("order") == "any":
            source.report((*place, "steps", index, "optional"), "in any order no step is optional", "remove optional")
    if funnel.get("order") == "strict":
        if "exclude" in funnel:
            what = "in strict order any other event ends an attempt already"
            source.report((*place, "exclude"), what, "remove exclude")
        if funnel.get("toleranceMs"):
            what = "in strict order nothing may stand between, so that nothing can be tolerated"
            source.report((*place, "toleranceMs"), what, "remove toleranceMs")


def _check_churn(source: Source, place: Place, churn: dict[str, Any]) -> None:
    if "where" in churn and "event" not in churn:
        source.report((*place, "where"), "where stands without an event", "add the event whose properties it means")
    quiet = churn.get("quiet")
    try:
        short = isinstance(quiet, str) and parse_duration(quiet) < timedelta(days=1)
    except ValueError:
        return  # told already
    if short:
        source.report((*place, "quiet"), f"nobody has left after {quiet}", "write a day or more, such as 30d")


def _check_range(source: Source, place: Place, lowest: object, highest: object) -> bool:
    if not isinstance(lowest, int | float) or not isinstance(highest, int | float) or lowest < highest:
        return True
    source.report(
        (*place, "highest"), f"the scale from {lowest} to {highest} is empty", "make highest the larger number"
    )
    return False


def _check_scale(source: Source, place: Place, satisfied: dict[str, Any]) -> None:
    numbers: list[Any] = [satisfied.get(name) for name in ("lowest", "atLeast", "highest")]
    lowest, at_least, highest = numbers
    if not all(isinstance(number, int | float) for number in numbers):
        return
    if _check_range(source, place, lowest, highest) and not lowest < at_least <= highest:
        what = f"{at_least} does not part the scale from {lowest} to {highest}"
        source.report((*place, "atLeast"), what, f"write a number above {lowest} and up to {highest}")


def _check_thresholds(source: Source, value: dict[str, Any]) -> None:
    thresholds = value.get("thresholds")
    if not isinstance(thresholds, dict) or value.get("better") not in ("higher", "lower"):
        return
    sign = 1 if value["better"] == "higher" else -1
    said = {**{name: thresholds.get(name) for name in ("critical", "warning")}, "target": value.get("target")}
    named = [(name, number) for name, number in said.items() if _number(number)]
    for (worse, low), (better, high) in pairwise(named):
        if sign * low > sign * high:
            what = f"{worse} {shown(low)} is better than {better} {shown(high)}, as {value['better']} is better"
            source.report(("thresholds", worse), what, f"write {'less' if sign > 0 else 'more'} than {shown(high)}")


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- building -----------------------------------------------------------------------------------------------------


def _function(kpi: str, content: dict[str, Any], unit: str) -> Function:
    ((name, said),) = content.items()
    place = f"{kpi}.{name}"
    match name:
        case "funnel":
            return _funnel(kpi, said)
        case "count" | "uniqueUsers" | "sum":
            return _quantity(place, content)
        case "ratio":
            part, whole = (_quantity(f"{place}.{side}", said[side]) for side in ("part", "whole"))
            return Ratio(part, whole, unit == "percent")
        case "mean" | "percentile":
            statistic = said.get("statistic", "mean")
            return PropertyStatistic(build_rule(place, said), said["property"], statistic)
        case "timeBetween" | "retention" | "churn":
            return _timed(place, name, said)
        case "stage":
            return StageMetric(said["map"], said.get("stage"), said["measure"], said.get("statistic", "median"))
        case "satisfied" | "nps" | "ces":
            return _score(place, name, said)
        case "engagementDepth":
            return EngagementDepth(build_rules(place, "events", said))
        case "plugin":
            rules = build_rules(place, "events", said)
            return PluginFunction(said["name"], rules, said.get("property"), said.get("parameters", {}))
        case "planned":
            return Planned(said["words"].strip())
        case _:
            return SessionLength(said["statistic"])


def _funnel(kpi: str, funnel: dict[str, Any]) -> Funnel:
    steps = (
        FunnelStep(step["key"], step["label"], build_rule(f"{kpi}.{step['key']}", step), step.get("optional", False))
        for step in funnel["steps"]
    )
    return Funnel(
        tuple(steps),
        _duration(funnel, "window"),
        order=funnel.get("order", "ordered"),
        attempt=funnel.get("attempt", "best"),
        exclude=build_rules(f"{kpi}.funnel", "exclude", funnel),
        tolerance_ms=int(funnel.get("toleranceMs", 0)),
        counting=funnel.get("counting", "users"),
    )


def _quantity(place: str, content: dict[str, Any]) -> Quantity:
    match content:
        case {"count": said}:
            return Count(build_rules(place, "events", said))
        case {"uniqueUsers": said}:
            return UniqueUsers(build_rules(place, "events", said))
        case _:
            return Sum(build_rule(place, content["sum"]), content["sum"]["property"])


def _timed(place: str, name: str, said: dict[str, Any]) -> TimeBetween | Retention | Churn:
    def optional(side: str) -> EventRule | None:
        return build_rule(f"{place}.{side}", said[side]) if side in said else None

    match name:
        case "timeBetween":
            end = build_rule(f"{place}.to", said["to"])
            return TimeBetween(end, optional("from"), said["statistic"], _duration(said, "within"))
        case "retention":
            kind, bucket = said.get("kind", "n_day"), said.get("bucket", "rolling")
            return Retention(optional("start"), optional("back"), said["period"], int(said["after"]), kind, bucket)
        case _:
            return Churn(build_rule(place, said) if "event" in said else None, parse_duration(said["quiet"]))


def _score(place: str, name: str, said: dict[str, Any]) -> Satisfied | Nps | Ces:
    rule = build_rule(place, said)
    match name:
        case "satisfied":
            scale = (float(said[one]) for one in ("atLeast", "lowest", "highest"))
            return Satisfied(rule, said["property"], *scale)
        case "nps":
            return Nps(rule, said["property"])
        case _:
            method, direction = said.get("method", "mean"), said.get("direction", "highIsEasy")
            lowest, highest = float(said.get("lowest", 1)), float(said.get("highest", 7))
            return Ces(rule, said["property"], method, direction, lowest, highest)


def _duration(content: dict[str, Any], name: str) -> Any:
    return parse_duration(content[name]) if name in content else None
