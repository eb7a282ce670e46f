"""`kpis/<key>.yaml`."""

from __future__ import annotations

from typing import Any

from gateway.contract.durations import parse_duration
from gateway.contract.kpis import Function, Funnel, FunnelStep, Kpi, Satisfied, SessionLength
from gateway.contract.reading.checks import check_duration, check_key, check_keys, mappings
from gateway.contract.reading.rules import build_rule
from gateway.contract.sources import Place, Source


def check_kpi(source: Source) -> None:
    """Report units that do not fit, durations, keys and scales."""
    check_key(source)
    value = source.value
    if not isinstance(value, dict):
        return
    function = value.get("function")
    if not isinstance(function, dict):
        return
    unit, fitting = value.get("unit"), "seconds" if "sessionLength" in function else "percent"
    if unit in ("percent", "seconds") and len(function) == 1 and unit != fitting:
        source.report(("unit",), f"{next(iter(function))} is not measured in {unit}", f"write {fitting}")
    funnel, satisfied = function.get("funnel"), function.get("satisfied")
    if isinstance(funnel, dict):
        place: Place = ("function", "funnel")
        check_duration(source, (*place, "window"), funnel.get("window"))
        check_keys(source, (*place, "steps"), mappings(funnel.get("steps")), "step")
    if isinstance(satisfied, dict):
        _check_scale(source, ("function", "satisfied"), satisfied)


def _check_scale(source: Source, place: Place, satisfied: dict[str, Any]) -> None:
    numbers: list[Any] = [satisfied.get(name) for name in ("lowest", "atLeast", "highest")]
    lowest, at_least, highest = numbers
    if not all(isinstance(number, int | float) for number in numbers):
        return
    if lowest >= highest:
        what = f"the scale from {lowest} to {highest} is empty"
        source.report((*place, "highest"), what, "make highest the larger number")
    elif not lowest < at_least <= highest:
        what = f"{at_least} does not part the scale from {lowest} to {highest}"
        source.report((*place, "atLeast"), what, f"write a number above {lowest} and up to {highest}")


def build_kpi(content: dict[str, Any]) -> Kpi:
    """What a file without a problem says."""
    return Kpi(
        key=content["key"],
        question=content["question"].strip(),
        unit=content["unit"],
        better=content["better"],
        owners=tuple(content["owners"]),
        term=content.get("term"),
        function=_function(content["key"], content["function"]),
        target=content.get("target"),
    )


def _function(kpi: str, content: dict[str, Any]) -> Function:
    match content:
        case {"funnel": funnel}:
            steps = (
                FunnelStep(step["key"], step["label"], build_rule(f"{kpi}.{step['key']}", step))
                for step in funnel["steps"]
            )
            return Funnel(tuple(steps), parse_duration(funnel["window"]) if "window" in funnel else None)
        case {"satisfied": satisfied}:
            scale = (float(satisfied[name]) for name in ("atLeast", "lowest", "highest"))
            return Satisfied(build_rule(f"{kpi}.satisfied", satisfied), satisfied["property"], *scale)
        case _:
            return SessionLength(content["sessionLength"]["statistic"])
