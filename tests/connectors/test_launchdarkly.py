"""LaunchDarkly's own SDK in process: from files, from its TestData, and live against a stand-in of its service."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import hmac
import json
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from gateway_launchdarkly import register_connectors
from gateway_launchdarkly.connector import LaunchDarkly, LaunchDarklyConfig
from ldclient.integrations.test_data import TestData
from pydantic import ValidationError

from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery
from gateway.plugin import Denied, FlagReason, RawRequest, Secret, Verified
from gateway.store.database import Database
from tests.api.gateway_api import WORKSPACE, Gateway, load_shop
from tests.connectors.surroundings import all_of, next_change, one, opened, person, surroundings
from tests.pace import PATIENCE

KEY = "sdk-canary-of-launchdarkly"


def flag(key: str, variations: list[Any], *, version: int = 1, on: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "version": version,
        "on": on,
        "variations": variations,
        "offVariation": 0,
        "fallthrough": {"variation": 0},
        "salt": "salt",
        "targets": [],
        "rules": [],
        "prerequisites": [],
        **more,
    }


def clause(attribute: str, value: Any) -> dict[str, Any]:
    return {"attribute": attribute, "op": "in", "values": [value], "negate": False}


FLAGS: dict[str, Any] = {
    "banner": flag(
        "banner",
        [False, True],
        rules=[{"id": "r1", "variation": 1, "clauses": [clause("journey.checkout.stage", "payment")]}],
        targets=[{"variation": 1, "values": ["ann"]}],
    ),
    "theme": flag("theme", ["light", "dark"], on=False),
    "limit": flag("limit", [3, 30]),
    "layout": flag("layout", [{"columns": 2}]),
    "needs": flag("needs", [False, True], prerequisites=[{"key": "banner", "variation": 1}]),
}


def write(file: Path, flags: dict[str, Any]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({"flags": flags}))
    fresh.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    write(path, FLAGS)
    return path


def from_file(file: Path, **more: Any) -> LaunchDarkly:
    return LaunchDarkly(LaunchDarklyConfig(files=[file], poll_seconds=0.1, **more), surroundings())


@pytest.fixture
async def files(file: Path) -> AsyncIterator[LaunchDarkly]:
    async with opened(from_file(file)) as provider:
        yield provider


def test_the_plugin_registers_its_connector() -> None:
    assert list(register_connectors()) == [LaunchDarkly]


async def test_flags_of_files_with_their_reasons(files: LaunchDarkly) -> None:
    found = await one(files, "banner", person(journey__checkout__stage="payment"))
    assert (found.value, found.variant, found.reason) == (True, "1", FlagReason.TARGETING_MATCH)
    assert found.message == "A rule is meant for this user: number 1."
    assert found.metadata == {"ruleId": "r1"}
    found = await one(files, "banner", person("h" * 32, userId="ann"))
    assert (found.value, found.message) == (True, "The user is a target by itself.")
    found = await one(files, "needs", person())
    assert (found.value, found.reason) == (False, FlagReason.DISABLED)
    assert found.message == "A flag it depends on is not as it must be: banner."
    assert (await one(files, "nothing", person())).error == "FLAG_NOT_FOUND"
    everything = await all_of(files, person())
    assert {key: one.value for key, one in everything.items()} == {
        "banner": False,
        "layout": {"columns": 2},
        "limit": 3,
        "needs": False,
        "theme": "light",
    }
    assert everything["theme"].reason is FlagReason.DISABLED
    assert everything["limit"].reason is FlagReason.DEFAULT
    assert everything["limit"] == await one(files, "limit", person())
    assert (await files.check()).ok


async def test_a_change_of_a_file_is_told_once_it_counts(files: LaunchDarkly, file: Path) -> None:
    changes = files.changes()
    write(file, {**FLAGS, "limit": flag("limit", [4], version=2)})
    assert "limit" in await next_change(changes)
    assert (await one(files, "limit", person())).value == 4


async def test_contexts_are_keyed_as_configured(file: Path) -> None:
    known, always = from_file(file), from_file(file, user_key="targetingKey")
    ann = person("h" * 32, userId="ann", anonymous=False, traits__plan="pro", plan="pro", empty=None, kind="x", key="y")
    assert (known.subject(ann).key, always.subject(ann).key) == ("ann", "h" * 32)
    assert known.subject(person("h" * 32, anonymous=True)).anonymous
    made = known.subject(ann)
    assert (made.get("traits.plan"), made.get("plan"), made.get("empty"), made.kind) == ("pro", "pro", None, "user")


class OfTestData(LaunchDarkly):
    """With the SDK's TestData for a source."""

    data: TestData

    def _source(self) -> Callable[..., Any]:
        source: Callable[..., Any] = self.data
        return source


async def test_the_sdks_test_data() -> None:
    data = TestData.data_source()
    data.update(data.flag("banner").variation_for_user("ann", True).fallthrough_variation(False))
    provider = OfTestData(LaunchDarklyConfig(sdk_key=Secret("env:K", {"K": KEY})), surroundings())
    provider.data = data
    async with opened(provider):
        assert (await one(provider, "banner", person(userId="ann"))).value is True
        assert (await one(provider, "banner", person(userId="bob"))).value is False
        data.update(data.flag("banner").fallthrough_variation(True))  # which TestData tells no listener
        assert (await one(provider, "banner", person(userId="bob"))).value is True


# -- live -----------------------------------------------------------------------------------------------------------


class StandIn(ThreadingHTTPServer):
    """LaunchDarkly's four addresses as the SDK uses them: /all (events), /sdk/latest-all, /bulk, /diagnostic."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.flags = dict(FLAGS)
        self.streams: list[Queue[str | None]] = []
        self.events: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.bulk = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def patch(self, changed: dict[str, Any]) -> None:
        self.flags[changed["key"]] = changed
        for stream in self.streams:
            stream.put(f"event: patch\ndata: {json.dumps({'path': '/flags/' + changed['key'], 'data': changed})}\n\n")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StandIn

    def do_GET(self) -> None:
        self._note()
        if self.headers["Authorization"] != KEY:
            self.send_error(401)
            return
        everything = {"flags": self.server.flags, "segments": {}}
        if self.path == "/all":
            stream: Queue[str | None] = Queue()
            stream.put(f"event: put\ndata: {json.dumps({'path': '/', 'data': everything})}\n\n")
            self.server.streams.append(stream)
            self._start("text/event-stream", **{"Transfer-Encoding": "chunked"})
            while (message := stream.get()) is not None:
                self.wfile.write(f"{len(message):x}\r\n{message}\r\n".encode())
            self.wfile.write(b"0\r\n\r\n")
        else:
            body = json.dumps(everything).encode()
            self._start("application/json", **{"Content-Length": str(len(body))})
            self.wfile.write(body)

    def do_POST(self) -> None:
        self._note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/bulk":
            self.server.events += json.loads(body)
            self.server.bulk.set()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _note(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization", "")))

    def _start(self, kind: str, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[StandIn]:
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="asyncio_stand_in")
    thread.start()
    yield server
    for stream in server.streams:
        stream.put(None)
    server.shutdown()
    server.server_close()
    thread.join()


def live(service: StandIn, key: str = KEY, **more: Any) -> LaunchDarkly:
    url = service.url
    config = LaunchDarklyConfig(
        sdk_key=Secret("env:K", {"K": key}), base_uri=url, stream_uri=url, events_uri=url, **more
    )
    return LaunchDarkly(config, surroundings())


@pytest.fixture
def _sockets_of_the_sdk() -> Iterator[None]:
    """The SDK leaves the sockets of its streams to the garbage collector."""
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


@pytest.mark.usefixtures("_sockets_of_the_sdk")
async def test_live_by_the_stream(service: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(live(service)) as provider:
        assert (await one(provider, "limit", person())).value == 3
        assert (await provider.check()).ok
        changes = provider.changes()
        service.patch(flag("limit", [5], version=2))
        assert await next_change(changes) == {"limit"}
        assert (await one(provider, "limit", person())).value == 5
    assert {asked[1] for asked in service.asked} == {"/all"}
    assert KEY not in caplog.text


async def test_live_by_polls(service: StandIn) -> None:
    async with opened(live(service, stream=False)) as provider:
        assert (await one(provider, "limit", person())).value == 3
    assert {asked[1] for asked in service.asked} == {"/sdk/latest-all"}


async def test_events_tell_launchdarkly_who_got_what_and_no_attribute(service: StandIn) -> None:
    async with opened(live(service, send_events=True, stream=False)) as provider:
        await one(provider, "banner", person("h" * 32, userId="ann", email="ann@shop.example", traits__plan="pro"))
    assert await asyncio.to_thread(service.bulk.wait, PATIENCE)
    text = json.dumps(service.events)
    assert {event["kind"] for event in service.events} == {"index", "summary"}
    assert "shop.example" not in text
    (index,) = [event for event in service.events if event["kind"] == "index"]
    assert index["context"]["key"] == "ann"
    assert "email" in index["context"]["_meta"]["redactedAttributes"]
    assert ("POST", "/diagnostic", KEY) in service.asked


@pytest.mark.usefixtures("_sockets_of_the_sdk")
async def test_without_flags_every_question_is_answered_with_an_error(service: StandIn) -> None:
    provider = live(service, key="wrong", start_seconds=0.5)
    async with opened(provider):
        found = await one(provider, "limit", person())
        assert (found.value, found.error) == (None, "PROVIDER_NOT_READY")
        with pytest.raises(RuntimeError):
            await provider.evaluate(None, person())
        health = await provider.check()
        assert not health.ok
        assert "SDK key" in health.hint


# -- webhook --------------------------------------------------------------------------------------------------------

ENTRY = {
    "_id": "5f1e0e1c2b3a",
    "date": 1_795_255_200_000,
    "kind": "flag",
    "accesses": [{"action": "updateOn", "resource": "proj/shop:env/production:flag/banner;beta"}],
    "member": {"email": "boss@shop.example", "_id": "m1"},
    "titleVerb": "turned on the flag",
    "currentVersion": {"_version": 7},
}
SECRET, BEFORE = "canary of today", "canary of yesterday"


def webhook() -> LaunchDarkly:
    environ = {"K": KEY, "S": SECRET, "B": BEFORE}
    config = LaunchDarklyConfig(
        sdk_key=Secret("env:K", environ),
        webhook_secret=Secret("env:S", environ),
        webhook_secret_before=Secret("env:B", environ),
    )
    return LaunchDarkly(config, surroundings())


def signed(entry: object, secret: str = SECRET, **headers: str) -> RawRequest:
    body = json.dumps(entry).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return RawRequest("POST", "https://gateway/v1/hooks/flags", {"x-ld-signature": signature, **headers}, body)


def test_a_signature_over_the_body_is_verified() -> None:
    connector = webhook()
    assert connector.verify(signed(ENTRY)) == Verified()
    assert connector.verify(signed(ENTRY, BEFORE)) == Verified()
    good = signed(ENTRY)
    flipped = RawRequest(good.method, good.url, good.headers, good.body.replace(b"turned", b"turnes"))
    for wrong in (
        flipped,
        signed(ENTRY, "another"),
        RawRequest("POST", "https://gateway/", {}, good.body),
        signed(ENTRY, **{"x-ld-signature": "é"}),
    ):
        assert isinstance(connector.verify(wrong), Denied)
    without = LaunchDarkly(LaunchDarklyConfig(sdk_key=Secret("env:K")), surroundings())
    assert isinstance(without.verify(good), Denied)


def test_a_changed_flag_becomes_an_event_without_who_changed_it() -> None:
    (message,) = webhook().parse(signed(ENTRY))
    assert message == {
        "type": "track",
        "event": "Flag Changed",
        "messageId": "launchdarkly-5f1e0e1c2b3a",
        "anonymousId": "launchdarkly",
        "timestamp": 1_795_255_200_000,
        "properties": {
            "project": "shop",
            "environment": "production",
            "key": "banner",
            "action": "updateOn",
            "version": 7,
        },
    }
    assert list(webhook().parse(signed({**ENTRY, "kind": "member"}))) == []
    wrongs: list[object] = [[], {"kind": "flag"}, "text"]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="no entry"):
            list(webhook().parse(signed(wrong)))


async def test_the_event_of_a_changed_flag_is_stored_once(database: Database) -> None:
    gateway = Gateway(database, load_shop())
    await gateway.prepare()
    for _ in range(2):
        receipt = await gateway.intake.ingest(Delivery(WORKSPACE, "flags", list(webhook().parse(signed(ENTRY)))))
        assert not receipt.problems
    (event,) = await gateway.events.page(Scope.system(WORKSPACE), limit=10)
    assert (event.name, event.at, event.properties["key"]) == ("Flag Changed", 1_795_255_200_000, "banner")


def test_either_a_key_or_files_are_needed(file: Path) -> None:
    with pytest.raises(ValidationError, match="either `sdk_key` or `files`"):
        LaunchDarklyConfig()
    with pytest.raises(ValidationError, match="either `sdk_key` or `files`"):
        LaunchDarklyConfig(sdk_key=Secret("env:K"), files=[file])
