"""Which column of a file says what: from rows of anybody's shape to messages of the Segment specification."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from collections.abc import Mapping as Given
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, Protocol

from gateway.collect.lines import Refused
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject
from gateway.pipeline.times import parse_time

FIELDS = ("userId", "anonymousId", "event", "timestamp", "messageId", "type", "name")
OBJECTS = ("properties", "traits", "context")

_Path = tuple[str, ...]
# Seconds have 9 or 10 digits since 1973, milliseconds 12 or 13; "20240313" is a date.
_EPOCH = re.compile(r"\d{9,13}(\.\d+)?")


class Preset(Protocol):
    """How rows of one vendor's export, or of one format, become messages."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Literal["ndjson", "xes"]: ...

    def describe(self) -> str:
        """The same text for what reads the same way."""

    def message(self, record: JsonObject) -> JsonObject:
        """The message of one row; raises Refused or LeftOut."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """`columns` and `constants` say where each field of a message comes from, `renames` what events are called here.

    Columns that no field comes from become properties under their own name, unless `only_mapped`. Without columns and
    constants, rows are messages as they are. Targets and columns of JSON rows are dotted paths. With a `preset` its
    messages come first, and columns and constants replace what they name in them.
    """

    columns: Given[str, str] = field(default_factory=dict)
    constants: Given[str, str] = field(default_factory=dict)
    renames: Given[str, str] = field(default_factory=dict)
    only_mapped: bool = False
    preset: Preset | None = None

    @classmethod
    def parse(
        cls,
        maps: Sequence[str],
        renames: Sequence[str] = (),
        *,
        only_mapped: bool = False,
        preset: Preset | None = None,
    ) -> Mapping:
        """From `target=column`, `target==text` for the same text in every row, and `old=new` names of events.

        Raises InvalidInput that says what is wrong with which one.
        """
        columns: dict[str, str] = {}
        constants: dict[str, str] = {}
        for text in maps:
            target, found, column = text.partition("=")
            if not found or not column or column == "=":
                raise InvalidInput(f"--map {text!r} is not `field=column`.", hint="For example --map userId=user_id.")
            _check_target(target, [*columns, *constants])
            if column.startswith("="):
                constants[target] = column[1:]
            else:
                columns[target] = column
        if preset is not None and only_mapped:
            raise InvalidInput(f"--only-mapped does not go with the preset {preset.name}.", hint="Leave one out.")
        if maps and preset is None:
            _check_whole(columns.keys() | constants.keys(), constants.get("type"), "type" in columns)
        return cls(columns, constants, dict(map(_rename, renames)), only_mapped, preset)

    @property
    def empty(self) -> bool:
        """Whether rows are messages as they are."""
        return not self.columns and not self.constants and self.preset is None

    def describe(self) -> list[str]:
        """Every part in a stable order: the same text for the same mapping."""
        return [
            *sorted(f"{target}={column}" for target, column in self.columns.items()),
            *sorted(f"{target}=={text}" for target, text in self.constants.items()),
            *sorted(f"{old}={new}" for old, new in self.renames.items()),
            str(self.only_mapped),
            *([] if self.preset is None else [self.preset.describe()]),
        ]

    def message(self, record: JsonObject, *, whole: bool = False) -> JsonObject:
        """The message that a row says; `whole` if the record is one already.

        Raises Refused where it says no time, and what the preset raises.
        """
        if self.preset is None:
            message = dict(record) if self.empty else self._mapped(record)
        else:
            message = self._replaced(dict(record) if whole else self.preset.message(record), record)
        self._check_time(message)
        if self.renames:
            name = message.get("event")
            if isinstance(name, str):
                message["event"] = self.renames.get(name, name)
        return message

    def _mapped(self, record: JsonObject) -> JsonObject:
        message: JsonObject = {"type": "track"}
        if not self.only_mapped:
            message["properties"] = _without(record, [_path_in(record, column) for column in self.columns.values()])
        return self._replaced(message, record)

    def _replaced(self, message: JsonObject, record: JsonObject) -> JsonObject:
        """The message with what columns and constants say."""
        for target, text in self.constants.items():
            _put(message, tuple(target.split(".")), text)
        for target, column in self.columns.items():
            value = _value(record, _path_in(record, column))
            if value is not None:
                _put(message, tuple(target.split(".")), value)
        return message

    def _check_time(self, message: JsonObject) -> None:
        value = message.get("timestamp")
        if isinstance(value, str) and _EPOCH.fullmatch(value.strip()):
            value = message["timestamp"] = float(value) if "." in value else int(value)
        if value is None:
            if "timestamp" in self.columns:
                raise Refused("no_time", f"The row has nothing in `{self.columns['timestamp']}`, its time.")
            if self.preset is not None:
                raise Refused("no_time", "The row says no time.")
        elif parse_time(value) is None:
            raise Refused("not_a_time", "The time is neither ISO 8601 nor seconds or milliseconds since 1970.")


def check_columns(mapping: Mapping, columns: Sequence[str], file: str) -> None:
    """Raise InvalidInput when the columns of a CSV file and the mapping do not fit."""
    listed = "Its columns are: " + ", ".join(columns) + "."
    other = next((mark for mark in (";", "\t", "|") if len(columns) == 1 and mark in columns[0]), None)
    if other is not None and columns[0] not in mapping.columns.values():
        shown = "tabs" if other == "\t" else f"`{other}`"
        raise InvalidInput(
            f"{file} has one column only: its fields seem to be separated by {shown}.",
            hint="Save it with commas between the fields.",
        )
    if mapping.empty:
        raise InvalidInput(f"{file} needs a mapping. {listed}", hint=f"For example:\n  {_example(columns, file)}")
    for target, column in mapping.columns.items():
        if column not in columns:
            close = get_close_matches(column, columns, n=1)
            hint = f"Did you mean --map {target}={close[0]}?" if close else listed
            raise InvalidInput(f"{file} has no column `{column}` (--map {target}={column}).", hint=hint)


def _example(columns: Sequence[str], file: str) -> str:
    """A command for this file, guessed from its columns' names."""
    guesses = {
        "userId": ("user", "customer", "client", "member", "visitor", "email", "id"),
        "event": ("event", "action", "activity", "name", "type"),
        "timestamp": ("time", "timestamp", "tstamp", "date", "when", "created"),
    }
    command, left = f"journey-gateway import {file}", list(columns)
    for target, words in guesses.items():
        as_word = (name for word in words for name in left if word in re.split(r"[^a-z]+", name.lower()))
        found = next(as_word, None) or next((name for word in words for name in left if word in name.lower()), None)
        command += f" --map {target}={found or 'COLUMN'}"
        if found is not None:
            left.remove(found)
    return command


def _check_target(target: str, taken: Collection[str]) -> None:
    root, *below = target.split(".")
    if not (target in FIELDS or (root in OBJECTS and all(below))):
        names = [*FIELDS, *(f"{name}.NAME" for name in OBJECTS)]
        close = get_close_matches(target, names, n=1)
        raise InvalidInput(
            f"--map cannot set `{target}`.",
            hint=(f"Did you mean {close[0]}? " if close else "") + f"It sets: {', '.join(names)}.",
        )
    for other in taken:
        if f"{other}.".startswith(f"{target}.") or f"{target}.".startswith(f"{other}."):
            raise InvalidInput(f"--map sets `{target}` twice.", hint="Leave one of them out.")


def _check_whole(targets: Collection[str], kind: str | None, kind_varies: bool) -> None:
    if not {"userId", "anonymousId"} & set(targets):
        raise InvalidInput("--map does not say who.", hint="Add --map userId=COLUMN or --map anonymousId=COLUMN.")
    if "event" not in targets and not kind_varies and kind in (None, "track"):
        raise InvalidInput(
            "--map does not say what happened.", hint="Add --map event=COLUMN, or --map event==NAME for one name."
        )


def _rename(text: str) -> tuple[str, str]:
    old, found, new = text.partition("=")
    if not (old and found and new):
        raise InvalidInput(f"--rename-event {text!r} is not `old=new`.")
    return old, new


def _path_in(record: JsonObject, column: str) -> _Path:
    """Where a column stands: under its very name, else at the dotted path."""
    return (column,) if column in record else tuple(column.split("."))


def _value(record: JsonObject, path: _Path) -> Any:
    value: Any = record
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _without(record: JsonObject, paths: Sequence[_Path]) -> JsonObject:
    """A copy of the record without what stands at these paths."""
    rest = dict(record)
    for path in paths:
        inner = rest
        for key in path[:-1]:
            if not isinstance(inner.get(key), dict):
                break
            inner[key] = dict(inner[key])
            inner = inner[key]
        else:
            inner.pop(path[-1], None)
    return rest


def _put(message: JsonObject, path: _Path, value: Any) -> None:
    inner = message
    for key in path[:-1]:
        below = inner.get(key)
        inner[key] = dict(below) if isinstance(below, dict) else {}
        inner = inner[key]
    known = inner.get(path[-1])
    inner[path[-1]] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
