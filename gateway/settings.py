"""Settings, read once from the environment. Every one is documented in the README's table."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast

from gateway.errors import SetupError

PREFIX = "GATEWAY_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. The environment variable is the name in capitals behind `GATEWAY_`."""

    mongo_uri: str | None = None
    mongod: Path | None = None
    database: str = "journey_gateway"
    driver: Literal["pymongo", "motor"] = "pymongo"
    data_dir: Path = Path(".gateway")
    schema_dir: Path | None = None
    contract: str = "shop"
    host: str = "127.0.0.1"
    port: int = 8000
    env: Literal["development", "production"] = "development"
    cors_origins: tuple[str, ...] = ("*",)
    max_body_bytes: int = 4_000_000
    max_event_bytes: int = 32_768
    max_batch_events: int = 2_500
    lease_seconds: float = 3.0
    feed_hours: float = 72.0
    token_minutes: int = 60


_HELP = {
    "mongo_uri": "MongoDB to use (a replica set). Unset: a mongod on PATH, else the embedded one, is started",
    "mongod": "the mongod binary to start when no address is given",
    "database": "name of the database",
    "driver": "`pymongo` (its async client) or `motor`",
    "data_dir": "where the embedded mongod and the demo's keys live",
    "schema_dir": "the folder that holds contract folders; unset: the one that ships with the gateway",
    "contract": "the contract folder inside it",
    "host": "address to listen on",
    "port": "port to listen on",
    "env": "`development` or `production` (no GraphQL IDE, no introspection hints)",
    "cors_origins": "origins that browsers may call from, separated by commas; `*` for all (no cookies are used)",
    "max_body_bytes": "largest request body, after decompression",
    "max_event_bytes": "largest single event; a larger one is quarantined",
    "max_batch_events": "most events in one batch",
    "lease_seconds": "how long a deriving process may be silent before another takes over",
    "feed_hours": "how long a subscription can be resumed",
    "token_minutes": "how long a minted token opens",
}


def environment_names() -> dict[str, str]:
    """Each setting's environment variable with its explanation."""
    return {PREFIX + field.name.upper(): _HELP[field.name] for field in fields(Settings)}


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises SetupError for an unknown `GATEWAY_` name or a value of the wrong kind; the message names the fix.
    """
    environ = os.environ if environ is None else environ
    known = environment_names()
    values: dict[str, object] = {}
    for name, raw in environ.items():
        if not name.startswith(PREFIX) or name.startswith(PREFIX + "TEST_"):
            continue
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}?" if close else "The README lists all settings."
            raise SetupError(f"unknown setting {name}.", hint=hint)
        if raw != "":
            key = name.removeprefix(PREFIX).lower()
            values[key] = _convert(name, key, raw)
    return Settings(**values)  # type: ignore[arg-type]


def _convert(name: str, key: str, raw: str) -> object:
    if key in ("mongod", "data_dir", "schema_dir"):
        return Path(raw).expanduser()
    if key == "cors_origins":
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    choices = {"driver": ("pymongo", "motor"), "env": ("development", "production")}.get(key)
    if choices is not None:
        if raw not in choices:
            raise SetupError(f"{name}={raw!r} is not known.", hint=f"Use one of: {', '.join(choices)}.")
        return raw
    default = next(cast(object, field.default) for field in fields(Settings) if field.name == key)
    if isinstance(default, int | float):
        kind = type(default)
        try:
            number = kind(raw)
        except ValueError:
            number = kind(0)
        if number <= 0:
            raise SetupError(f"{name}={raw!r} is not a positive number.", hint=f"The default is {default}.")
        return number
    return raw
