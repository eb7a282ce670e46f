"""The files GraphiQL is made of: taken from npm once, checked against their hashes, served from here ever after.

Standard library only: the build uses it where nothing is installed. `python -m gateway.api.graphiql_files` fetches.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

STATIC = Path(__file__).parent / "static"
FOLDER = STATIC / "npm"

_LICENCES = ("LICENSE", "LICENSE.md", "LICENCE")
_SECONDS = 120


class FetchError(Exception):
    """The files are not to be had; the message says why."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of a published package. `licence`: the package whose licence it is under, if its own names none."""

    package: str
    file: str
    integrity: str
    licence: str = ""

    @property
    def name(self) -> str:
        """Its place below FOLDER, and in addresses."""
        return f"{self.package}/{self.file}"

    def is_good(self, folder: Path = FOLDER) -> bool:
        """Whether it is there, byte for byte."""
        try:
            content = (folder / self.name).read_bytes()
        except OSError:
            return False
        return self.integrity == "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def page_files() -> list[PageFile]:
    """All of them, in the order in which the page loads them."""
    return [PageFile(**one) for one in json.loads((STATIC / "files.json").read_text())]


def missing(folder: Path = FOLDER) -> list[str]:
    """Names of files that are not there, or not what they should be."""
    return [one.name for one in page_files() if not one.is_good(folder)]


def fetch(folder: Path = FOLDER) -> None:
    """Bring the files and their licences, unless they are there. Raises FetchError; then nothing has changed."""
    if not missing(folder):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError("npm is not on PATH.")
    with TemporaryDirectory(prefix="graphiql-") as scratch:
        made = Path(scratch)
        _unpack(_packed(npm, sorted({one.package for one in page_files()}), made), made / "npm")
        wrong = missing(made / "npm")
        if wrong:
            raise FetchError(f"npm gave something else than expected for {', '.join(wrong)}.")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made / "npm", folder)


def _packed(npm: str, packages: list[str], into: Path) -> dict[str, Path]:
    command = [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(into), "--fetch-retries=1"]
    try:
        done = subprocess.run([*command, *packages], cwd=into, capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode:
            last = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise FetchError(f"npm failed: {last}")
        return {one["id"]: into / one["filename"].replace("@", "").replace("/", "-") for one in json.loads(done.stdout)}
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise FetchError(f"npm failed: {type(error).__name__}.") from error


def _unpack(archives: dict[str, Path], folder: Path) -> None:
    licences: dict[str, bytes] = {}
    for one in page_files():
        with tarfile.open(archives[one.package]) as archive:
            _write(folder / one.name, _read(archive, [one.file]))
            licences[one.package] = licences.get(one.package) or _read(archive, _LICENCES)
    for one in page_files():
        _write(folder / one.package / "LICENSE", licences[one.package] or licences[one.licence or one.package])


def _read(archive: tarfile.TarFile, names: Iterable[str]) -> bytes:
    """The first of these files that the package has; empty when it has none."""
    for name in names:
        try:
            member = archive.extractfile(f"package/{name}")
        except KeyError:
            continue
        if member is not None:
            return member.read()
    return b""


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def main() -> int:
    """Fetch; 1 with the reason when it did not work."""
    try:
        fetch()
    except FetchError as error:
        sys.stderr.write(f"GraphiQL: {error} The gateway works without; `make graphiql` tries again.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
