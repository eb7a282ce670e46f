"""The shape of a contract file: its JSON Schema from schema/meta, and in words what does not fit, with a way out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, cast

import orjson
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from gateway.contract.schema_root import find_schema_root
from gateway.contract.sources import Place, Source, shown

JsonSchema = Mapping[str, Any]

_LISTED = 40

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys",
    "null": "null",
}


def check_shape(source: Source, kind: str) -> None:
    """Report where the file does not have the shape that schema/meta gives files of its kind."""
    for error in _validator(kind).iter_errors(source.value):
        place: Place = tuple(error.absolute_path)
        if place not in source.unreadable:
            _REPORTS[error.validator](source, place, error, error.schema)


@cache
def _validator(kind: str) -> Any:
    # Always the schemas that ship with this code, also for folders elsewhere: they are part of it.
    meta = find_schema_root() / "meta"
    schemas = {path.name: orjson.loads(path.read_bytes()) for path in sorted(meta.glob("*.schema.json"))}
    registry: Registry[Any] = Registry().with_resources(
        (name, DRAFT202012.create_resource(schema)) for name, schema in schemas.items()
    )
    keywords = {"pattern": _pattern, "required": _required, "uniqueItems": _unique_items}
    strict = validators.extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
    return strict(schemas[f"{kind}.schema.json"], registry=registry)


# Three keywords read otherwise than by the library.


def _pattern(validator: Any, pattern: str, instance: object, schema: JsonSchema) -> Iterator[ValidationError]:
    # In JSON Schema `$` is the very end; in Python it also stands before a last newline.
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError("the pattern does not match")


def _required(validator: Any, keys: list[str], instance: object, schema: JsonSchema) -> Iterator[ValidationError]:
    # One error for all keys that are missing; the library makes one for each, with the key only in its text.
    if isinstance(instance, dict) and not instance.keys() >= set(keys):
        yield ValidationError("keys are missing")


def _unique_items(validator: Any, unique: bool, instance: object, schema: JsonSchema) -> Iterator[ValidationError]:
    # The library compares each with each when kinds are mixed: minutes for a long list.
    if unique and isinstance(instance, list) and len({orjson.dumps(item) for item in instance}) < len(instance):
        yield ValidationError("an entry is repeated")


# What each keyword means to the author of the file.


def _report_unknown_keys(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    known = list(schema["properties"])
    for key in cast("dict[str, object]", error.instance):
        if key not in known:
            fix = did_you_mean(key, known, otherwise="remove it; here belong")
            source.report(place, f"unknown key {shown(key)}", fix, line=source.lines[(*place, key)])


def _report_missing_keys(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    properties = cast("dict[str, JsonSchema]", schema["properties"])
    present = cast("dict[str, object]", error.instance)
    misspelled = {closest(key, list(properties)) for key in present if key not in properties}
    for key in schema["required"]:
        if key not in present and key not in misspelled:  # what is misspelled is reported as unknown
            source.report(place, f"key {key!r} is missing", _described(f"add {key}", properties[key]))


def _report_type(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    found = error.instance
    types = cast("str | list[str]", error.validator_value)
    wanted = [types] if isinstance(types, str) else types
    if found is None:
        what = "has no value"
    elif isinstance(found, list | dict):
        what = "is a list" if isinstance(found, list) else "is a mapping of keys"
    else:
        kind = {str: "text", bool: "a boolean"}.get(type(found), "a number")
        what = f"{shown(found)} is {kind}"
    source.report(place, what, _described("write " + " or ".join(_TYPES[name] for name in wanted), schema))


def _report_enum(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    found = error.instance
    if isinstance(found, list | dict):
        what = "is a list" if isinstance(found, list) else "is a mapping of keys"
        source.report(place, what, f"write one of {', '.join(schema['enum'])}")
        return
    source.report(place, f"{shown(found)} is not known", did_you_mean(found, schema["enum"], otherwise="use one of"))


def _report_pattern(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    # patternErrorMessage is what editors show, too.
    source.report(place, f"{shown(error.instance)} cannot stand here", schema["patternErrorMessage"])


def _report_number_of_keys(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    choice = [key for key in schema["properties"] if key not in schema.get("required", ())]
    present = [key for key in cast("dict[str, object]", error.instance) if key in choice]
    misspelled = [key for key in cast("dict[str, object]", error.instance) if closest(key, choice)]
    if len(present) > 1:
        source.report(place, f"{' and '.join(present)} stand together", f"write exactly one of {', '.join(choice)}")
    elif not misspelled:  # else the number is wrong for a key that is reported as unknown or missing
        source.report(place, "says nothing to compare or compute", f"write exactly one of {', '.join(choice)}")


def _report_limit(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    found, limit = error.instance, error.validator_value
    fix = f"write at {'least' if str(error.validator).startswith('min') else 'most'} {limit}"
    if isinstance(found, list):
        source.report(place, f"has {len(found)} entries", _described(fix, schema))
    elif isinstance(found, str):
        source.report(place, f"has {len(found)} characters", f"{fix} characters")
    else:
        source.report(place, f"{shown(found)} is out of range", fix)


def _report_repeated(source: Source, place: Place, error: ValidationError, schema: JsonSchema) -> None:
    source.report(place, "the same entry stands twice", "remove one of them")


_REPORTS: dict[str, Callable[[Source, Place, ValidationError, JsonSchema], None]] = {
    "additionalProperties": _report_unknown_keys,
    "required": _report_missing_keys,
    "type": _report_type,
    "enum": _report_enum,
    "pattern": _report_pattern,
    "minProperties": _report_number_of_keys,
    "maxProperties": _report_number_of_keys,
    "uniqueItems": _report_repeated,
    **dict.fromkeys(("minItems", "maxItems", "maxLength", "minimum", "maximum"), _report_limit),
}


def _described(fix: str, schema: JsonSchema) -> str:
    description = schema.get("description")
    return f"{fix} ({description})" if description else fix


def did_you_mean(word: object, known: list[str], *, otherwise: str) -> str:
    """The fix for a word that is not among the known: the one it was meant to be, else all of them (the first 40)."""
    close = closest(word, known)
    if close:
        return f"did you mean {close!r}?"
    others = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"{otherwise}: {', '.join(known[:_LISTED])}{others}"


def closest(word: object, known: list[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that `word` was probably meant to be; a higher `cutoff`, up to 1, demands more likeness."""

    def plain(text: str) -> str:
        return text.lower().replace("_", "").replace("-", "")

    by_plain = {plain(name): name for name in known}
    matches = difflib.get_close_matches(plain(str(word)[:100]), by_plain, n=1, cutoff=cutoff)
    return by_plain[matches[0]] if matches else None
