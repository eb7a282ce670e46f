"""A mongod of the gateway's own: one member of a replica set, on a loopback port, gone when the gateway is gone."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from gateway.errors import GatewayError, SetupError, StoreError, Unavailable
from gateway.store.database import Database, connect
from gateway.store.mongod_binary import explain_failure, find_mongod
from gateway.store.transactions import TRANSACTION_SECONDS

__all__ = ["EmbeddedMongod", "find_mongod"]

REPLICA_SET = "rs0"
OWNER_LOCK = "owner.lock"
READY_SECONDS = 60.0
"""A start that recovers from a crash reads the journal first."""
STOP_SECONDS = 15.0
LEAVING_SECONDS = 20.0
POLL_SECONDS = 0.02

_NOT_YET_INITIALIZED = 94
_IN_THE_MAKING = (23, 109)
"""AlreadyInitialized, ConfigurationInProgress: mongod is still reading the configuration it has."""
_LOG_TAIL_BYTES = 65_536
# Runs mongod and waits with it. Standard input is a pipe that only the gateway holds open: when the gateway goes, in
# whatever way, the read ends and mongod is told to stop. `kill 0` at the end takes the reader and its sleep along.
_WATCHDOG = """
exec 3<&0 </dev/null
errors=$1; shift
"$@" >"$errors" 2>&1 3<&- &
mongod=$!
echo "$mongod"
exec >/dev/null 2>&1
{ read -r nothing <&3; kill -TERM "$mongod"; sleep 20; kill -KILL "$mongod"; } &
exec 3<&-
wait "$mongod"
status=$?
trap '' TERM
kill -TERM 0
exit "$status"
"""


@dataclass(slots=True)
class EmbeddedMongod:
    """A running mongod. `owned`: this process started it and stops it; otherwise another one of the machine did."""

    port: int
    pid: int
    owned: bool
    _watchdog: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _held: tuple[int, ...] = field(default=(), repr=False)
    """Open files that say that the owner lives: the lock others look at, and the pipe the watchdog reads."""

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet={REPLICA_SET}"

    @classmethod
    async def start(
        cls, data_dir: Path, *, mongod: Path | None = None, extra_args: Sequence[str] = ()
    ) -> EmbeddedMongod:
        """Start the mongod of `data_dir`, or join the one that runs there; it is a writable primary on return.

        `mongod` is the setting GATEWAY_MONGOD. Raises SetupError with the cause and the way out.
        """
        try:
            data_dir = _prepare(data_dir)
            async with _alone(data_dir):
                running = await _running(data_dir)
                if running is not None:
                    return running
                return await _launch(data_dir, find_mongod(mongod), extra_args)
        except OSError as error:
            raise SetupError(
                f"The data directory {data_dir} cannot be used ({error.strerror}).",
                hint="Free it, or set GATEWAY_DATA_DIR to another directory of yours.",
            ) from error

    @classmethod
    async def running(cls, data_dir: Path) -> EmbeddedMongod | None:
        """The mongod that serves `data_dir` now, if there is one; nothing is started or made."""
        recorded = _recorded(data_dir)
        if recorded is None or not _in_use(data_dir / OWNER_LOCK) or not await _answers(*recorded):
            return None
        return cls(port=recorded[1], pid=recorded[0], owned=False)

    @property
    def ended(self) -> bool:
        """Whether our own mongod is gone, or was stopped; never said of another process's."""
        return self.owned and (self._watchdog is None or self._watchdog.poll() is not None)

    async def stop(self) -> None:
        """Stop mongod cleanly, if it is our own; killed when it has not stopped after 15 s."""
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is None:
            return
        for descriptor in self._held:
            os.close(descriptor)
        try:
            await asyncio.to_thread(watchdog.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            await asyncio.to_thread(watchdog.wait)


def _prepare(data_dir: Path) -> Path:
    data_dir = data_dir.absolute()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "db").mkdir(mode=0o700, exist_ok=True)
    ignore = data_dir / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return data_dir


@asynccontextmanager
async def _alone(data_dir: Path) -> AsyncIterator[None]:
    """One start at a time in one directory; the second then finds what the first has started."""
    with (data_dir / "start.lock").open("w") as lock:
        while not _locked(lock):  # noqa: ASYNC110 - the other is another process
            await asyncio.sleep(0.05)
        yield


def _locked(file: IO[Any]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _running(data_dir: Path) -> EmbeddedMongod | None:
    """The mongod that serves `data_dir`; one whose owner has gone is about to leave, and is waited for."""
    deadline = _now() + LEAVING_SECONDS
    while True:
        recorded = _recorded(data_dir)
        if recorded is not None and _in_use(data_dir / OWNER_LOCK) and await _answers(*recorded):
            return EmbeddedMongod(port=recorded[1], pid=recorded[0], owned=False)
        if not _in_use(data_dir / "db" / "mongod.lock"):
            return None
        if _now() >= deadline:
            raise SetupError(
                f"A mongod that does not answer holds {data_dir / 'db'}.",
                hint="Stop it, or set GATEWAY_DATA_DIR to another directory.",
            )
        await asyncio.sleep(0.1)


def _recorded(data_dir: Path) -> tuple[int, int] | None:
    try:
        state = orjson.loads((data_dir / "mongod.json").read_bytes())
        return int(state["pid"]), int(state["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


async def _answers(pid: int, port: int) -> bool:
    """Whether that very process is a primary at that port; pids and ports are used again by others."""
    if not await _listens(port):
        return False
    database = _direct(port)
    try:
        status = await database.admin({"serverStatus": 1, "repl": 1})
        return int(status["pid"]) == pid and bool((await database.hello()).get("isWritablePrimary"))
    except (GatewayError, KeyError):
        return False
    finally:
        await database.close()


def _in_use(lock_file: Path) -> bool:
    """Whether a living process holds an flock on the file; mongod does so on its mongod.lock."""
    try:
        with lock_file.open("r+b") as lock:
            return not _locked(lock)
    except FileNotFoundError:
        return False


def _claim(data_dir: Path) -> int:
    """An flock that lasts as long as this process, on a new file: a former owner may live on without its mongod."""
    lock_file = data_dir / OWNER_LOCK
    lock_file.unlink(missing_ok=True)
    claim = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return claim


async def _launch(data_dir: Path, binary: Path, extra_args: Sequence[str]) -> EmbeddedMongod:
    recorded = _recorded(data_dir)
    port = recorded[1] if recorded is not None and _is_free(recorded[1]) else _free_port()
    log = data_dir / "mongod.log"
    if log.exists():
        log.replace(data_dir / "mongod.log.1")
    mongod = _spawn(data_dir, [str(binary), *_arguments(data_dir, port), *extra_args], port)
    try:
        (data_dir / "mongod.json").write_bytes(orjson.dumps({"pid": mongod.pid, "port": port}))
        await _become_primary(mongod, data_dir, binary)
    except BaseException:
        await mongod.stop()
        raise
    return mongod


def _arguments(data_dir: Path, port: int) -> list[str]:
    return [
        *("--replSet", REPLICA_SET, "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket", "--noscripting"),
        *("--dbpath", str(data_dir / "db"), "--logpath", str(data_dir / "mongod.log"), "--logappend"),
        *("--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "512"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        # As long as ours may take: a transaction whose process died keeps its locks until then (60 s by default).
        *("--setParameter", f"transactionLifetimeLimitSeconds={TRANSACTION_SECONDS:.0f}"),
    ]


def _spawn(data_dir: Path, command: Sequence[str], port: int) -> EmbeddedMongod:
    claim = _claim(data_dir)
    reading_end, lifeline = os.pipe()
    try:
        watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "mongod-watchdog", str(data_dir / "mongod.err"), *command],
            stdin=reading_end,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C in the terminal is for the gateway alone
        )
    finally:
        os.close(reading_end)
    assert watchdog.stdout is not None
    with watchdog.stdout as said:
        pid = int(said.readline())
    return EmbeddedMongod(port=port, pid=pid, owned=True, _watchdog=watchdog, _held=(claim, lifeline))


async def _become_primary(mongod: EmbeddedMongod, data_dir: Path, binary: Path) -> None:
    deadline = _now() + READY_SECONDS
    while not await _listens(mongod.port):
        await _still_coming(mongod, data_dir, binary, deadline)
    database = _direct(mongod.port)
    try:
        while not await _is_primary(database, f"127.0.0.1:{mongod.port}"):
            await _still_coming(mongod, data_dir, binary, deadline)
    finally:
        await database.close()


async def _still_coming(mongod: EmbeddedMongod, data_dir: Path, binary: Path, deadline: float) -> None:
    assert mongod._watchdog is not None
    status = mongod._watchdog.poll()
    log = data_dir / "mongod.log"
    if status is not None:
        raise explain_failure(binary, status, _tail(data_dir / "mongod.err"), _tail(log), log)
    if _now() >= deadline:
        raise SetupError(f"mongod was not ready after {READY_SECONDS:.0f} s.", hint=f"Its log is {log}.")
    await asyncio.sleep(POLL_SECONDS)


async def _is_primary(database: Database, member: str) -> bool:
    try:
        if (await database.hello()).get("isWritablePrimary"):
            return True
        await _configure(database, member)
    except Unavailable:
        pass  # it is electing itself
    return False


async def _configure(database: Database, member: str) -> None:
    """Make the replica set on the first start; give its member the new port when the old one was taken."""
    try:
        config = (await database.admin({"replSetGetConfig": 1}))["config"]
    except StoreError as error:
        if error.number != _NOT_YET_INITIALIZED:
            raise
        config = {
            "_id": REPLICA_SET,
            "members": [{"_id": 0, "host": member}],
            "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 500},
        }
        await _apply(database, {"replSetInitiate": config})
        return
    if config["members"][0]["host"] != member:
        config["members"][0]["host"] = member
        config["version"] += 1
        await _apply(database, {"replSetReconfig": config, "force": True})


async def _apply(database: Database, command: dict[str, object]) -> None:
    try:
        await database.admin(command)
    except StoreError as error:
        if error.number not in _IN_THE_MAKING:
            raise


def _direct(port: int) -> Database:
    return connect(f"mongodb://127.0.0.1:{port}/?directConnection=true", "admin")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(file: Path) -> str:
    try:
        return file.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
    except FileNotFoundError:
        return ""


def _now() -> float:
    return asyncio.get_running_loop().time()
