"""Reads every source of a dataclass of settings, notes what came from where, and says what is wrong, all of it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, get_type_hints

import orjson

from gateway.configuration.tables import Tables
from gateway.configuration.values import Kind, Wrong, convert, from_text, kind_of
from gateway.errors import SetupError

T = TypeVar("T")
_Path: TypeAlias = tuple[str | int, ...]
_MOST_BYTES = 1_000_000
_HIDDEN = "***"
_URL_PASSWORD = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY_SECRET = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token|properties|key)[^=&]*=)[^&\s]*")
# A Service named like our prefix puts these into every pod beside it (Docker's old links did, too).
_SERVICE_LINK = re.compile(r"(SERVICE_(HOST|PORT)(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class Option(NamedTuple):
    """A value from the command line, and what it was called there."""

    flag: str
    text: str


class Origin(NamedTuple):
    """Where a value came from: `kind` is default, file, environment or option; `place` is where to look."""

    kind: str
    place: str

    def __str__(self) -> str:
        return self.place or self.kind


DEFAULT = Origin("default", "")


class Problem(NamedTuple):
    """One thing that is wrong, and the way out."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What was read. A value with a problem stands at its default, so that others can still be looked at."""

    settings: T
    origins: Mapping[str, Origin]
    problems: tuple[Problem, ...]
    file: Path | None

    def checked(self) -> T:
        """The settings. Raises SetupError with every problem."""
        if len(self.problems) == 1:
            raise SetupError(self.problems[0].message, hint=self.problems[0].hint)
        if self.problems:
            raise SetupError("\n".join(f"{problem.message} {problem.hint}".strip() for problem in self.problems))
        return self.settings


@dataclass(slots=True)
class _Found:
    """Values as they come in, the strongest source first."""

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    #: Single keys of tables from the environment: setting, then path, to text and variable.
    texts: dict[str, dict[tuple[str, ...], tuple[str, str]]] = field(default_factory=dict)

    def problem(self, message: str, hint: str = "") -> None:
        self.problems.append(Problem(message, hint))


class Reader(Generic[T]):
    """Reads `settings` (a dataclass with a default for every field); `prefix` begins the environment's names."""

    def __init__(self, settings: type[T], prefix: str, file: str) -> None:
        self._type = settings
        self._prefix = prefix
        self._file = file
        hints = get_type_hints(settings, include_extras=True)
        self.kinds: dict[str, Kind] = {
            each.name: kind_of(hints[each.name], each.default)
            for each in fields(settings)  # type: ignore[arg-type]
        }
        #: Lists for which empty and unset are two things: they may be set to nothing in the environment.
        self._emptied = {
            each.name
            for each in fields(settings)  # type: ignore[arg-type]
            if each.default is None and self.kinds[each.name].inner is not None
        }

    def environment_name(self, name: str) -> str:
        return self._prefix + name.upper()

    @property
    def file_variable(self) -> str:
        """The environment variable that names the TOML file."""
        return self.environment_name("config")

    def read(self, environ: Mapping[str, str], options: Mapping[str, Option], folder: Path) -> Reading[T]:
        """Read every source. `folder` is where the TOML file is looked for when nothing names one."""
        found = _Found()
        for name, option in options.items():
            self._take(found, name, option.text, Origin("option", option.flag))
        self._environment(found, environ)
        file = self._toml(found, environ, folder)
        for name, texts in found.texts.items():
            tables = found.values.get(name, Tables())
            assert isinstance(tables, Tables)
            found.values[name] = tables.with_texts(texts)
            found.origins.setdefault(name, Origin("environment", next(iter(texts.values()))[1]))
        origins = {name: found.origins.get(name, DEFAULT) for name in self.kinds}
        return Reading(self._type(**found.values), origins, tuple(found.problems), file)

    def masked(self, name: str, value: object) -> object:
        """The value as it may be shown: secrets hidden, passwords in addresses too, at any depth."""
        return _masked(self.kinds[name], value)

    def hides(self, name: str, value: object) -> bool:
        """Whether `masked` hides anything of the value."""
        return _HIDDEN in str(self.masked(name, value))

    # -- command line and environment ------------------------------------------------------------------------------

    def _take(self, found: _Found, name: str, text: str, origin: Origin, folder: Path | None = None) -> None:
        """A value that comes as text, unless a stronger source has it already. A wrong one counts as given."""
        if name in found.origins:
            return
        found.origins[name] = origin
        try:
            found.values[name] = from_text(self.kinds[name], text, folder)
        except Wrong as wrong:
            path = _dotted(name, wrong.path)
            said = f"{origin.place}" + (f" ({path})" if wrong.path else "") + self._quoted(name, text, origin)
            found.problem(f"{said}: {wrong.said}.", wrong.hint)

    def _quoted(self, name: str, text: str, origin: Origin) -> str:
        """The value itself, unless it is a secret, long, or was in a file of its own."""
        kind = self.kinds[name]
        if kind.secret or kind.tables or len(text) > 100 or origin.place.upper().endswith("_FILE"):
            return ""
        return f"={_masked(kind, text)!r}"

    def _environment(self, found: _Found, environ: Mapping[str, str]) -> None:
        in_cluster = "KUBERNETES_SERVICE_HOST" in environ
        for variable, raw in environ.items():
            if not variable.startswith(self._prefix) or variable.startswith(self._prefix + "TEST_"):
                continue
            if in_cluster and (_SERVICE_LINK.fullmatch(variable.removeprefix(self._prefix)) or _is_address(raw)):
                continue
            if variable == self.file_variable:
                continue
            name = variable.removeprefix(self._prefix).lower()
            setting, *path = name.split("__")
            if path and setting in self.kinds and self.kinds[setting].base is Tables:
                self._table_key(found, setting, path, raw, variable)
                continue
            plain = self._secret_file(name)
            if name not in self.kinds and plain is None:
                close = [self.environment_name(known) for known in self._close_to(name)]
                found.problem(f"unknown setting {variable}.", _did_you_mean(close))
            elif raw == "" and name not in self._emptied:
                continue
            elif plain is None:
                self._take(found, name, raw, Origin("environment", variable))
            elif environ.get(self.environment_name(plain)):
                found.problem(
                    f"{self.environment_name(plain)} and {variable} are both set.", "Keep one: which counts is a guess."
                )
            else:
                self._from_file(found, plain, Path(raw).expanduser(), Origin("environment", variable))

    def _table_key(self, found: _Found, name: str, path: list[str], raw: str, variable: str) -> None:
        if len(path) < 2 or not all(path):
            found.problem(
                f"{variable} names no key of a table.", f"Such as {self.environment_name(name)}__NAME__KEY, two _ each."
            )
        elif raw != "":
            found.texts.setdefault(name, {})[tuple(path)] = (raw, variable)

    def _secret_file(self, name: str) -> str | None:
        """The setting that `name` gives the file of; None when it is something else."""
        plain = name.removesuffix("_file")
        return plain if plain != name and name not in self.kinds and plain in self.kinds else None

    def _close_to(self, name: str) -> list[str]:
        files = [f"{known}_file" for known in self.kinds] if name.endswith("_file") else []
        return _close([*files, *self.kinds], name)

    def _from_file(self, found: _Found, name: str, path: Path, origin: Origin) -> None:
        if name in found.origins:
            return
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES)
            text = data.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            hint = "Check the path, and that the gateway's user may read the file."
            found.origins[name] = origin
            found.problem(f"{origin.place}: {path} cannot be read ({reason}).", hint)
            return
        if not text:
            found.origins[name] = origin
            found.problem(f"{origin.place}: {path} is empty.", f"Write the value of {name} into it.")
            return
        self._take(found, name, text, origin)

    # -- the file -------------------------------------------------------------------------------------------------

    def _toml(self, found: _Found, environ: Mapping[str, str], folder: Path) -> Path | None:
        """Take what the file says; the file, when there is one."""
        named = environ.get(self.file_variable, "")
        path = Path(named).expanduser() if named else folder / self._file
        if not named and not path.exists():
            return None
        shown = named or self._file
        try:
            text = path.read_bytes().decode()
            document = tomllib.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            found.problem(f"{shown} cannot be read ({reason}).", f"Check --config or {self.file_variable}.")
            return path
        except tomllib.TOMLDecodeError as error:
            said = re.fullmatch(r"(.*?) \(at (?:line (\d+), column (\d+)|(end of document))\)", str(error), re.DOTALL)
            message, line = (said[1], said[2] or text.count("\n") + 1) if said else (str(error), 1)
            twice = message.startswith("Cannot ")  # declare or overwrite: what is there already
            hint = "A name stands once: rename or join them." if twice else "Texts stand in quotes, lists in brackets."
            found.problem(f"{shown}:{line}: {message}.", f"This is not TOML. {hint}")
            return path
        self._document(found, document, shown, path.parent, _lines(text))
        return path

    def _document(
        self, found: _Found, document: Mapping[str, object], shown: str, folder: Path, lines: Mapping[_Path, int]
    ) -> None:
        for name, value in document.items():
            place = f"{shown}:{lines.get((name,), 1)}"
            plain = self._secret_file(name)
            if name in self.kinds:
                self._native(found, name, value, shown, folder, lines)
            elif plain is None:
                plainer = name.lower().replace("-", "_").removeprefix(self._prefix.lower())
                close = [plainer] if plainer in self.kinds else self._close_to(plainer)
                found.problem(f"{place}: unknown setting {name}.", _did_you_mean(close))
            elif plain in document:
                found.problem(f"{place}: {plain} and {name} are both set.", "Keep one: which counts is a guess.")
            elif isinstance(value, str):
                self._from_file(found, plain, folder / Path(value).expanduser(), Origin("file", f"{place} {name}"))
            else:
                found.problem(f"{place}: {name} must be the path of a file.", f'For example {name} = "/run/secrets/x".')

    def _native(
        self, found: _Found, name: str, value: object, shown: str, folder: Path, lines: Mapping[_Path, int]
    ) -> None:
        if name in found.origins:
            return
        kind = self.kinds[name]
        found.origins[name] = Origin("file", f"{shown}:{lines.get((name,), 1)}")
        try:
            taken = convert(kind, value, folder)
            found.values[name] = _placed(taken, name, shown, lines) if isinstance(taken, Tables) else taken
        except Wrong as wrong:
            path: _Path = (name, *wrong.path)
            while path not in lines and len(path) > 1:
                path = path[:-1]
            for key in wrong.path:  # to the value that is wrong
                value = value[key] if isinstance(value, list | dict) and not wrong.missing else value  # type: ignore[index]
            quoted = "" if kind.secret or wrong.missing or isinstance(value, dict | list) else f" = {_toml_text(value)}"
            place = f"{shown}:{lines.get(path, 1)}: {_dotted(name, wrong.path)}"
            misplaced = wrong.unknown and wrong.path[-1] in self.kinds
            hint = "Settings stand above the first [table] of the file." if misplaced else wrong.hint
            found.problem(f"{place}{_URL_PASSWORD.sub(f'{_HIDDEN}@', quoted)}: {wrong.said}.", hint)


def _placed(tables: Tables, name: str, shown: str, lines: Mapping[_Path, int]) -> Tables:
    inner = {path[1:]: f"{shown}:{line}" for path, line in lines.items() if path[0] == name and len(path) > 1}
    return Tables(tables.values, {tuple(str(part) for part in path): place for path, place in inner.items()})


def _close(known: list[str], name: str) -> list[str]:
    """The known names that `name` may be meant for, best first: misspelled, cut short, or sharing a word of four."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if not found:
        found = [each for each in known if len(name) > 2 and (name.startswith(each) or each.startswith(name))]
    if not found:
        words = {word for word in name.split("_") if len(word) > 3}
        found = [each for each in known if words & set(each.split("_"))]
    return found[:3]


def _did_you_mean(close: list[str]) -> str:
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return "`journey-gateway config show` lists all settings."


def _is_address(raw: str) -> bool:
    return _SERVICE_ADDRESS.match(raw) is not None


def _dotted(name: str, path: _Path) -> str:
    return name + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _toml_text(value: object) -> str:
    return orjson.dumps(value, default=str).decode()[:100]


def _masked(kind: Kind, value: object) -> object:
    if value is None:
        return None
    if isinstance(value, Tables):
        return list(value.paths())  # values may hold secrets that were not given by reference
    if kind.secret:
        return _HIDDEN
    if kind.inner is not None and isinstance(value, tuple):
        return [_masked(kind.inner, each) for each in value]
    if kind.fields and not isinstance(value, str):
        return {name: _masked(inner, getattr(value, name)) for name, inner in kind.fields.items()}
    if isinstance(value, str):
        return _QUERY_SECRET.sub(rf"\g<1>{_HIDDEN}", _URL_PASSWORD.sub(f"{_HIDDEN}@", value))
    return str(value) if isinstance(value, Path) else value


def _lines(text: str) -> dict[_Path, int]:
    """The line of every key of a document that is known to be TOML.

    A statement is the shortest run of lines that is TOML on its own: nothing shorter of it is, whatever it holds.
    """
    found: dict[_Path, int] = {}
    prefix: _Path = ()
    count: dict[_Path, int] = {}
    pending: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        pending.append(line)
        try:
            statement = tomllib.loads("\n".join(pending))
        except tomllib.TOMLDecodeError:
            continue
        start, first = number - len(pending) + 1, pending[0].lstrip()
        pending = []
        paths = list(_paths(statement))
        if first.startswith("["):
            prefix = tuple(part for part in paths[-1] if isinstance(part, str))
            if first.startswith("[["):
                count[prefix] = count.get(prefix, -1) + 1
                found.setdefault(prefix, start)
                prefix = (*prefix, count[prefix])
            paths = [()]
        for path in paths:
            found.setdefault((*prefix, *path), start)
    return found


def _paths(value: Any, above: _Path = ()) -> list[_Path]:
    """Every path in a value, the outer ones first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, each in inner for path in ((*above, key), *_paths(each, (*above, key)))]
