"""What a proposal makes of the contract that counts: its files, its changes, whose files they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from gateway.contract import Contract, load_texts, not_raised
from gateway.contract.changes import Change, Grade, classify, refusals, worst
from gateway.contract.lineage import Lineage, Node, NodeKind
from gateway.errors import ContractError, SetupError
from gateway.quality.refusing import Refused

MOST_FILES = 100
#: Of all files of a proposal together: they are kept in one document, and sent in one request.
MOST_CHARACTERS = 200_000

_PATH = re.compile(r"(?:[a-z]+/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}\.(?:yaml|json)", re.ASCII)

Files = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the current contract would be with the proposed files.

    `conflicts` are the paths that others have changed meanwhile; then there is nothing else. `problems`: why it does
    not load, one line each (file:line key: what - fix). `owners`: the teams whose files they are.
    """

    number: int
    contract: Contract | None = None
    changes: tuple[Change, ...] = ()
    owners: frozenset[str] = frozenset()
    conflicts: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def grade(self) -> Grade:
        return worst(self.changes)

    @property
    def refused(self) -> list[str]:
        """What no option lets pass."""
        return refusals(self.changes)


def check_files(files: Files, current: Mapping[str, str]) -> None:
    """Raise Refused for what cannot be a file of a contract, or changes nothing."""
    if not 1 <= len(files) <= MOST_FILES:
        raise Refused("FILE_COUNT", f"A proposal changes 1 to {MOST_FILES} files.", path="files")
    if sum(len(text or "") for text in files.values()) > MOST_CHARACTERS:
        raise Refused(
            "TOO_LARGE",
            f"The files have more than {MOST_CHARACTERS:,} characters together.",
            hint="Propose less at a time, or apply a folder with `contract apply`.",
            path="files",
        )
    for path, text in files.items():
        if _PATH.fullmatch(path) is None or PurePosixPath(path).as_posix() != path:
            raise Refused(
                "PATH",
                f"{path[:80]!r} is no path of a file of the contract.",
                hint="Such as kpis/csat.yaml: inside the folder, without its name.",
                path="files",
            )
        if text is None and path not in current:
            raise Refused(
                "UNKNOWN_FILE", f"There is no {path}, which was to be deleted.", hint="Leave it out.", path="files"
            )
    if all(current.get(path) == text for path, text in files.items()):
        raise Refused("NO_CHANGE", "The files say what counts already.", path="files")


def merged(files: Files, current: Mapping[str, str]) -> dict[str, str]:
    """The files of the contract with the proposed ones in their places."""
    whole: dict[str, str | None] = {**current, **files}
    return {path: text for path, text in whole.items() if text is not None}


def conflicting(files: Files, base: Mapping[str, str], current: Mapping[str, str]) -> tuple[str, ...]:
    """The proposed files that say something else by now than when they were proposed, and not what is proposed."""
    return tuple(path for path, text in sorted(files.items()) if current.get(path) not in (base.get(path), text))


class Numbered(Protocol):
    """A stored version of the contract."""

    @property
    def number(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def files(self) -> Mapping[str, str]: ...


#: Raises ContractError for a contract that loads, and that no gateway could serve.
Check = Callable[[Contract], object]


def outcome(
    files: Files, base: Mapping[str, str], current: Numbered, before: Contract, check: Check | None = None
) -> Outcome:
    """What the files, proposed on top of `base`, make of the version that counts, which says `before`. Takes as long
    as loading a contract, and as `check` of it."""
    conflicts = conflicting(files, base, current.files)
    if conflicts:
        return Outcome(current.number, conflicts=conflicts)
    try:
        after = load_texts(current.name, merged(files, current.files))
        if check is not None:
            check(after)
    except ContractError as error:
        return Outcome(current.number, problems=tuple(error.problems))
    except SetupError as error:  # what plugins add does not go with it
        return Outcome(current.number, problems=(error.message,))
    problems = tuple(not_raised(before, after))
    changes = tuple(classify(before, after))
    return Outcome(current.number, after, changes, owners_of(files, before, after), problems=problems)


def owners_of(files: Files, before: Contract, after: Contract) -> frozenset[str]:
    """The teams that own the files, by what they say before or after: nobody loses a say by being struck out."""
    found = {owner for path in files for side in (before, after) for owner in _owners(PurePosixPath(path), side)}
    if "properties.yaml" in files:
        keys = {*before.properties, *after.properties}
        changed = [key for key in keys if before.properties.get(key) != after.properties.get(key)]
        for side in (before, after):
            lineage = Lineage(side)
            for node in (one for key in changed for one in lineage.of(Node("property", key), "downstream")):
                found |= {*_owned(side, node)}
    return frozenset(found)


_OWNED: dict[str, NodeKind] = {
    "events": "event",
    "journeys": "map",
    "kpis": "kpi",
    "surveys": "survey",
    "segments": "segment",
    "alerts": "alert",
}


def _owners(path: PurePosixPath, side: Contract) -> Iterator[str]:
    home = path.parent.as_posix()
    if home in _OWNED:
        yield from _owned(side, Node(_OWNED[home], path.stem))
    elif home == "rules" and path.stem in side.rules:
        yield from side.rules[path.stem].owners
    elif home == "requests" and path.stem in side.requests:
        yield side.requests[path.stem].asked_by


def _owned(side: Contract, node: Node) -> tuple[str, ...]:
    owning = {
        "event": side.events,
        "map": side.journeys,
        "kpi": side.kpis,
        "survey": side.surveys,
        "segment": side.segments,
        "alert": side.alerts,
    }
    one = owning.get(node.kind, {}).get(node.key)  # type: ignore[attr-defined]
    return () if one is None else tuple(one.owners)
