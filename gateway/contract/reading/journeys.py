"""`journeys/<key>.yaml`."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from gateway.contract.durations import parse_duration
from gateway.contract.journeys import JourneyMap, Stage, Touchpoint
from gateway.contract.reading.checks import check_duration, check_key, check_keys, mappings, reported
from gateway.contract.reading.rules import build_rules
from gateway.contract.shape import did_you_mean
from gateway.contract.sources import Place, Source, shown


def check_journey(source: Source) -> None:
    """Report durations, keys, stages that nothing leads to, and what a run at its goal cannot do."""
    check_key(source)
    value = source.value
    if not isinstance(value, dict):
        return
    check_duration(source, ("abandonedAfter",), value.get("abandonedAfter"))
    stages = mappings(value.get("stages"))
    check_keys(source, ("stages",), stages, "stage")
    for index, stage in stages:
        check_keys(source, ("stages", index, "touchpoints"), mappings(stage.get("touchpoints")), "touchpoint")
        check_duration(source, ("stages", index, "limit"), stage.get("limit"))
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
        if not isinstance(key, str) or reported(source, place):
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


def build_journey(content: dict[str, Any]) -> JourneyMap:
    """What a file without a problem says."""
    return JourneyMap(
        key=content["key"],
        version=int(content["version"]),
        name=content["name"],
        persona=content["persona"],
        goal=content["goal"].strip(),
        owners=tuple(content["owners"]),
        pain_points=tuple(text.strip() for text in content.get("painPoints", ())),
        abandoned_after=parse_duration(content["abandonedAfter"]),
        stages=tuple(_stage(content["key"], stage) for stage in content["stages"]),
        restart=build_rules(content["key"], "restart", content),
    )


def _stage(map_key: str, content: dict[str, Any]) -> Stage:
    place = f"{map_key}.{content['key']}"
    return Stage(
        key=content["key"],
        label=content["label"],
        enter=build_rules(place, "enter", content),
        touchpoints=tuple(Touchpoint(**touchpoint) for touchpoint in content.get("touchpoints", ())),
        optional=content.get("optional", False),
        completes=content.get("completes", False),
        emotion=content.get("emotion"),
        leave=build_rules(place, "leave", content),
        next=tuple(content.get("next", ())),
        repeats=content.get("repeats", False),
        limit=parse_duration(content["limit"]) if "limit" in content else None,
        pain_points=tuple(text.strip() for text in content.get("painPoints", ())),
        owner=content.get("owner"),
        feedback=tuple(content.get("feedback", ())),
    )
