"""Contract files as they stand on disk: their values, and the line of each, so that problems can point to it.

YAML is read as its version 1.2 has it, which is also what editors assume: `yes` and `2024-01-01` are text, so that
every value is a JSON value. Anchors, aliases and tags are refused: a contract is read by people first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import orjson
import yaml

LARGEST_FILE = 256 * 1024
DEEPEST = 16

#: Where a value stands in a file: keys of mappings and indexes of lists.
Place = tuple[str | int, ...]

_NULL, _BOOL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_ALIAS = "*"  # no tag of YAML: marks where an alias stood


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file, and the way out."""

    file: str
    line: int
    place: Place
    what: str
    fix: str

    def __str__(self) -> str:
        place = named(self.place)
        return f"{self.file}:{self.line}{' ' + place if place else ''}: {self.what} - {self.fix}"


@dataclass(slots=True)
class Source:
    """One file: its content as JSON values, the line of each value, and the problems found so far.

    `unreadable` are the places whose values could not be taken over; null stands there.
    """

    file: str
    stem: str
    text: str = ""
    value: object = None
    lines: dict[Place, int] = field(default_factory=lambda: {(): 1})
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[Place] = field(default_factory=set)

    def report(self, place: Place, what: str, fix: str, *, line: int | None = None) -> None:
        """Note a problem; without `line` it is that of the place, or of the nearest place around it."""
        around = place
        while line is None:
            line = self.lines.get(around)
            around = around[:-1]
        self.problems.append(Problem(self.file, line, place, what, fix))


def named(place: Place) -> str:
    """`stages[1].enter`; what is no plain word is quoted."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[\w-]{1,64}", part, re.ASCII) else shown(part))
    return text


def shown(value: object) -> str:
    """A value for a message: on one line, printable, at most 60 characters."""
    if isinstance(value, str):
        text = repr(value) if value.isprintable() else ascii(value)
    else:
        text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def read_source(path: Path, file: str) -> Source:
    """Read one YAML or JSON file, called `file` in messages. What cannot be read becomes a problem of the source."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        source = Source(file, path.stem)
        source.report((), f"the file cannot be read: {error.strerror}", "let the gateway's user read it")
        return source
    return source_of(raw, file, path.stem)


def source_of(raw: bytes, file: str, stem: str) -> Source:
    """The same for the content of a file, called `file` in messages and `stem` by its key."""
    source = Source(file, stem)
    if len(raw) > LARGEST_FILE:
        source.report((), "the file is larger than 256 KB", "split it or shorten its texts")
        return source
    try:
        source.text = text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        source.report((), "the file is not UTF-8", "save it with the encoding UTF-8", line=line)
        return source
    # JSON is YAML but for tabs between its tokens; within its texts there is none.
    node = _compose(source, text.replace("\t", " ") if file.endswith(".json") else text)
    if node is None:
        if not source.problems:
            source.report((), "the file is empty", "write the keys, starting with key:")
        return source
    value = _Reader(source).value_of(node, ())
    if isinstance(value, dict):
        source.value = value
    else:
        source.report((), "the file is not a mapping of keys", "start each line with a key, for example key: ...")
    return source


def _compose(source: Source, text: str) -> yaml.Node | None:
    return _composed_at_once(text) or _composed_with_care(source, text)


#: What might be an anchor, an alias, a directive, or much in little: nested without a line of its own for each level.
_DOUBTFUL = re.compile(r"(?:^|[\s\[{,:-])[&*]|^%|(?:[-?:]\s+){8}|^ {60}", re.MULTILINE)
_MOST_BRACKETS = 400


def _composed_at_once(text: str) -> yaml.Node | None:
    """By libyaml, ten times as fast; None for what is doubtful or wrong, of which it could not say what."""
    if _Quick is None or _DOUBTFUL.search(text) or text.count("[") + text.count("{") > _MOST_BRACKETS:
        return None
    try:
        node: yaml.Node | None = _Quick(text).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError):
        return None
    return node if node is not None and _depth(node) <= DEEPEST else None


def _depth(node: yaml.Node) -> int:
    if isinstance(node, yaml.MappingNode):
        return 1 + max((_depth(value) for pair in node.value for value in pair), default=0)
    if isinstance(node, yaml.SequenceNode):
        return 1 + max(map(_depth, node.value), default=0)
    return 1


def _composed_with_care(source: Source, text: str) -> yaml.Node | None:
    fix = "look for wrong indentation, a missing quote or a : inside a text without quotes"
    try:
        return _Composer(text, source).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if isinstance(error, _TooDeep):
            fix = "flatten it"
        elif error.problem is not None and error.problem.endswith("got '?'"):
            fix = "put a text with a question mark between { and } in quotes"
        what = ", ".join(part for part in (error.context, error.problem) if part)
        source.report((), f"not valid YAML: {what}", fix, line=mark.line + 1 if mark else 1)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        source.report((), "the file holds a character that YAML does not allow", "remove it", line=line)
    except (ValueError, OverflowError):  # PyYAML lets them through, for "\UFFFFFFFF" for example
        source.report((), "not valid YAML: a number in it is too large", "look for an escape like \\U or a line %YAML")
    return None


class _TooDeep(yaml.MarkedYAMLError):
    pass


class _Composer(yaml.SafeLoader):
    """Composes nodes under the limits, with the scalars of YAML 1.2's core schema (but no .inf and .nan)."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way; the ones of YAML 1.1 are not inherited

    def __init__(self, text: str, source: Source) -> None:
        super().__init__(text)
        self._source = source
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = cast(yaml.NodeEvent, self.peek_event())  # type: ignore[no-untyped-call]
        mark = cast(yaml.Mark, event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            return yaml.ScalarNode(_ALIAS, str(event.anchor), mark)
        if event.anchor is not None:
            what = f"the anchor {shown('&' + event.anchor)} is not allowed"
            self._source.report((), what, "remove it", line=mark.line + 1)
            event.anchor = None
        self._depth += 1
        if self._depth > DEEPEST:
            raise _TooDeep(problem=f"nested deeper than {DEEPEST} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _QuickComposer(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers = _Composer.yaml_implicit_resolvers


#: Where PyYAML comes without libyaml there is the careful way alone.
_Quick = _QuickComposer if yaml.__with_libyaml__ else None

for _tag, _pattern, _first in (
    (_NULL, r"^(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    (_BOOL, r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    (_INT, r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (_FLOAT, r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    _Composer.add_implicit_resolver(_tag, re.compile(_pattern), _first)


def _integer(text: str) -> int:
    number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _decimal(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _text(text: str) -> str:
    if re.search("[\ud800-\udbff][\udc00-\udfff]", text):  # JSON writes what is beyond 16 bits as a pair of escapes
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if re.search("[\0\ud800-\udfff]", text):
        raise ValueError
    return text


_SCALARS: dict[str, tuple[Callable[[str], object], str, str]] = {
    _NULL: (lambda text: None, "", ""),
    _BOOL: (lambda text: {"true": True, "false": False}[text.lower()], "not true or false", "write true or false"),
    _INT: (_integer, "not a whole number of 64 bits", "write a smaller number, or text in quotes"),
    _FLOAT: (_decimal, "not a number that JSON can carry", "write a smaller number, or text in quotes"),
    _STR: (_text, "a text with NUL or half a surrogate pair", "remove the escapes \\0 and \\ud800 to \\udfff"),
}


class _Reader:
    """Turns nodes into JSON values, noting the line of each."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def value_of(self, node: yaml.Node, place: Place) -> object:
        self._source.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.value_of(item, (*place, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node, place)
        if node.tag == _ALIAS:
            self._refuse(place, f"the alias {shown('*' + node.value)} is not allowed", "write the value out")
            return None
        self._refuse(place, f"the tag {shown(node.tag)} is not allowed", "remove it")
        return None

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _SCALARS:
                self._source.report(place, "a key is not plain text", "use a plain word as key", line=line)
            elif not key.isprintable():
                what = f"the key {shown(key)} is not printable"
                self._source.report(place, what, "use a plain word as key", line=line)
            elif key in mapping:
                first = self._source.lines[(*place, key)]
                what = f"key {shown(key)} is written twice, first in line {first}"
                self._source.report(place, what, "keep one of them", line=line)
            else:
                self._source.lines[(*place, key)] = line
                mapping[key] = self.value_of(value_node, (*place, key))
        return mapping

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> object:
        read, what, fix = _SCALARS[node.tag]
        try:
            return read(node.value)
        except (ValueError, KeyError):
            self._refuse(place, f"{shown(node.value)} is {what}", fix)
            return None

    def _refuse(self, place: Place, what: str, fix: str) -> None:
        self._source.report(place, what, fix)
        self._source.unreadable.add(place)
