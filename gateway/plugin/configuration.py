"""Configuration of a connector: a pydantic model, with secrets as references.

A secret in a file or an environment variable is a reference, `env:NAME` or `file:/path`; the value is read when the
connector is opened, and is never shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from gateway.errors import SetupError

_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*\Z|file:.+\Z")
_HIDDEN = "********"
_BASE_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s/?#]+)*/?\Z")


class Secret:
    """A reference to a secret. Prints as the reference's kind alone; `reveal` reads the value."""

    __slots__ = ("_environ", "reference")

    def __init__(self, reference: str, environ: Mapping[str, str] | None = None) -> None:
        self.reference = reference
        self._environ = environ

    def reveal(self) -> str:
        """The value, without blanks at its ends. Raises SetupError that names the reference when there is none."""
        kind, _, place = self.reference.partition(":")
        if kind == "env":
            value = (os.environ if self._environ is None else self._environ).get(place, "")
        else:
            try:
                value = Path(place).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SetupError(
                    f"The secret {self.reference} cannot be read: {type(error).__name__}.",
                    hint="Name a file that the gateway may read and that holds only the secret.",
                ) from None
        if not value.strip():
            raise SetupError(f"The secret {self.reference} is empty.", hint="Set it, or name another reference.")
        return value.strip()

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __str__(self) -> str:
        return _HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    @classmethod
    def _read(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str) or not _REFERENCE.match(value):
            # The value is not repeated: it may be the secret itself.
            raise ValueError("a secret is given by reference: env:NAME or file:/path")
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._read, serialization=core_schema.plain_serializer_function_ser_schema(lambda one: one.reference)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "format": "secret-reference",
            "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$",
            "description": "A reference to the secret: env:NAME or file:/path",
        }


class Config(BaseModel):
    """What every connector's configuration derives from: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def secrets_in(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Secret]]:
    """Every secret of a configuration, however deep, with the keys that lead to it."""
    if isinstance(value, Secret):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name), *path, name)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from secrets_in(one, *path, str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for at, one in enumerate(value):
            yield from secrets_in(one, *path, str(at))


def _base_url(value: str) -> str:
    if not _BASE_URL.match(value):
        raise ValueError("an address begins with https:// (or http://) and has no blank, no `?` and no credentials")
    return value.rstrip("/")


#: An address that paths are added to, as a connector's setting: read with or without a slash at its end, kept without.
BaseUrl: TypeAlias = Annotated[
    str, AfterValidator(_base_url), Field(json_schema_extra={"pattern": r"^https?://[^\s/?#@]+(/[^\s/?#]+)*/?$"})
]
