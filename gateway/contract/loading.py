"""Loads a contract: journeys/*.yaml and kpis/*.yaml of a folder, or of what was stored of one.

It is checked as a whole before anything is built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from gateway.contract.durations import parse_duration
from gateway.contract.glossary import Term
from gateway.contract.hashing import content_hash
from gateway.contract.journeys import JourneyMap, Stage, Touchpoint
from gateway.contract.kpis import Function, Funnel, FunnelStep, Kpi, Satisfied, SessionLength
from gateway.contract.plan import EventDefinition, PropertyDefinition
from gateway.contract.rules import OPERATORS, Condition, EventRule
from gateway.contract.sense import check_sense, check_unique
from gateway.contract.shape import FileKind, check_shape
from gateway.contract.sources import Source, read_source, source_of
from gateway.errors import ContractError

#: A contract is stored as one document, which MongoDB takes up to 16 MB.
LARGEST_CONTRACT = 8 * 1024 * 1024

_FOLDERS: dict[FileKind, str] = {"journey": "journeys", "kpi": "kpis"}


@dataclass(frozen=True, slots=True)
class Contract:
    """What one contract folder says, and the texts it says it in, by path (`journeys/purchase.yaml`).

    `journeys_hash` changes when anything in a map does, `hash` with every letter of a file.
    """

    name: str
    journeys: dict[str, JourneyMap]
    kpis: dict[str, Kpi]
    #: The tracking plan, by the stem of each file (`order_completed.1`).
    events: dict[str, EventDefinition] = field(default_factory=dict)
    properties: dict[str, PropertyDefinition] = field(default_factory=dict)
    glossary: dict[str, Term] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    journeys_hash: str = field(init=False, repr=False, compare=False)
    hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "journeys_hash", content_hash(self.journeys))
        object.__setattr__(self, "hash", content_hash(dict(self.files)))

    @property
    def event_names(self) -> frozenset[str]:
        """The events that a map or a KPI looks at."""
        rules = [rule for item in self.journeys.values() for rule in item.rules]
        for kpi in self.kpis.values():
            if isinstance(kpi.function, Funnel):
                rules += [step.rule for step in kpi.function.steps]
            elif isinstance(kpi.function, Satisfied):
                rules.append(kpi.function.rule)
        return frozenset(rule.event for rule in rules)


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
        sources[kind] = [read_source(path, path.relative_to(folder.parent).as_posix()) for path in paths]
        problems += misplaced
    return _loaded(folder.name, str(folder), sources, problems)


def load_texts(name: str, files: Mapping[str, str]) -> Contract:
    """The contract in `files`, texts by path inside the folder `name`: what `Contract.files` once was.

    Raises ContractError as `load_contract` does.
    """
    problems: list[str] = []
    sources: dict[FileKind, list[Source]] = {kind: [] for kind in _FOLDERS}
    kinds = {home: kind for kind, home in _FOLDERS.items()}
    for given, text in sorted(files.items()):
        path = PurePosixPath(given)
        home = kinds.get(path.parent.as_posix())
        if home is None or path.suffix != ".yaml":
            problems.append(
                f"{name}/{given}:1: nobody reads this file - call it journeys/<key>.yaml or kpis/<key>.yaml"
            )
        else:
            sources[home].append(source_of(text.encode(errors="surrogatepass"), f"{name}/{given}", path.stem))
    return _loaded(name, name, sources, problems)


def _loaded(name: str, shown: str, sources: Mapping[FileKind, Sequence[Source]], problems: list[str]) -> Contract:
    """Check the sources together with the `problems` found so far, then build."""
    for kind, group in sources.items():
        for source in group:
            if source.value is not None:
                check_shape(source, kind)
                check_sense(source, kind)
        check_unique(list(group))
        for source in group:
            problems += map(str, sorted(source.problems, key=lambda problem: problem.line))
    every = [source for group in sources.values() for source in group]
    if not problems and not every:
        problems = [f"{shown}: the folder holds no contract - add journeys/<key>.yaml or kpis/<key>.yaml"]
    if sum(len(source.text) for source in every) > LARGEST_CONTRACT:
        problems.append(f"{shown}: the files hold more than 8 MB together - shorten their texts")
    if problems:
        raise ContractError(problems)
    journeys = [_journey(_content(source)) for source in sources["journey"]]
    kpis = [_kpi(_content(source)) for source in sources["kpi"]]
    files = {"/".join(source.file.split("/")[-2:]): source.text for source in every}
    return Contract(name, {item.key: item for item in journeys}, {item.key: item for item in kpis}, files=files)


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
        restart=_rules(content["key"], "restart", content),
    )


def _stage(map_key: str, content: dict[str, Any]) -> Stage:
    place = f"{map_key}.{content['key']}"
    return Stage(
        key=content["key"],
        label=content["label"],
        enter=_rules(place, "enter", content),
        touchpoints=tuple(Touchpoint(**touchpoint) for touchpoint in content.get("touchpoints", ())),
        optional=content.get("optional", False),
        completes=content.get("completes", False),
        emotion=content.get("emotion"),
        leave=_rules(place, "leave", content),
        next=tuple(content.get("next", ())),
        repeats=content.get("repeats", False),
        limit=parse_duration(content["limit"]) if "limit" in content else None,
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


def _rules(place: str, name: str, content: dict[str, Any]) -> tuple[EventRule, ...]:
    return tuple(_rule(f"{place}.{name}[{index}]", rule) for index, rule in enumerate(content.get(name, ())))


def _rule(rule_id: str, content: dict[str, Any]) -> EventRule:
    return EventRule(rule_id, content["event"], tuple(_condition(condition) for condition in content.get("where", ())))


def _condition(content: dict[str, Any]) -> Condition:
    op = next(op for op in OPERATORS if op in content)
    value = content[op]
    return Condition(content["property"], op, tuple(value) if op == "in" else value)
