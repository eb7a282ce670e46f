"""Where the data of the run's mongod lies: in memory where there is room, because what a test waits for most is the
journal on the disk, and no test takes the power away."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder of our own below it
_PREFIX = "journey-gateway-tests-"
#: What the data of several processes may grow to, with as much to spare.
_ROOM = 8 << 30


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for as long as this is open.

    Not below pytest's own: it keeps three runs, and other runs at the same time would remove this one's data.
    """
    place = _MEMORY if _has_room() else None
    if place is not None:
        _sweep(place)
    with TemporaryDirectory(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True) as made:
        yield Path(made)


def _has_room() -> bool:
    try:
        return _MEMORY.is_mount() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM
    except OSError:
        return False


def _sweep(place: Path) -> None:
    """Remove what runs that were killed have left: memory is not given back otherwise. A mongod holds its lock."""
    for left in place.glob(f"{_PREFIX}*"):
        try:
            with (left / "db" / "mongod.lock").open("r+b") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        shutil.rmtree(left, ignore_errors=True)
