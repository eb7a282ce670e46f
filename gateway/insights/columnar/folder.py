"""The folder of the parts: a local directory, or any store that fsspec knows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import duckdb
import fsspec  # type: ignore[import-untyped]

from gateway.clock import random_id
from gateway.errors import GatewayError, SetupError

_MARK = "store.json"


class PartsElsewhere(SetupError):
    """The parts lie in a folder that this process does not see."""

    code = "PARTS_ELSEWHERE"


@dataclass(frozen=True, slots=True)
class Folder:
    """Parts of one database. Every method blocks: call it from a worker thread. Raises SetupError where the store
    cannot be used."""

    url: str
    fs: Any
    root: str
    local: bool

    @classmethod
    def open(cls, url: str, database: str) -> Folder:
        """`url` is a path, or an address such as s3://bucket/journeys; the parts lie below it under the database."""
        try:
            fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise SetupError(
                f"GATEWAY_COLUMNAR_URL cannot be used: {error}", hint="Install the package of that store for fsspec."
            ) from error
        local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        return cls(url, fs, f"{root.rstrip('/')}/{quote(database, safe='')}", local)

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let DuckDB read and write here."""
        if not self.local:
            connection.register_filesystem(self.fs)

    def path(self, file: str) -> str:
        """Where DuckDB finds a part."""
        whole = f"{self.root}/{file}"
        return whole if self.local else str(self.fs.unstrip_protocol(whole))

    def make(self, file: str) -> None:
        """Make the folder that the part will lie in."""
        with self._trouble():
            self.fs.makedirs(f"{self.root}/{file}".rpartition("/")[0], exist_ok=True)

    def settle(self, file: str) -> int:
        """Have the part survive a power cut; its size in bytes."""
        path = f"{self.root}/{file}"
        with self._trouble():
            if self.local:
                for each in (path, path.rpartition("/")[0]):
                    handle = os.open(each, os.O_RDONLY)
                    try:
                        os.fsync(handle)
                    finally:
                        os.close(handle)
            return int(self.fs.size(path))

    def delete(self, files: list[str]) -> None:
        """Remove parts; those that are gone already are no trouble."""
        with self._trouble():
            for file in files:
                if self.fs.exists(f"{self.root}/{file}"):
                    self.fs.rm_file(f"{self.root}/{file}")

    def files(self, workspace: str) -> list[str]:
        """All parts of a workspace, by the names that the manifest has for them."""
        with self._trouble():
            below = f"{self.root}/{quote(workspace, safe='')}"
            self.fs.invalidate_cache()
            if not self.fs.exists(below):
                return []
            strip = len(self.root.lstrip("/")) + 1
            found = [str(path).lstrip("/")[strip:] for path in self.fs.find(below)]
            return [file for file in found if file.endswith(".parquet")]

    def name(self, *, make: bool) -> str | None:
        """What the folder calls itself, so that nobody takes another one for it; None: it has no name yet."""
        path = f"{self.root}/{_MARK}"
        with self._trouble():
            if make and not self.fs.exists(path):
                self.fs.makedirs(self.root, exist_ok=True)
                self.fs.pipe_file(path, json.dumps({"id": random_id()}).encode())
            self.fs.invalidate_cache()
            return str(json.loads(self.fs.cat_file(path))["id"]) if self.fs.exists(path) else None

    def _trouble(self) -> _Trouble:
        return _Trouble(self.url)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Says in the gateway's words that a store cannot be used."""

    url: str

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, GatewayError):
            raise SetupError(
                f"The folder of the columnar projection cannot be used ({type(error).__name__}).",
                hint="Check GATEWAY_COLUMNAR_URL, the rights there and the space on it.",
            ) from error


def part_name(workspace: str, generation: int, epoch: int) -> str:
    """A name that no other part has. It says under which epoch it was written: what is in no manifest and of an epoch
    that is over, nobody will ever add to one."""
    return f"{quote(workspace, safe='')}/{generation:06}/{epoch:08}-{random_id()}.parquet"


def epoch_of(file: str) -> int:
    """The epoch a part was written under."""
    return int(file.rpartition("/")[2].partition("-")[0])


def orphans(files: list[str], known: set[str], epoch: int) -> Iterator[str]:
    """Files that no manifest names, nor will: all but those of later epochs."""
    return (file for file in files if file not in known and epoch_of(file) <= epoch)
