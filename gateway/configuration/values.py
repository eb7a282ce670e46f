"""What the type of a setting allows: from a text or from a value of TOML to the value itself, or why not."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import orjson

from gateway.configuration.tables import Tables
from gateway.errors import GatewayError

_UNKNOWN = "unknown key"
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


class Between(NamedTuple):
    """The least and the greatest number that is allowed; None: no bound."""

    least: float | None
    most: float | None = None


_ANY = Between(None)
_POSITIVE = Between(0)
"""Only of a float without bounds of its own: zero is not allowed, the least that is has no name."""


class Example(NamedTuple):
    """What a value looks like, in the words of the environment."""

    text: str


class Checked(NamedTuple):
    """A text is worth what `read` makes of it; `read` raises a GatewayError for one that is not good."""

    read: Callable[[str], str]


class _Secret(NamedTuple):
    """Never shown."""


SECRET = _Secret()


class Wrong(Exception):
    """A value that is not what its setting holds: where inside it, what was expected, and the way out."""

    def __init__(self, said: str, hint: str = "", path: tuple[str | int, ...] = (), *, missing: bool = False) -> None:
        super().__init__(said)
        self.said, self.hint, self.path, self.missing = said, hint, path, missing

    @property
    def unknown(self) -> bool:
        """Whether the key itself is what is wrong."""
        return self.said == _UNKNOWN


@dataclass(frozen=True, slots=True)
class Kind:
    """One setting's type, taken apart. Exactly one of `base`, `inner`, `fields` says what a value is."""

    base: type | None = None
    choices: tuple[str, ...] = ()
    inner: Kind | None = None
    table: type | None = None
    fields: Mapping[str, Kind] = field(default_factory=dict)
    required: bool = False
    between: Between = _ANY
    secret: bool = False
    example: str = ""
    read: Callable[[str], str] | None = None

    @property
    def tables(self) -> bool:
        """Whether values are tables or lists of them."""
        return bool(self.fields) or self.base is Tables or (self.inner is not None and self.inner.tables)


def kind_of(hint: Any, default: object = MISSING) -> Kind:
    """The kind that a field's type hint says. TypeError for one that no setting can have."""
    extras: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        extras = tuple(rest)
    if get_origin(hint) in (Union, types.UnionType):
        members = [each for each in get_args(hint) if each is not type(None)]
        if len(members) != 1:
            raise TypeError(f"a setting cannot be {hint}")
        inner = kind_of(members[0], default)
    else:
        inner = _plain(hint, default)
    between = next((each for each in extras if isinstance(each, Between)), inner.between)
    example = next((each.text for each in extras if isinstance(each, Example)), inner.example)
    read = next((each.read for each in extras if isinstance(each, Checked)), inner.read)
    return Kind(
        base=inner.base,
        choices=inner.choices,
        inner=inner.inner,
        table=inner.table,
        fields=inner.fields,
        required=default is MISSING,
        between=between,
        secret=inner.secret or SECRET in extras,
        example=example,
        read=read,
    )


def _plain(hint: Any, default: object) -> Kind:
    example = "" if default in (MISSING, None, ()) else str(default)
    if get_origin(hint) is Literal:
        return Kind(base=str, choices=get_args(hint), example=example)
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        return Kind(inner=kind_of(get_args(hint)[0]), example=",".join(map(str, default)) if example else "")  # type: ignore[call-overload]
    if hint is Tables:
        return Kind(base=Tables)
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        kinds = {
            each.name: kind_of(hints[each.name], "" if each.default_factory is not MISSING else each.default)
            for each in fields(hint)
        }
        return Kind(table=hint if isinstance(hint, type) else None, fields=kinds)
    if hint in (int, float):
        return Kind(base=hint, between=_POSITIVE if hint is float else Between(1), example=example)
    if hint in (str, bool, Path):
        return Kind(base=hint, example=example.lower() if hint is bool else example)
    raise TypeError(f"a setting cannot be {hint}")


def from_text(kind: Kind, text: str, folder: Path | None = None) -> object:
    """The value that a text of the command line, the environment or a secret's file says; raises Wrong."""
    if kind.tables or (kind.inner is not None and text.lstrip().startswith("[")):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise Wrong(f"expected JSON ({error.msg} in line {error.lineno}, column {error.colno})") from None
        return convert(kind, value, folder)
    if kind.inner is not None:
        return tuple(from_text(kind.inner, part.strip(), folder) for part in text.split(",") if part.strip())
    if kind.base is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise Wrong(_expected(kind))
        return text.lower() in _TRUE
    if kind.base in (int, float):
        try:
            return _bounded(kind, kind.base(text))
        except ValueError:
            raise Wrong(_expected(kind)) from None
    return convert(kind, text, folder)


def convert(kind: Kind, value: object, folder: Path | None = None) -> object:
    """The value that TOML or JSON says, where types are not to be guessed; paths are relative to `folder`."""
    if kind.inner is not None:
        if not isinstance(value, list):
            raise Wrong(_expected(kind))
        return tuple(_within(index, kind.inner, each, folder) for index, each in enumerate(value))
    if kind.table is not None:
        return _table(kind, value, folder)
    if kind.base is Tables:
        return _tables(value)
    if kind.base is Path and isinstance(value, str):
        path = Path(value).expanduser()
        return path if folder is None or folder == Path() else folder / path
    if kind.base is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind.base:
        raise Wrong(_expected(kind))
    if kind.choices and value not in kind.choices:
        close = get_close_matches(str(value), kind.choices, n=1)
        raise Wrong(_expected(kind), f"Did you mean {close[0]}?" if close else "")
    if kind.read is not None and isinstance(value, str):
        try:
            return kind.read(value)
        except GatewayError as error:
            raise Wrong(error.message.rstrip("."), error.hint) from None
    return _bounded(kind, value)


def _bounded(kind: Kind, value: Any) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = kind.between
        too_small = least is not None and (value < least or (value == 0 and kind.between is _POSITIVE))
        if too_small or (most is not None and value > most) or value != value:
            raise Wrong(_expected(kind))
    return value


def _table(kind: Kind, value: object, folder: Path | None) -> object:
    if not isinstance(value, dict):
        raise Wrong(_expected(kind))
    for name in value:
        if name not in kind.fields:
            close = get_close_matches(name, kind.fields, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"It has: {', '.join(kind.fields)}."
            raise Wrong(_UNKNOWN, hint, (name,))
    for name, inner in kind.fields.items():
        if inner.required and name not in value:
            raise Wrong(f"{name} is missing", _expected(inner).capitalize() + ".", (), missing=True)
    assert kind.table is not None
    read = {name: _within(name, kind.fields[name], each, folder) for name, each in value.items()}
    try:
        return kind.table(**read)
    except GatewayError as error:
        raise Wrong(error.message.rstrip("."), error.hint) from error
    except ValueError as error:
        raise Wrong(str(error).rstrip(".")) from error


def _tables(value: object) -> Tables:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise Wrong("expected a table of tables", "Such as [connectors.crm] with the connector's settings below it.")
    return Tables(value)


def _within(key: str | int, kind: Kind, value: object, folder: Path | None) -> object:
    try:
        return convert(kind, value, folder)
    except Wrong as wrong:
        raise Wrong(wrong.said, wrong.hint, (key, *wrong.path), missing=wrong.missing) from None


def _expected(kind: Kind) -> str:
    such_as = f", such as {kind.example}" if kind.example else ""
    if kind.choices:
        return f"expected one of {', '.join(kind.choices)}"
    if kind.inner is not None:
        return f"expected a list of {'tables' if kind.tables else 'texts'}"
    if kind.fields:
        return f"expected a table with {', '.join(kind.fields)}"
    if kind.base is bool:
        return "expected true or false"
    if kind.base in (int, float):
        number = "a whole number" if kind.base is int else "a number"
        return f"expected {number}{_range(kind)}{such_as}"
    return f"expected {'a path' if kind.base is Path else 'a text'}{such_as}"


def _range(kind: Kind) -> str:
    least, most = kind.between
    if most is not None:
        return f" from {least:.15g} to {most:.15g}"
    if kind.between is _POSITIVE:
        return " greater than 0"
    return f" of at least {least:.15g}" if least is not None else ""
