"""The checks of `journey-gateway doctor`. They look; they start nothing, make nothing and mend nothing.

Rooms that need installed packages are imported where they are used: a package that is missing is a finding, and must
not keep the others from being found.
"""

from __future__ import annotations

import errno
import http.client
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
import zoneinfo
from collections.abc import AsyncGenerator, Callable, Iterator, Sized
from pathlib import Path

from gateway.clock import Clock
from gateway.configuration import Reading
from gateway.errors import ContractError, GatewayError, SetupError
from gateway.model.finding import Finding
from gateway.settings import READER, UNIX, Settings

DISTRIBUTION = "journey-gateway"
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
_OLDEST_PYTHON = (3, 11)
# mongod refuses to start below 500 MB or so and stops when a write to its journal fails.
_LITTLE_DISK, _NO_DISK = 2_000_000_000, 500_000_000
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,.-]+\])?\s*(?:>=(?P<least>[\d.]+))?[^;]*(?:;(?P<marker>.*))?")
_SECONDS = 3.0
_ANOTHER = "Put another mongod on PATH or into GATEWAY_MONGOD."


async def examine(reading: Reading[Settings], clock: Clock) -> AsyncGenerator[Finding, None]:
    """Every finding, the cheap ones first."""
    settings = reading.settings
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": python,
        "packages": lambda: packages(settings),
        "settings": lambda: configuration(reading),
        "time_zones": time_zones,
        "contract": lambda: contract(settings),
        "plugins": lambda: plugins(settings),
        "disk": lambda: disk(settings.data_dir),
        "columnar": lambda: columnar(settings),
        "port": lambda: port(settings.host, settings.port),
        "graphiql": lambda: graphiql(settings),
    }
    for name, check in checks.items():
        try:
            for finding in check():
                yield finding
        except Exception as error:
            yield _broken(name, error)
    try:
        async for finding in mongodb(reading, clock):
            yield finding
    except Exception as error:
        yield _broken("mongodb", error)
    try:
        for finding in await workspaces(settings):
            yield finding
    except Exception as error:
        yield _broken("plugins", error)


def _broken(check: str, error: Exception) -> Finding:
    """A check that fails itself must not hide what the others find."""
    missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
    said = f"{missing} is missing" if missing else type(error).__name__
    return Finding(check, "fail", f"could not be checked ({said})", "Mend what the lines above name first.")


def python() -> Iterator[Finding]:
    version, bits = platform.python_version(), 8 * struct.calcsize("P")
    said = f"{version} ({sys.executable})"
    if sys.version_info < _OLDEST_PYTHON:
        yield Finding("python", "fail", said, "Install Python 3.11 or newer, and the gateway into it.")
    elif bits < 64:
        yield Finding("python", "warn", f"{said}, {bits} bits", "Use a Python of 64 bits.")
    else:
        yield Finding("python", "ok", said)


def packages(settings: Settings) -> Iterator[Finding]:
    """What the gateway's metadata asks for, against what is installed; extras only where a setting needs them."""
    try:
        wanted = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            "packages", "warn", "the gateway is not installed, only its files are here", "Run `pip install .` there."
        )
        return
    extras = {"tracing"} if getattr(settings, "traces_url", None) else set()
    checked, wrong = 0, False
    for text in wanted:
        match = _REQUIREMENT.match(text)
        if match is None or not _applies(match["marker"], extras):
            continue
        checked += 1
        problem = _package_problem(match["name"], match["least"] or "0")
        if problem:
            wrong = True
            yield Finding(
                "packages", "fail", problem, f"Run `{sys.executable} -m pip install '{text.split(';')[0].strip()}'`."
            )
    if not wrong:
        yield Finding("packages", "ok", f"all {checked} are there, in versions that suit")


def _applies(marker: str | None, extras: set[str]) -> bool:
    extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker or "")
    return extra is None or extra[1] in extras


def _package_problem(name: str, least: str) -> str:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is missing"
    return f"{name} {version} is older than {least}" if _numbers(version) < _numbers(least) else ""


def _numbers(version: str) -> tuple[int, ...]:
    """`0.59b0` is 0.59, `15` is 15.0: good enough for lower bounds."""
    found = [int(part) for part in re.findall(r"\d+", re.split(r"[a-z+]", version)[0])]
    return tuple([*found, 0, 0, 0, 0][:4])


def configuration(reading: Reading[Settings]) -> Iterator[Finding]:
    for problem in reading.problems:
        yield Finding("settings", "fail", problem.message.rstrip("."), problem.hint)
    for name, kind in READER.kinds.items():
        value = getattr(reading.settings, name)
        if kind.base is Path and name != "data_dir" and value is not None and not value.exists():
            yield Finding("settings", "fail", f"{name}: there is no {value}", f"Correct {reading.origins[name]}.")
    if reading.file is not None and _open_to_others(reading):
        said = f"{reading.file} holds secrets, and other users of this machine may read it"
        yield Finding("settings", "warn", said, f"Run `chmod 600 {reading.file}`, or use mongo_uri_file.")
    if not reading.problems:
        given = sum(origin.kind != "default" for origin in reading.origins.values())
        where = f", {reading.file} read" if reading.file else ""
        yield Finding("settings", "ok", f"{given} given, the others at their defaults{where}")


def _open_to_others(reading: Reading[Settings]) -> bool:
    """Whether the file has a value that would be masked, and is not its owner's alone."""
    secret = any(
        origin.kind == "file" and not origin.place.endswith("_file") and READER.hides(name, value)
        for name, origin in reading.origins.items()
        if (value := getattr(reading.settings, name)) is not None
    )
    try:
        return secret and bool(reading.file and reading.file.stat().st_mode & 0o077)
    except OSError:
        return False


def time_zones() -> Iterator[Finding]:
    """Whether days and weeks can be cut in a user's own time zone."""
    missing = []
    for name in ZONES:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, OSError, ValueError):
            missing.append(name)
    if missing:
        said = f"no data for {', '.join(missing)}"
        yield Finding("time_zones", "fail", said, f"Run `{sys.executable} -m pip install --force-reinstall tzdata`.")
    else:
        yield Finding("time_zones", "ok", f"{', '.join(ZONES)} and the others are known")


def contract(settings: Settings) -> Iterator[Finding]:
    """The contract folder, read as at a start."""
    from gateway.contract import find_schema_root, load_contract

    try:
        folder = find_schema_root(settings.schema_dir) / settings.contract
        loaded = load_contract(folder)
    except ContractError as error:
        for problem in error.problems:
            said, _, fix = problem.partition(" - ")
            yield Finding("contract", "fail", said, fix or "Correct the file; `journey-gateway schema check` reads it.")
    except GatewayError as error:
        yield Finding("contract", "fail", error.message.rstrip("."), error.hint)
    else:
        yield Finding(
            "contract", "ok", f"{folder}: {_count(loaded.journeys, 'journey map')}, {_count(loaded.kpis, 'KPI')}"
        )


def plugins(settings: Settings) -> Iterator[Finding]:
    """Plugins and connectors, loaded and checked as at a start; nothing is called."""
    from gateway.app.plugins import load_plugins

    plugged = load_plugins(settings, refuse=False)
    for failure in plugged.failures:
        yield Finding("plugins", "fail", f"{failure.plugin}: {failure.message.rstrip('.')}", failure.fix)
    if not plugged.failures:
        loaded = len(plugged.host.plugins)
        said = f"{_count(plugged.host.plugins, 'plugin')}, {_count(plugged.instances, 'connector')}"
        yield Finding("plugins", "ok", said if loaded else "none is enabled")


async def workspaces(settings: Settings) -> list[Finding]:
    """Connectors of workspaces that there are not, where MongoDB can be asked."""
    from gateway.app.opening import known_workspaces
    from gateway.app.plugins import in_workspaces, load_plugins

    plugged = load_plugins(settings, refuse=False)
    known = await known_workspaces(settings) if plugged.instances else None
    found = in_workspaces(plugged, settings, known or (), refuse=False)
    new = [one for one in found.failures if one not in plugged.failures]
    return [Finding("plugins", "fail", f"{one.plugin}: {one.message.rstrip('.')}", one.fix) for one in new]


def _contract_hash(settings: Settings) -> str | None:
    """What the folder says, for a comparison with what is stored; None where it does not load, which is told above."""
    from gateway.contract import find_schema_root, load_contract

    try:
        return load_contract(find_schema_root(settings.schema_dir) / settings.contract).hash
    except GatewayError:
        return None


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def disk(data_dir: Path) -> Iterator[Finding]:
    """Room and rights where the data folder is, or where it would be made."""
    folder = data_dir.absolute()
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        said = f"{there} is no folder that this user may write into"
        yield Finding("disk", "fail", said, "Change its rights, or set GATEWAY_DATA_DIR to another one.")
        return
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:.1f} GB free in {folder}"
    if free < _NO_DISK:
        yield Finding("disk", "fail", said, "Free some space, or set GATEWAY_DATA_DIR to a folder on another disk.")
    elif free < _LITTLE_DISK:
        yield Finding("disk", "warn", said, "Free some space: mongod stops when it runs out.")
    else:
        yield Finding("disk", "ok", said)


def columnar(settings: Settings) -> Iterator[Finding]:
    """Whether the folder of the columnar projection can be used, and which it is."""
    from gateway.app.columnar import folder_of

    try:
        folder = folder_of(settings)
        if folder is None:
            yield Finding("columnar", "ok", "switched off: only few events can be asked about")
            return
        name = folder.name(make=False)
    except GatewayError as error:
        yield Finding("columnar", "fail", error.message.rstrip("."), error.hint)
        return
    shared = settings.mongo_uri is not None and settings.columnar_url is None
    said = f"{folder.root}, {'in use' if name else 'nothing in it yet'}"
    fix = "If other machines run gateways too, set GATEWAY_COLUMNAR_URL to a folder or store that all of them share."
    yield Finding("columnar", "ok", f"{said}; on this machine only" if shared else said, fix if shared else "")


def port(host: str, number: int) -> Iterator[Finding]:
    """Whether the gateway can listen, or does already."""
    if host.startswith(UNIX):
        yield _path(Path(host.removeprefix(UNIX)))
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            yield _taken(host, number, error)
            return
    yield Finding("port", "ok", f"{host}:{number} is free")


def _path(path: Path) -> Finding:
    if os.access(path.absolute().parent, os.W_OK | os.X_OK):
        return Finding("port", "ok", f"{path} can be made")
    fix = "Make the folder, give this user the right to write into it, or set GATEWAY_HOST to another path."
    return Finding("port", "fail", f"{path} cannot be made", fix)


def _taken(host: str, number: int, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        if _is_gateway(host, number):
            return Finding("port", "ok", f"{host}:{number} is served by a running Journey Gateway")
        other = number + 1 if number < 65_535 else 8001
        return Finding(
            "port", "fail", f"{host}:{number} is taken by another program", f"Stop it, or set GATEWAY_PORT={other}."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Finding(
            "port", "fail", f"this user may not listen on port {number}", "Set GATEWAY_PORT to 1024 or more."
        )
    return Finding(
        "port",
        "fail",
        f"{host} is no address of this machine ({error.strerror or error})",
        "Set GATEWAY_HOST to 127.0.0.1, or to 0.0.0.0 for all addresses.",
    )


def _is_gateway(host: str, number: int) -> bool:
    """Whether what listens there says how ready it is, as a gateway does."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - listens on all: ask this machine
    connection = http.client.HTTPConnection(address, number, timeout=_SECONDS)
    try:
        connection.request("GET", "/readyz")
        said = json.loads(connection.getresponse().read(100_000))
        return isinstance(said, dict) and {"ready", "role", "checks"} <= said.keys()
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def graphiql(settings: Settings) -> Iterator[Finding]:
    """Whether the page for trying queries has its files; production does not serve it."""
    from gateway.api.graphiql_files import missing

    if settings.env == "production":
        yield Finding("graphiql", "ok", "not served in production")
    elif absent := missing():
        said = f"{len(absent)} of its files are not there: /graphql shows no page"
        fix = f"Run `make graphiql`, or `{sys.executable} -m gateway.api.graphiql_files` (both need npm)."
        yield Finding("graphiql", "warn", said, fix)
    else:
        yield Finding("graphiql", "ok", "its files are there; it works offline")


async def mongodb(reading: Reading[Settings], clock: Clock) -> AsyncGenerator[Finding, None]:
    """The server that is set; else the embedded one if it runs, or whether it could be started."""
    settings = reading.settings
    if reading.origins["mongo_uri"].kind != "default" and settings.mongo_uri is None:
        return  # what was given cannot be read, as a finding above says
    try:
        from gateway.store.diagnosis import Target
        from gateway.store.diagnosis import examine as examine_store
        from gateway.store.embedded import EmbeddedMongod
    except ImportError as error:
        yield Finding("mongodb.reachable", "fail", f"not looked at: {error.name} is missing", "See packages above.")
        return
    uri = settings.mongo_uri
    if uri is None:
        for finding in mongod_binary(settings.mongod):
            yield finding
        running = await EmbeddedMongod.running(settings.data_dir)
        if running is None:
            yield Finding("mongodb.reachable", "ok", "not started: `journey-gateway serve` starts the embedded one")
            return
        uri = running.uri
    target = Target(
        uri,
        settings.database,
        driver=settings.driver,
        embedded=settings.mongo_uri is None,
        production=settings.env == "production",
        contract=_contract_hash(settings),
        disk_free_percent=settings.disk_free_percent,
    )
    async for finding in examine_store(target, clock):
        yield finding


def mongod_binary(given: Path | None) -> Iterator[Finding]:
    """The mongod to start, and whether it runs on this machine at all."""
    from gateway.store.mongod_binary import explain_failure, find_mongod

    try:
        binary = find_mongod(given)
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except GatewayError as error:
        yield Finding("mongod", "fail", error.message.rstrip("."), error.hint)
        return
    except (OSError, subprocess.TimeoutExpired):
        yield Finding("mongod", "fail", f"{binary} cannot be run", _ANOTHER)
        return
    if said.returncode:
        status = said.returncode if said.returncode > 0 else 128 - said.returncode
        problem = explain_failure(binary, status, said.stderr, "", binary)
        if not said.stderr.strip():
            problem = SetupError(f"{binary} says no version (exit status {status}): it is no mongod.", hint=_ANOTHER)
        yield Finding("mongod", "fail", problem.message.rstrip("."), problem.hint)
        return
    version = re.search(r"db version v(\S+)", said.stdout)
    if version is None:
        yield Finding("mongod", "fail", f"{binary} says no version: it is no mongod", _ANOTHER)
        return
    yield Finding("mongod", "ok", f"{binary}, version {version[1]}")
