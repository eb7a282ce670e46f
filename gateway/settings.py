"""Every setting. Each is documented in the README's table; gateway/configuration says how a field's type is read.

A new setting is a field of `Settings` with a default, a line of `_HELP`, and a row in the README.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from gateway.configuration import SECRET, Between, Checked, Example, Option, Reader, Reading, Tables
from gateway.configuration.origins import read_origin
from gateway.errors import InvalidInput

PREFIX = "GATEWAY_"
FILE = "gateway.toml"
#: A `host` that is a socket in the file system begins so.
UNIX = "unix:"
#: A `columnar_url` that means: none.
OFF = "off"

_NOT_IN_DATABASE = re.compile(r'[\x00-\x20/\\."$\ud800-\udfff]')
_LONGEST_DATABASE = 63


def _database_name(text: str) -> str:
    if not text or _NOT_IN_DATABASE.search(text) or len(text.encode()) > _LONGEST_DATABASE:
        raise InvalidInput(
            "this cannot be the name of a database",
            hint=f'Use 1 to {_LONGEST_DATABASE} bytes without blanks and without any of / \\ . " $',
        )
    if text.lower() in ("admin", "config", "local"):
        raise InvalidInput("this database is MongoDB's own", hint="Choose another name, such as journey_gateway.")
    return text


def _http_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InvalidInput("this is not an address of HTTP", hint="Such as http://127.0.0.1:4318/v1/traces.")
    return text


def _cors_origin(text: str) -> str:
    if text == "*":
        return text
    origin = read_origin(text)
    if "*" in origin:
        raise InvalidInput(f"{text!r} has a wildcard.", hint="List each origin, or `*` for all.")
    return origin


def _public_url(text: str) -> str:
    refused = InvalidInput(f"{text!r} is not an address of HTTP.", hint="Such as https://events.example.")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise refused from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in text:
        raise refused
    return text.rstrip("/")


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise InvalidInput(
            f"{text!r} is neither an address nor a network.", hint="List such as 10.0.0.0/8,fd00::/8."
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An OpenID Connect provider whose tokens open one workspace for its users; gateway/access/README.md explains."""

    issuer: Annotated[str, Example("https://login.example.com/")]
    workspace: Annotated[str, Example("main")]
    audience: tuple[str, ...]
    jwks_url: Annotated[str | None, Example("https://login.example.com/.well-known/jwks.json")] = None
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = ("RS256", "ES256", "EdDSA")
    subject: Literal["userId", "anonymousId", "none"] = "userId"
    subject_claim: str = "sub"
    permissions: tuple[str, ...] = ()
    permissions_claim: str | None = None
    leeway_seconds: Annotated[int, Between(0, 300)] = 60

    def __post_init__(self) -> None:
        if not (self.issuer and self.workspace and self.audience and all(self.audience) and self.algorithms):
            raise ValueError("issuer, workspace, audience and algorithms must not be empty")


ValidationMode = Literal["observe", "warn", "quarantine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What becomes of events of a workspace, a source, or both that are not what the plan says; `*` is any."""

    mode: Annotated[ValidationMode, Example("warn")]
    workspace: Annotated[str, Example("main")] = "*"
    source: Annotated[str, Example("web")] = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set. In TOML by its name, in the environment by the name in capitals behind `GATEWAY_`."""

    mongo_uri: Annotated[str | None, Example("mongodb://127.0.0.1:27017/?replicaSet=rs0")] = None
    mongod: Annotated[Path | None, Example("/usr/bin/mongod")] = None
    database: Annotated[str, Checked(_database_name)] = "journey_gateway"
    driver: Literal["pymongo", "motor"] = "pymongo"
    data_dir: Path = Path(".gateway")
    schema_dir: Annotated[Path | None, Example("contracts")] = None
    contract: str = "shop"
    validation: ValidationMode = "observe"
    validation_modes: tuple[Validation, ...] = ()
    audit_minutes: Annotated[float, Between(0, 1_440)] = 15.0
    host: str = "127.0.0.1"
    port: Annotated[int, Between(1, 65_535)] = 8000
    env: Literal["development", "production"] = "development"
    cors_origins: tuple[Annotated[str, Checked(_cors_origin)], ...] = ("*",)
    max_body_bytes: int = 4_000_000
    max_event_bytes: int = 32_768
    max_batch_events: int = 2_500
    lease_seconds: float = 3.0
    feed_hours: float = 72.0
    token_minutes: int = 60
    public_url: Annotated[str | None, Checked(_public_url), Example("https://events.example")] = None
    trusted_proxies: Annotated[tuple[Annotated[str, Checked(_network)], ...], Example("10.0.0.0/8,fd00::/8")] = ()
    ip: Literal["truncate", "drop"] = "truncate"
    country_header: Annotated[str | None, Example("cf-ipcountry")] = None
    country_database: Annotated[Path | None, Example("GeoLite2-Country.mmdb")] = None
    issuers: tuple[Issuer, ...] = ()
    role: Literal["all", "collect", "derive", "api"] = "all"
    log: Literal["auto", "json", "text"] = "auto"
    metrics: Literal["local", "on", "off"] = "local"
    metrics_token: Annotated[str | None, SECRET] = None
    traces_url: Annotated[str | None, Checked(_http_address), Example("http://127.0.0.1:4318/v1/traces")] = None
    drain_seconds: Annotated[float, Between(0, 600)] = 1.0
    header_seconds: float = 15.0
    body_seconds: Annotated[float, Between(1, 50)] = 30.0
    slow_seconds: float = 2.0
    max_connections: int = 5_000
    intake_budget_bytes: Annotated[int, Between(1_000_000, 100_000_000_000)] = 64_000_000
    disk_free_percent: Annotated[float, Between(0, 50)] = 5.0
    erase_again_seconds: Annotated[float, Between(0, 86_400)] = 60.0
    columnar_url: Annotated[str | None, Example("s3://bucket/journeys")] = None
    columnar_rows: Annotated[int, Between(1_000, 5_000_000)] = 100_000
    columnar_seconds: Annotated[float, Between(1, 3_600)] = 60.0
    scan_rows: Annotated[int, Between(1_000, 2_000_000_000)] = 20_000_000
    scan_seconds: Annotated[float, Between(1, 600)] = 30.0
    scan_memory_mb: Annotated[int, Between(100, 1_000_000)] = 1_000
    scan_threads: Annotated[int, Between(1, 256)] = 2
    plugins: Annotated[tuple[str, ...], Example("acme")] = ()
    load_plugins: Annotated[tuple[str, ...] | None, Example("hubspot,slack")] = None
    plugins_dir: Annotated[Path | None, Example("plugins")] = None
    strict_plugins: bool = False
    trace_plugins: bool = False
    connectors: Tables = field(default_factory=Tables)


_HELP = {
    "mongo_uri": "MongoDB to use (a replica set). Unset: a mongod on PATH, else the embedded one, is started",
    "mongod": "the mongod binary to start when no address is given",
    "database": "name of the database",
    "driver": "`pymongo` (its async client) or `motor`",
    "data_dir": "where the embedded mongod, the demo's keys and the columnar parts live",
    "schema_dir": "the folder that holds contract folders; unset: the one that ships with the gateway",
    "contract": "the contract folder inside it",
    "validation": "events that are not what the plan says: `observe`, `warn` (their sender is told) or `quarantine`",
    "validation_modes": "the same for single workspaces and sources: tables `[[validation_modes]]`, or a JSON list",
    "audit_minutes": "how often silence, drift and loss are looked for, to raise alerts; 0: never",
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
    "public_url": "the gateway's address as SDKs reach it; unset: as the request says",
    "trusted_proxies": "addresses and networks of proxies whose X-Forwarded-… headers are believed",
    "ip": "what is stored of a sender's IP address: `truncate` (without its last bits: /24, /48) or `drop` (nothing)",
    "country_header": "the header in which a proxy names the sender's country; unset: no header is believed",
    "country_database": "a country database in MaxMind's format (.mmdb) to look addresses up in; none ships",
    "issuers": "OpenID Connect providers whose tokens are good here: tables `[[issuers]]`, or a JSON list",
    "role": "what this process does: `collect` takes events, `derive` makes journeys of them, `api` answers; or `all`",
    "log": "form of log lines: `json`, `text`, or `auto` (text in a terminal, JSON otherwise)",
    "metrics": "who may read /metrics: `local` (this machine, not through a proxy), `on` (all) or `off`",
    "metrics_token": "a bearer token that opens /metrics from everywhere, whatever `metrics` says except `off`",
    "traces_url": "OTLP/HTTP address that OpenTelemetry traces are sent to; needs the extra `tracing`",
    "drain_seconds": "how long /readyz says 503 after SIGTERM before the gateway stops accepting connections",
    "header_seconds": "how long a connection may take to send the headers of a request",
    "body_seconds": "how long the body of a request with events may take to arrive",
    "slow_seconds": "a request that takes longer is logged",
    "max_connections": "most connections at a time; further requests are answered 503",
    "intake_budget_bytes": "most bytes of events a process holds at a time; further requests are answered 503",
    "erase_again_seconds": "when an erasure deletes once more what was on its way in when it began; then it is done",
    "columnar_url": "where the events lie in columns for numbers: a folder, or an address that fsspec knows, shared by "
    "all gateways; unset: `columnar` in the data folder; `off`: nowhere, and only few events can be asked about",
    "columnar_rows": "events that one new file of them has at most",
    "columnar_seconds": "how long events wait for their file at most; questions have them all the same",
    "scan_rows": "most events that one question may be about",
    "scan_seconds": "how long one question about many events may take, waiting included",
    "scan_memory_mb": "memory that questions may use, and the writing of columns as much again",
    "scan_threads": "processors that questions may use",
    "plugins": "plugins to load that have no connector under `connectors`, separated by commas",
    "load_plugins": "load only these of the enabled plugins; set to nothing (`GATEWAY_LOAD_PLUGINS=`): none, safe mode",
    "plugins_dir": "a folder with one-file plugins (`acme.py`), loaded beside those that are installed",
    "strict_plugins": "a plugin that does not load stops the start, instead of being left out and shown",
    "trace_plugins": "log every call of a plugin: which, what, how long, how it ended (no arguments)",
    "connectors": "configured connectors: tables `[connectors.<instance>]`, each with `use` and its own settings",
    "disk_free_percent": "below so much free space on MongoDB's disk no events are taken; 0: the disk is not watched",
}

READER = Reader(Settings, PREFIX, FILE)


def explained() -> dict[str, str]:
    """Each setting with its explanation."""
    return {each.name: _HELP[each.name] for each in fields(Settings)}


def environment_names() -> dict[str, str]:
    """Each environment variable with its explanation."""
    named = {READER.environment_name(name): text for name, text in explained().items()}
    return {READER.file_variable: "the TOML file with settings; unset: `gateway.toml` where the gateway starts"} | named


def look_up_settings(
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Option] | None = None,
    folder: Path = Path(),
) -> Reading[Settings]:
    """Settings with their origins and every problem; raises nothing."""
    return READER.read(os.environ if environ is None else environ, options or {}, folder)


def read_settings(environ: Mapping[str, str] | None = None, options: Mapping[str, Option] | None = None) -> Settings:
    """Settings from options, environment, the TOML file and defaults, in this order.

    Raises SetupError for what is unknown or of the wrong kind; the message names place and fix.
    """
    return look_up_settings(environ, options).checked()
