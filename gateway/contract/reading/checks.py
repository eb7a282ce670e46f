"""What several kinds of contract files are checked for. All of it works on files of any shape, to list every problem
at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gateway.contract.durations import parse_duration
from gateway.contract.shape import did_you_mean
from gateway.contract.sources import Place, Source, shown

#: What was meant is guessed for the first of one file's problems: each guess compares with all that is known.
_MOST_GUESSED = 50


def check_key(source: Source) -> None:
    """Report a key that is not the file's name."""
    key = source.value.get("key") if isinstance(source.value, dict) else None
    if isinstance(key, str) and key != source.stem and not reported(source, ("key",)):
        fix = f"rename the file to {key}.yaml or write key: {source.stem}"
        source.report(("key",), f"the key {shown(key)} is not the file's name", fix)


def check_unique(sources: Iterable[Source]) -> None:
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


def check_duration(source: Source, place: Place, text: object) -> None:
    """Report a duration of more than ten years."""
    if not isinstance(text, str) or reported(source, place):
        return
    try:
        parse_duration(text)
    except ValueError as error:
        source.report(place, f"{shown(text)} is too long", str(error))


def check_keys(source: Source, place: Place, entries: Iterable[tuple[int, dict[str, Any]]], noun: str) -> None:
    """Report keys that several entries of the list at `place` claim."""
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


def check_known(source: Source, place: Place, word: object, known: Collection[str], noun: str) -> bool:
    """Report a `word` at `place` that is none of the `known`; says whether it is one."""
    if not isinstance(word, str) or reported(source, place):
        return False
    if word not in known:
        if len(source.problems) >= _MOST_GUESSED:
            fix = "look it up: nothing is guessed for so many"
        elif known:
            fix = did_you_mean(word, list(known), otherwise="use one of")
        else:
            fix = f"there is no {noun} yet: add it first"
        source.report(place, f"no {noun} has the key {shown(word)}", fix)
    return word in known


def check_limits(source: Source, place: Place, entry: Mapping[str, Any]) -> None:
    """Report a minimum above the maximum."""
    low, high = entry.get("minimum"), entry.get("maximum")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        source.report((*place, "maximum"), f"nothing is from {low} to {high}", "make maximum the larger number")


def reported(source: Source, place: Place) -> bool:
    """Whether there is a problem at the very place."""
    return any(problem.place == place for problem in source.problems)


def mappings(value: object) -> list[tuple[int, dict[str, Any]]]:
    """The mappings in a list, each with its index."""
    entries = value if isinstance(value, list) else []
    return [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]
