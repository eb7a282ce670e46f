"""What must be true of a contract file and a JSON Schema cannot say."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from gateway.contract.durations import parse_duration
from gateway.contract.shape import FileKind, did_you_mean
from gateway.contract.sources import Place, Source, shown


def check_sense(source: Source, kind: FileKind) -> None:
    """Report what a JSON Schema cannot see. Works on files of any shape, to list all problems at once."""
    if not isinstance(source.value, dict):
        return
    key = source.value.get("key")
    if isinstance(key, str) and key != source.stem and not _reported(source, ("key",)):
        fix = f"rename the file to {key}.yaml or write key: {source.stem}"
        source.report(("key",), f"the key {shown(key)} is not the file's name", fix)
    if kind == "journey":
        _check_journey(source, source.value)
    else:
        _check_kpi(source, source.value)


def check_unique(sources: list[Source]) -> None:
    """Report keys that several files of one kind claim."""
    first: dict[str, str] = {}
    for source in sources:
        key = source.value.get("key") if isinstance(source.value, dict) else None
        if not isinstance(key, str):
            continue
        if key in first:
            what = f"the key {shown(key)} is already that of {first[key]}"
            source.report(("key",), what, "give each file its own key")
        first.setdefault(key, source.file)


def _check_journey(source: Source, value: dict[str, Any]) -> None:
    _check_duration(source, ("abandonedAfter",), value.get("abandonedAfter"))
    stages = _mappings(value.get("stages"))
    _check_keys(source, ("stages",), stages, "stage")
    for index, stage in stages:
        _check_keys(source, ("stages", index, "touchpoints"), _mappings(stage.get("touchpoints")), "touchpoint")
        _check_duration(source, ("stages", index, "limit"), stage.get("limit"))
        _check_next(source, index, stage, dict(stages))
        _check_end(source, index, stage)
    if not stages or any(problem.place[:1] == ("stages",) for problem in source.problems):
        return  # a misspelled `completes` is not also a missing one
    if not any(stage.get("completes") for _, stage in stages):
        source.report(("stages",), "no stage completes the journey", "add completes: true to the stage at the goal")
    mandatory = [(index, stage) for index, stage in stages if not stage.get("optional")]
    if not mandatory:
        fix = "remove optional: true from the stage every run goes through"
        source.report(("stages",), "every stage is optional, so no run has a start", fix)
        return
    named = {key for _, stage in stages for key in stage.get("next", ())}
    for index, stage in mandatory:
        if stage.get("completes") and index + 1 < len(stages) and stages[index + 1][1]["key"] not in named:
            what = f"nothing can come after {shown(stage['key'])}, which completes the journey and is not optional"
            source.report(("stages", index + 1), what, "move completes: true to the last stage, or end the map there")
            return
    _check_ways(source, [stage for _, stage in stages])


def _check_next(source: Source, index: int, stage: dict[str, Any], stages: dict[int, dict[str, Any]]) -> None:
    """Whether `next` names stages that may follow: going back is for those that repeat."""
    following = stage.get("next")
    if not isinstance(following, list):
        return
    positions = {one["key"]: at for at, one in stages.items() if isinstance(one.get("key"), str)}
    for number, key in enumerate(following):
        place: Place = ("stages", index, "next", number)
        if not isinstance(key, str) or _reported(source, place):
            continue
        if key not in positions:
            others = [known for known in positions if known != stage.get("key")]
            source.report(
                place, f"no stage has the key {shown(key)}", did_you_mean(key, others, otherwise="use one of")
            )
        elif key == stage.get("key"):
            fix = "remove it; repeats: true lets a run come back to a stage that it left"
            source.report(place, f"{shown(key)} cannot follow itself", fix)
        elif positions[key] < index and not stages[positions[key]].get("repeats"):
            fix = f"add repeats: true to {shown(key)}, or put it after {shown(stage.get('key'))}"
            source.report(place, f"{shown(key)} comes earlier and does not repeat", fix)


def _check_end(source: Source, index: int, stage: dict[str, Any]) -> None:
    """A run that is complete goes nowhere and waits for nothing."""
    if stage.get("completes") is not True:
        return
    for name in ("leave", "next", "repeats", "limit"):
        if stage.get(name):
            what = f"{shown(stage.get('key'))} completes the journey, so that its {name} never counts"
            source.report(("stages", index, name), what, f"remove {name}")


def _check_ways(source: Source, stages: list[dict[str, Any]]) -> None:
    """Whether a run that begins at the start can come to every stage."""
    positions = {stage["key"]: index for index, stage in enumerate(stages)}
    waiting = [*takewhile(lambda index: stages[index].get("optional"), positions.values())]
    waiting.append(len(waiting))
    reached: set[int] = set()
    while waiting:
        index = waiting.pop()
        if index in reached:
            continue
        reached.add(index)
        following = stages[index].get("next")
        if following is not None:
            waiting += (positions[key] for key in following)
        elif not stages[index].get("completes"):
            waiting += range(index + 1, len(stages))
            waiting += (before for before in range(index) if stages[before].get("repeats"))
    for key, index in positions.items():
        if index not in reached:
            fix = f"add {key} to the next of the stage it follows"
            source.report(("stages", index), f"no stage leads to {shown(key)}", fix)


def _check_kpi(source: Source, value: dict[str, Any]) -> None:
    function = value.get("function")
    if not isinstance(function, dict):
        return
    unit, fitting = value.get("unit"), "seconds" if "sessionLength" in function else "percent"
    if unit in ("percent", "seconds") and len(function) == 1 and unit != fitting:
        source.report(("unit",), f"{next(iter(function))} is not measured in {unit}", f"write {fitting}")
    funnel, satisfied = function.get("funnel"), function.get("satisfied")
    if isinstance(funnel, dict):
        place: Place = ("function", "funnel")
        _check_duration(source, (*place, "window"), funnel.get("window"))
        _check_keys(source, (*place, "steps"), _mappings(funnel.get("steps")), "step")
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


def _check_duration(source: Source, place: Place, text: object) -> None:
    if not isinstance(text, str) or _reported(source, place):
        return
    try:
        parse_duration(text)
    except ValueError as error:
        source.report(place, f"{shown(text)} is too long", str(error))


def _check_keys(source: Source, place: Place, entries: list[tuple[int, dict[str, Any]]], noun: str) -> None:
    first: dict[str, int] = {}
    for index, entry in entries:
        key = entry.get("key")
        if not isinstance(key, str):
            continue
        here: Place = (*place, index, "key")
        if key in first:
            line = source.lines[(*place, first[key], "key")]
            source.report(here, f"the {noun} key {shown(key)} is already used in line {line}", "give each its own key")
        first.setdefault(key, index)


def _reported(source: Source, place: Place) -> bool:
    return any(problem.place == place for problem in source.problems)


def _mappings(value: object) -> list[tuple[int, dict[str, Any]]]:
    entries = value if isinstance(value, list) else []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]
