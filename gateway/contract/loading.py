"""Loads a contract: the files of a folder, or of what was stored of one.

It is checked as a whole before anything is built.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

from gateway.contract.alerts import AlertRule
from gateway.contract.consent import ConsentPurpose
from gateway.contract.examples import Example
from gateway.contract.functions import rules_of
from gateway.contract.glossary import Term
from gateway.contract.hashing import content_hash
from gateway.contract.journeys import JourneyMap
from gateway.contract.kpis import Kpi
from gateway.contract.personas import Persona
from gateway.contract.plan import EventDefinition, PropertyDefinition
from gateway.contract.reactions import Reaction
from gateway.contract.reading.alerts import build_alert
from gateway.contract.reading.checks import check_unique
from gateway.contract.reading.consent import build_consent
from gateway.contract.reading.examples import build_example
from gateway.contract.reading.glossary import build_glossary
from gateway.contract.reading.journeys import build_journey
from gateway.contract.reading.kinds import KINDS, Kind
from gateway.contract.reading.kpis import build_kpi
from gateway.contract.reading.personas import build_persona
from gateway.contract.reading.plan import build_event, build_properties, check_plan
from gateway.contract.reading.reactions import build_reaction
from gateway.contract.reading.references import check_references
from gateway.contract.reading.requests import build_request
from gateway.contract.reading.segments import build_segment
from gateway.contract.reading.surveys import build_survey
from gateway.contract.requests import DataRequest
from gateway.contract.segments import Segment, Segments, event_rules_of
from gateway.contract.shape import check_shape, closest
from gateway.contract.sources import Source, read_source, source_of
from gateway.contract.surveys import Survey
from gateway.errors import ContractError

#: A contract is stored as one document, which MongoDB takes up to 16 MB.
LARGEST_CONTRACT = 8 * 1024 * 1024

Built = TypeVar("Built")

_START = "add journeys/<key>.yaml or kpis/<key>.yaml"


@dataclass(frozen=True, slots=True)
class Contract:
    """What one contract folder says, and the texts it says it in, by path (`journeys/purchase.yaml`).

    `journeys_hash` changes when anything in a map or in the rule of a segment does: with it users are folded anew.
    `hash` changes with every letter of a file.
    """

    name: str
    journeys: dict[str, JourneyMap]
    kpis: dict[str, Kpi]
    #: The tracking plan, by the stem of each file (`order_completed.1`).
    events: dict[str, EventDefinition] = field(default_factory=dict)
    properties: dict[str, PropertyDefinition] = field(default_factory=dict)
    glossary: dict[str, Term] = field(default_factory=dict)
    personas: dict[str, Persona] = field(default_factory=dict)
    surveys: dict[str, Survey] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    alerts: dict[str, AlertRule] = field(default_factory=dict)
    #: What is done about answers to surveys.
    rules: dict[str, Reaction] = field(default_factory=dict)
    #: By purpose.
    consent: dict[str, ConsentPurpose] = field(default_factory=dict)
    requests: dict[str, DataRequest] = field(default_factory=dict)
    #: By the name of each file without `.json`.
    examples: dict[str, Example] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    #: The segments as the fold reads them.
    grouping: Segments = field(init=False, repr=False, compare=False)
    journeys_hash: str = field(init=False, repr=False, compare=False)
    hash: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        grouping = Segments(self.segments)
        object.__setattr__(self, "grouping", grouping)
        folded = [self.journeys, grouping.hash] if self.segments else self.journeys
        object.__setattr__(self, "journeys_hash", content_hash(folded))
        object.__setattr__(self, "hash", content_hash(dict(self.files)))

    def term(self, word: str | None) -> Term | None:
        """The term of the glossary that `word` means: its key, its name or another name for it."""
        if word is None or word in self.glossary:
            return self.glossary.get(word or "")
        plain = word.casefold()
        return next((one for one in self.glossary.values() if plain in map(str.casefold, (one.name, *one.also))), None)

    @property
    def event_names(self) -> frozenset[str]:
        """The events that a map, a KPI or a segment looks at."""
        rules = [rule for item in self.journeys.values() for rule in item.rules]
        rules += [rule for kpi in self.kpis.values() for rule in rules_of(kpi.function)]
        rules += [rule for segment in self.segments.values() for rule in event_rules_of(segment)]
        return frozenset(rule.event for rule in rules)


def load_contract(folder: Path) -> Contract:
    """The contract in `folder`, which gives it its name.

    Raises ContractError with every problem of every file, one line each: file:line key: what - fix.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would name a linked folder after its target
    if not folder.is_dir():
        raise ContractError([f"{folder}: there is no such folder - name one that holds journeys/ and kpis/"])
    problems = _misnamed(folder)
    sources: dict[Kind, list[Source]] = {}
    for kind in KINDS:
        paths, misplaced = _files(folder, kind)
        sources[kind] = [read_source(path, path.relative_to(folder.parent).as_posix()) for path in paths]
        problems += misplaced
    return _loaded(folder.name, str(folder), sources, problems)


def load_texts(name: str, files: Mapping[str, str]) -> Contract:
    """The contract in `files`, texts by path inside the folder `name`: what `Contract.files` once was.

    Raises ContractError as `load_contract` does.
    """
    problems: list[str] = []
    sources: dict[Kind, list[Source]] = {kind: [] for kind in KINDS}
    for given, text in sorted(files.items()):
        path = PurePosixPath(given)
        kind = next((kind for kind in KINDS if kind.reads(path)), None)
        if kind is None:
            places = ", ".join(kind.pattern for kind in KINDS)
            problems.append(f"{name}/{given}:1: nobody reads this file - call it one of {places}")
        else:
            sources[kind].append(source_of(text.encode(errors="surrogatepass"), f"{name}/{given}", path.stem))
    return _loaded(name, name, sources, problems)


def _loaded(name: str, shown: str, sources: Mapping[Kind, Sequence[Source]], problems: list[str]) -> Contract:
    """Check the sources together with the `problems` found so far, then build."""
    for kind, group in sources.items():
        for source in group:
            if source.value is not None:
                check_shape(source, kind.name)
                kind.check(source)
        check_unique(group)
    named = {kind.name: group for kind, group in sources.items()}
    check_plan(next(iter(named["properties"]), None), named["event"])
    check_references(named)
    every = [source for group in sources.values() for source in group]
    for source in every:
        problems += map(str, sorted(source.problems, key=lambda problem: problem.line))
    if not problems and not every:
        problems = [f"{shown}: the folder holds no contract - {_START}"]
    if sum(len(source.text) for source in every) > LARGEST_CONTRACT:
        problems.append(f"{shown}: the files hold more than 8 MB together - shorten their texts")
    if problems:
        raise ContractError(problems)
    return _built(name, named, {source.file.removeprefix(f"{name}/"): source.text for source in every})


def _built(name: str, named: Mapping[str, Sequence[Source]], files: Mapping[str, str]) -> Contract:
    """Only from files without a problem, so that every key is there and of its kind."""

    def built(kind: str, build: Callable[[dict[str, Any]], Built]) -> list[Built]:
        return [build(_content(source)) for source in named[kind]]

    def whole(kind: str, build: Callable[[dict[str, Any]], dict[str, Built]]) -> dict[str, Built]:
        return {key: one for single in built(kind, build) for key, one in single.items()}

    properties = whole("properties", build_properties)
    personas = {one.key: one for one in built("persona", build_persona)}
    return Contract(
        name,
        journeys={one.key: one for one in built("journey", build_journey)},
        kpis={one.key: one for one in built("kpi", build_kpi)},
        events={one.key: one for one in built("event", lambda content: build_event(content, properties))},
        properties=properties,
        glossary=whole("glossary", build_glossary),
        personas=personas,
        surveys={one.key: one for one in built("survey", build_survey)},
        segments={one.key: one for one in built("segment", lambda content: build_segment(content, personas))},
        alerts={one.key: one for one in built("alert", build_alert)},
        rules={one.key: one for one in built("rule", build_reaction)},
        consent=whole("consent", build_consent),
        requests={one.key: one for one in built("request", build_request)},
        examples={source.stem: build_example(source.stem, _content(source)) for source in named["example"]},
        files=files,
    )


def _content(source: Source) -> dict[str, Any]:
    return cast("dict[str, Any]", source.value)


def _files(folder: Path, kind: Kind) -> tuple[list[Path], list[str]]:
    """The files to read, and a problem for each YAML file that stands where nobody would read it."""
    home = folder / kind.home
    if problem := _unreadable(home, folder, kind):
        return [], [problem]
    if kind.single:
        return ([home] if home.is_file() else []), []
    paths: list[Path] = []
    misplaced: list[str] = []
    suffixes = (".yaml", ".yml") if kind.suffix == ".yaml" else (kind.suffix,)
    for path in sorted(home.rglob("*")):
        inside = path.relative_to(home)
        if any(part[0] == "." for part in inside.parts):
            continue  # hidden folders are where mounted configurations keep their versions
        shown = path.relative_to(folder.parent).as_posix()
        if path.is_symlink() and path.is_dir() and any(path.glob(f"*{kind.suffix}")):
            misplaced.append(f"{shown}:1: folders in {home.name}/ are not read - link to its files instead")
        elif path.suffix not in suffixes:
            continue
        elif not path.is_file():
            misplaced.append(f"{shown}:1: {_no_file(path)}")
        elif path.suffix == ".yml":
            misplaced.append(f"{shown}:1: only files named *.yaml are read - rename it to {path.stem}.yaml")
        elif path.parent != home:
            misplaced.append(f"{shown}:1: folders in {home.name}/ are not read - move it to {home.name}/{path.name}")
        else:
            paths.append(path)
    return paths, misplaced


def _unreadable(home: Path, folder: Path, kind: Kind) -> str | None:
    """What is wrong with the file or folder of a kind itself. None where it is not there."""
    if not os.path.lexists(home):
        return None
    shown = f"{folder.name}/{kind.home}:1"
    if kind.single:
        return None if home.is_file() else f"{shown}: {_no_file(home)}"
    if not home.is_dir():
        return f"{shown}: {_no_file(home) if home.is_symlink() else 'it is no folder - make it one, or remove it'}"
    return (
        None if os.access(home, os.R_OK | os.X_OK) else f"{shown}: it cannot be read - let the gateway's user read it"
    )


def _no_file(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"it is a link to what is not there ({os.readlink(path)}) - mend the link, or remove it"  # noqa: PTH115
    return "it is no file - rename it, or remove it"


def _misnamed(folder: Path) -> list[str]:
    """A problem for each entry of the folder that is almost called as one that is read. Others are not ours to judge:
    a folder may hold more than a contract."""
    homes = [kind.home for kind in KINDS]
    found: list[str] = []
    for path in sorted(folder.iterdir()):
        meant = None if path.name in homes else closest(path.name, homes, cutoff=0.85)
        if meant is not None and path.is_dir() == ("." not in meant):
            found.append(f"{folder.name}/{path.name}: nobody reads it - did you mean {meant!r}?")
    return found
