"""Log lines: one per event of note, as JSON or as text, with nothing in them that users sent.

What our own rooms log is written with care: constant words, and extras that hold codes and numbers. Other libraries'
lines are cut down to their constant part, and of an exception only its type and place are told: its words may quote
what a log must not hold.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

from gateway.clock import REQUEST_ID

Form = Literal["json", "text"]

LONGEST_LINE = 4_000
_LONGEST_WORDS = 500
_LONGEST_VALUE = 300
_MOST_EXTRAS = 20
_FRAMES = 4
#: Lines with the same words in so many seconds; further ones are counted, and the count stands on the next line.
MOST_ALIKE = 20
ALIKE_SECONDS = 60.0
_KNOWN_WORDS = 500
_CALLS = "gateway.plugins.calls"

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: Libraries whose message templates are constant; their arguments are left out.
_CONSTANT = ("uvicorn", "websockets", "pymongo", "opentelemetry", "asyncio")

Fields = dict[str, object]


def set_up_logs(form: Literal["auto", "json", "text"] = "auto", stream: TextIO | None = None) -> Form:
    """Log to `stream` (standard error) from here on; returns the form that `auto` stands for."""
    stream = sys.stderr if stream is None else stream
    found: Form = form if form != "auto" else "text" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if found == "json" else TextLines())
    handler.addFilter(Sparing())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gateway").setLevel(logging.INFO)
    return found


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, room, message, request_id, and what the event brings."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            **_fields(record),
        }
        line = json.dumps(fields)
        while len(line) > LONGEST_LINE:
            fields.popitem()
            line = json.dumps(fields)
        return line


class TextLines(logging.Formatter):
    """`time level room: message key=value …`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(record)
        level, room, message = (str(fields.pop(name)) for name in ("level", "room", "message"))
        extras = "".join(f" {key}={value!r}" for key, value in fields.items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {level} {room}: {message}{extras}"
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line[:LONGEST_LINE])


class Sparing(logging.Filter):
    """Lets no more than 20 lines a minute with the same words through; the next one says how many were left out. Calls
    of plugins, which are told only if somebody asks for them, all pass."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: OrderedDict[tuple[str, object], list[float]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _CALLS:
            return True
        words = (record.name, record.msg if isinstance(record.msg, str) else type(record.msg))
        since, count = self._seen.get(words, (record.created, 0))
        if record.created - since >= ALIKE_SECONDS:
            if count > MOST_ALIKE:
                record.left_out = int(count - MOST_ALIKE)
            since, count = record.created, 0
        self._seen[words] = [since, count + 1]
        if len(self._seen) > _KNOWN_WORDS:
            self._seen.popitem(last=False)
        return count < MOST_ALIKE


def _fields(record: logging.LogRecord) -> Fields:
    ours = record.name == "gateway" or record.name.startswith("gateway.")
    fields: Fields = {
        "level": record.levelname.lower(),
        "room": record.name.removeprefix("gateway."),
        "message": (record.getMessage() if ours else _constant_part(record))[:_LONGEST_WORDS],
    }
    request_id = REQUEST_ID.get()
    if request_id is not None:
        fields["request_id"] = request_id
    if ours:
        extras = [(key, value) for key, value in vars(record).items() if key not in _STANDARD and key not in fields]
        fields |= {key: _bounded(value) for key, value in extras[:_MOST_EXTRAS]}
    elif hasattr(record, "left_out"):
        fields["left_out"] = record.left_out
    if record.exc_info and record.exc_info[0] is not None:
        fields["error"] = record.exc_info[0].__name__
        fields["at"] = place(record.exc_info[1])
    return fields


def place(error: BaseException | None) -> str:
    """Where an exception arose, innermost first, without its words."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:] if error is not None else []
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))


def _constant_part(record: logging.LogRecord) -> str:
    if isinstance(record.msg, str) and record.name.split(".")[0] in _CONSTANT:
        return record.msg.strip().split("\n", 1)[0]
    return f"a message of {record.module}:{record.lineno}"


def _bounded(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key)[:_LONGEST_VALUE]: _bounded(each) for key, each in list(value.items())[:_MOST_EXTRAS]}
    return str(value)[:_LONGEST_VALUE]
