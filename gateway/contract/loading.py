"""Loads a contract folder: journeys/*.yaml and kpis/*.yaml, checked as a whole before anything is built."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from gateway.contract.durations import parse_duration
from gateway.contract.hashing import content_hash
from gateway.contract.journeys import JourneyMap, Stage, Touchpoint
from gateway.contract.kpis import Function, Funnel, FunnelStep, Kpi, Satisfied, SessionLength
from gateway.contract.rules import OPERATORS, Condition, EventRule
from gateway.contract.sense import check_sense, check_unique
from gateway.contract.shape import FileKind, check_shape
from gateway.contract.sources import Source, read_source
from gateway.errors import ContractError

_FOLDERS: dict[FileKind, str] = {"journey": "journeys", "kpi": "kpis"}


@dataclass(frozen=True, slots=True)
class Contract:
    """What one contract folder says. `journeys_hash` changes when anything in a map does."""

    name: str
    journeys: dict[str, JourneyMap]
    kpis: dict[str, Kpi]
    journeys_hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "journeys_hash", content_hash(self.journeys))


def load_contract(folder: Path) -> Contract:
    """The contract in `folder`, which gives it its name.

    Raises ContractError with every problem of every file, one line each: file:line key: what - fix.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would name a linked folder after its target
    if not folder.is_dir():
        raise ContractError([f"{folder}: there is no such folder - name one that holds journeys/ and kpis/"])
    problems: list[str] = []
    sources: dict[FileKind, list[Source]] = {}
    for kind in _FOLDERS:
        paths, misplaced = _files(folder, kind)
        sources[kind] = [_checked(folder, path, kind) for path in paths]
        check_unique(sources[kind])
        problems += misplaced
        for source in sources[kind]:
            problems += map(str, sorted(source.problems, key=lambda problem: problem.line))
    if not problems and not any(sources.values()):
        problems = [f"{folder}: the folder holds no contract - add journeys/<key>.yaml or kpis/<key>.yaml"]
    if problems:
        raise ContractError(problems)
    journeys = [_journey(_content(source)) for source in sources["journey"]]
    kpis = [_kpi(_content(source)) for source in sources["kpi"]]
    return Contract(folder.name, {item.key: item for item in journeys}, {item.key: item for item in kpis})


def _files(folder: Path, kind: FileKind) -> tuple[list[Path], list[str]]:
    """The files to read, and a problem for each YAML file that stands where nobody would read it."""
    home = folder / _FOLDERS[kind]
    paths: list[Path] = []
    misplaced: list[str] = []
    for path in sorted(home.rglob("*.y*ml")):
        inside = path.relative_to(home)
        if path.suffix not in (".yaml", ".yml") or not path.is_file() or any(part[0] == "." for part in inside.parts):
            continue  # hidden folders are where mounted configurations keep their versions
        shown = path.relative_to(folder.parent).as_posix()
        if path.suffix == ".yml":
            misplaced.append(f"{shown}:1: only files named *.yaml are read - rename it to {path.stem}.yaml")
        elif path.parent != home:
            misplaced.append(f"{shown}:1: folders in {home.name}/ are not read - move it to {home.name}/{path.name}")
        else:
            paths.append(path)
    return paths, misplaced


def _checked(folder: Path, path: Path, kind: FileKind) -> Source:
    source = read_source(path, path.relative_to(folder.parent).as_posix())
    if source.value is not None:
        check_shape(source, kind)
        check_sense(source, kind)
    return source


# Building: only from files without a problem, so that every key is there and of its kind.


def _content(source: Source) -> dict[str, Any]:
    return cast("dict[str, Any]", source.value)


def _journey(content: dict[str, Any]) -> JourneyMap:
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
    )


def _stage(map_key: str, content: dict[str, Any]) -> Stage:
    prefix = f"{map_key}.{content['key']}.enter"
    return Stage(
        key=content["key"],
        label=content["label"],
        enter=tuple(_rule(f"{prefix}[{index}]", rule) for index, rule in enumerate(content["enter"])),
        touchpoints=tuple(Touchpoint(**touchpoint) for touchpoint in content.get("touchpoints", ())),
        optional=content.get("optional", False),
        completes=content.get("completes", False),
        emotion=content.get("emotion"),
    )


def _kpi(content: dict[str, Any]) -> Kpi:
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
                FunnelStep(step["key"], step["label"], _rule(f"{kpi}.{step['key']}", step)) for step in funnel["steps"]
            )
            return Funnel(tuple(steps), parse_duration(funnel["window"]) if "window" in funnel else None)
        case {"satisfied": satisfied}:
            scale = (float(satisfied[name]) for name in ("atLeast", "lowest", "highest"))
            return Satisfied(_rule(f"{kpi}.satisfied", satisfied), satisfied["property"], *scale)
        case _:
            return SessionLength(content["sessionLength"]["statistic"])


def _rule(rule_id: str, content: dict[str, Any]) -> EventRule:
    return EventRule(rule_id, content["event"], tuple(_condition(condition) for condition in content.get("where", ())))


def _condition(content: dict[str, Any]) -> Condition:
    op = next(op for op in OPERATORS if op in content)
    value = content[op]
    return Condition(content["property"], op, tuple(value) if op == "in" else value)
