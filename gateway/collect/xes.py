"""XES event logs (IEEE 1849-2016 and -2023): their events one at a time, as flat records.

A record holds an event's attributes under their keys and its trace's under `case:KEY`. Lists become lists of
`{key: value}`, containers objects; what is nested in another attribute stands beside it under `KEY:nested`. Globals
fill in what is missing, but never who, what or when. An event of our own export is the message it was made from.

Nothing in a file is trusted: no document type and no entities, every length and depth is bounded, nothing is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, TypeAlias
from xml.parsers import expat

import orjson

from gateway.collect.bodies import read_json
from gateway.collect.lines import MAX_ROW_BYTES, Refused, Row
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject
from gateway.pipeline import xes as written

CHUNK = 65_536
MAX_DEPTH = 64
CASE, NESTED = "case:", ":nested"

_LIST, _CONTAINER = "list", "container"
_ATTRIBUTES = frozenset({"string", "date", "int", "float", "boolean", "id", _LIST, _CONTAINER})
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
#: Never taken from a global default: a placeholder there would merge strangers and date events to 1970.
_NOT_DEFAULT = frozenset({"concept:name", "time:timestamp", "identity:id"})
_STANDARD = "http://www.xes-standard.org/"
_PREFIXES = ("concept", "time", "lifecycle", "org", "identity", "cost", "semantic", "micro")
_MESSAGE = frozenset({*written.TEXT_FIELDS, *written.TIME_FIELDS})
_ATTRIBUTE_COST = 32  # of an attribute beside its text: empty ones fill memory too

#: What an open element's attributes go into: an object, a list, or (owner, key) of a plain value; None: nothing.
_Holder: TypeAlias = "JsonObject | list[Any] | tuple[JsonObject, str] | None"


class XesEvents:
    """The events of one stream. Raises InvalidInput when it does not begin as an XES log."""

    #: Keys of each classifier by its name.
    classifiers: dict[str, tuple[str, ...]]

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream = stream
        self._name = name
        self._rows: list[Callable[[], Row]] = []
        self._told = 0
        self._problem: InvalidInput | None = None
        self.classifiers = {}
        self._log = _Log(self._rows, self.classifiers)
        self._parser = self._log.parser
        self._begin()

    def rows(self) -> Iterator[Row]:
        """Every event. Ends early where the XML breaks: ask `check_end` then."""
        more = True
        while more or self._rows:
            self._told += len(self._rows)
            for made in self._rows:
                yield made()
            self._rows.clear()
            more = self._problem is None and self._feed()

    def check_end(self) -> None:
        """Raise InvalidInput if the events ended too early."""
        if self._problem is not None:
            raise self._problem

    def _begin(self) -> None:
        """Read up to the first trace or event: what stands before it holds for all."""
        while not self._log.begun and self._feed():
            pass
        if not self._rows:
            self.check_end()
        if not self._log.begun:
            raise InvalidInput(f"{self._name} has no events.")

    def _feed(self) -> bool:
        """Parse on; False at the end."""
        chunk = self._stream.read(CHUNK)
        try:
            self._parser.Parse(chunk, not chunk)
        except _NotXes as refused:
            self._problem = InvalidInput(f"{self._name} {refused}", hint=refused.hint)
        except (expat.ExpatError, LookupError, ValueError) as error:
            self._problem = self._broken(error)
        self._log.waiting += len(chunk)
        if self._problem is None and self._log.waiting > MAX_ROW_BYTES + CHUNK:
            self._problem = InvalidInput(
                f"{self._name} has a tag of more than {MAX_ROW_BYTES:,} bytes {self._place()}.",
                hint="No attribute of an event log is that long: is the file damaged?",
            )
        return self._problem is None and bool(chunk)

    def _broken(self, error: Exception) -> InvalidInput:
        if not self._log.begun and not self._log.root:
            return InvalidInput(f"{self._name} begins like XML but is none.", hint="XES begins with <log>.")
        reason = expat.ErrorString(error.code) if isinstance(error, expat.ExpatError) else "its encoding is not known"
        return InvalidInput(
            f"The XML of {self._name} is cut short or broken {self._place()} ({reason}).", hint="Get the file anew."
        )

    def _place(self) -> str:
        place = f"at line {self._parser.CurrentLineNumber:,}, column {self._parser.CurrentColumnNumber:,}"
        return f"{place}; the {self._told + len(self._rows):,} events before that place were read"


class _NotXes(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class _Log:
    """What has been read of a log: called by the XML parser, appends events to `rows`."""

    def __init__(self, rows: list[Callable[[], Row]], classifiers: dict[str, tuple[str, ...]]) -> None:
        self.begun = False  # the header is behind us
        self.root = ""
        self.waiting = 0  # bytes since the parser last got on
        self._rows = rows
        self._classifiers = classifiers
        self._prefixes: dict[str, str] = {}
        self._own = False
        self._defaults: dict[str, JsonObject] = {"trace": {}, "event": {}}
        self._open: list[tuple[str, _Holder]] = []
        self._trace: JsonObject | None = None
        self._case: JsonObject | None = None  # the trace's attributes as its events carry them
        self._event: JsonObject | None = None
        self._sizes = {"trace": 0, "event": 0}
        self._refused: dict[str, Refused] = {}
        self._names: dict[str, str] = {}
        self.parser = parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)

    def _doctype(self, *_: object) -> None:
        raise _NotXes(
            "declares a document type or entities, which XES has none of and which can hold attacks.",
            "Remove the <!DOCTYPE …> if you trust the file.",
        )

    # -- elements -----------------------------------------------------------------------------------------------

    def _start(self, name: str, given: dict[str, str]) -> None:
        self.waiting = 0
        tag = self._names.get(name) or self._local(name)
        if not self._open:
            if tag != "log":
                raise _NotXes(f"is XML, but its root is <{tag[:40]}>.", "The root of an XES log is <log>.")
            self.root = tag
            self._open.append((tag, None))
            return
        parent, holder = self._open[-1]
        if tag in _ATTRIBUTES:
            self._open.append((tag, None if holder is None else self._attribute(tag, given, holder)))
        elif tag == "event" and parent in ("log", "trace"):
            self._begin_event()
            self._open.append((tag, self._event))
        elif tag == "trace" and parent == "log":
            self.begun = True
            self._trace, self._case, self._sizes["trace"] = {}, None, 0
            self._refused.pop("trace", None)
            self._open.append((tag, self._trace))
        elif tag == "values" and parent == _LIST:
            self._open.append((tag, holder))
        else:
            self._open.append((tag, self._declaration(tag, given) if parent == "log" else None))

    def _end(self, name: str) -> None:
        self.waiting = 0
        tag, _ = self._open.pop()
        if tag == "event" and self._event is not None and self._open[-1][0] in ("log", "trace"):
            self._tell(self._event)
            self._event = None
        elif tag == "trace" and len(self._open) == 1:
            self._trace = self._case = None

    def _local(self, name: str) -> str:
        """The name without its namespace's prefix, remembered for the few that logs have."""
        tag = name.rpartition(":")[2]
        if len(self._names) < 100:
            self._names[name] = tag
        return tag

    def _declaration(self, tag: str, given: dict[str, str]) -> _Holder:
        if tag == "global":
            return self._defaults.get(given.get("scope", ""))
        if tag == "classifier":
            self._classifiers[given.get("name", "")] = _keys(given.get("keys", ""))
        elif tag == "extension":
            prefix, uri = given.get("prefix", ""), given.get("uri", "")
            standard = uri.removeprefix(_STANDARD).removesuffix(".xesext")
            if uri == written.URI:
                self._own, standard = True, written.PREFIX
            if standard != prefix and (standard in _PREFIXES or uri == written.URI):
                self._prefixes[prefix] = standard
        return None

    def _begin_event(self) -> None:
        self.begun = True
        self._event, self._sizes["event"] = {}, 0
        self._refused.pop("event", None)
        if self._trace is not None and self._case is None:
            defaults = {key: value for key, value in self._defaults["trace"].items() if key not in _NOT_DEFAULT}
            self._case = {CASE + key: value for key, value in (defaults | self._trace).items()}

    # -- attributes ---------------------------------------------------------------------------------------------

    def _attribute(self, tag: str, given: dict[str, str], holder: _Holder) -> _Holder:
        key, text = given.get("key", ""), given.get("value")
        if not self._fits(len(key) + len(text or "")):
            return None
        if "key" not in given:
            self._refuse("no_key", "has an attribute without a key.")
            return None
        if self._prefixes:
            prefix, colon, rest = key.partition(":")
            key = self._prefixes.get(prefix, prefix) + colon + rest
        if isinstance(holder, tuple):
            owner, name = holder
            holder = owner.setdefault(name + NESTED, {})
        if isinstance(holder, list):
            item: JsonObject = {}
            holder.append(item)
            holder = item
        assert isinstance(holder, dict)
        value: Any = [] if tag == _LIST else {} if tag == _CONTAINER else _value(tag, text)
        holder[key] = value
        return value if tag in (_LIST, _CONTAINER) else (holder, key)

    def _refuse(self, code: str, what: str) -> None:
        place = "event" if self._event is not None else "trace"
        self._refused[place] = Refused(code, f"The {place} {what}")

    def _fits(self, length: int) -> bool:
        """Whether there is room for another attribute; where not, the events it belongs to are refused."""
        place = "event" if self._event is not None else "trace"
        self._sizes[place] += length + _ATTRIBUTE_COST
        if self._sizes[place] > MAX_ROW_BYTES:
            self._refused[place] = Refused("row_too_long", f"The {place} has more than {MAX_ROW_BYTES:,} bytes.")
        elif len(self._open) > MAX_DEPTH:
            self._refused[place] = Refused("too_deep", f"The {place}'s attributes are nested too deep.")
        else:
            return True
        return False

    # -- events -------------------------------------------------------------------------------------------------

    def _tell(self, event: JsonObject) -> None:
        refused = self._refused.get("event") or (self._refused.get("trace") if self._trace is not None else None)
        if refused is None and self._case and sum(self._sizes.values()) > MAX_ROW_BYTES:
            refused = Refused("row_too_long", f"The event and its trace have more than {MAX_ROW_BYTES:,} bytes.")
        defaults: JsonObject | None = None
        if not (self._own and f"{written.PREFIX}:type" in event):
            defaults = {key: value for key, value in self._defaults["event"].items() if key not in _NOT_DEFAULT}
        # Made when it is asked for: thousands of events in a chunk may share a large trace.
        self._rows.append(partial(_row, event, self._case, refused, defaults))


def _row(event: JsonObject, case: JsonObject | None, refused: Refused | None, defaults: JsonObject | None) -> Row:
    """The row of an event with what its trace says; without `defaults` it is a message of our own export."""
    record = {**case, **event} if case else event
    raw = _canonical(record)
    if refused is not None:
        return Row(raw, refused)
    if defaults is None:
        return Row(raw, _own_message(event), whole=True)
    return Row(raw, {**defaults, **record} if defaults else record)


def _value(tag: str, text: str | None) -> str | int | float | None:
    """The value as its type says; the text itself where it is no such value."""
    if text is None or tag in ("string", "date", "id"):
        return text
    if tag == "int":
        number = int(text) if _INTEGER.fullmatch(text.strip()) else text
        return number if isinstance(number, int) and -(2**63) <= number < 2**63 else text
    if tag == "boolean":
        return _BOOLEANS.get(text.strip().lower(), text)
    try:
        return float(text)
    except ValueError:
        return text


def _keys(text: str) -> tuple[str, ...]:
    """The keys of a classifier: by blanks, those with blanks in quotes."""
    return tuple(quoted or plain for quoted, plain in re.findall(r"'([^']*)'|(\S+)", text))


def _canonical(record: JsonObject) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(record, sort_keys=True).encode()


def _own_message(event: JsonObject) -> JsonObject | Refused:
    """The message of an event that `gateway.pipeline.xes` wrote."""
    own = f"{written.PREFIX}:"
    message = {key.removeprefix(own): value for key, value in event.items() if key.removeprefix(own) in _MESSAGE}
    message["event" if message["type"] == "track" else "name"] = event.get(written.NAME)
    if message["type"] != "track" and message["name"] == message["type"]:
        del message["name"]
    message["timestamp"] = event.get(written.TIME)
    properties = {
        key: value
        for key, value in event.items()
        if key not in (written.NAME, written.TIME) and not key.startswith(own)
    }
    rest: Any = {}
    if written.REST in event:
        try:
            rest = read_json(str(event[written.REST]).encode())
        except InvalidInput:
            rest = None
        if not isinstance(rest, dict) or not isinstance(rest.get("properties", {}), dict):
            return Refused("broken_message", f"`{written.REST}` is not the JSON of a message.")
    properties |= rest.pop("properties", {})
    message |= rest
    return message | {"properties": properties} if properties else message
