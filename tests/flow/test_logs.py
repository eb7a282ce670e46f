"""Log lines: one JSON object each, bounded, and without anything that users sent, whatever goes wrong."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportError
from gql.transport.websockets import WebsocketsTransport

from gateway.app.building import open_gateway
from gateway.app.logs import LONGEST_LINE, MOST_ALIKE, set_up_logs
from gateway.errors import SetupError, StoreError
from gateway.settings import Settings
from tests.flow.doors import basic
from tests.flow.served import Served, serve

#: What must not be in any line, by where it is planted.
PLANTED = {
    "email": "ada.lovelace@example.org",
    "event": "Planted Event Name",
    "property": "planted-property-value",
    "trait": "planted-trait-value",
    "message_id": "planted-message-id",
    "anonymous": "planted-anonymous-id",
    "address": "203.0.113.77",
    "agent": "PlantedAgent/9.9",
    "cookie": "planted-cookie",
    "wrong_key": "wk_planted_wrong_key",
    "query_key": "wk_planted_query_key",
    "wrong_token": "planted.wrong.token",
    "path": "planted-path-part",
    "query_string": "planted-query-string",
    "text": "plantedFieldName",
    "variable": "planted-variable-value",
    "operation": "PlantedOperation",
    "fault": "planted words of a fault",
    "store": "planted words of the store",
    "task": "planted words of a task",
    "password": "planted-mongo-password",
    "socket": "planted-socket-token",
}


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """Everything that is logged, as JSON."""
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    stream = io.StringIO()
    set_up_logs("json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


async def test_nothing_that_users_sent_is_logged(
    mongo_uri: str, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(mongo_uri, slow_seconds=0.000_001, metrics_token="planted-metrics-token") as served:
        await send_everything(served)
        with monkeypatch.context() as patch:
            await through_faults(served, patch)
        await served.gateway.watch.look()
        served.gateway.watch._sum_up()
    credentials = mongo_uri.replace("mongodb://", f"mongodb://ada:{PLANTED['password']}@")
    with pytest.raises(SetupError) as refused:
        await open_gateway(Settings(mongo_uri=credentials, database="x")).__aenter__()
    text = output.getvalue() + str(refused.value)
    found = [name for name, secret in PLANTED.items() if secret.lower() in text.lower()]
    assert found == []
    for secret in (served.write_key, served.api_key, "planted-metrics-token", mongo_uri):
        assert secret not in text
    told = {line["message"] for line in lines(output)}
    assert {"a request failed", "a request was slow", "requests were refused in the last minute"} <= told
    for line in lines(output):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert {"level", "room", "message"} <= line.keys()
    faults = [line for line in lines(output) if line["message"] == "a request failed"]
    assert all(line["request_id"] for line in faults)
    assert any(line.get("request_id") == "fault-1" for line in faults)


async def send_everything(served: Served) -> None:
    message = {
        "userId": PLANTED["email"],
        "anonymousId": PLANTED["anonymous"],
        "event": PLANTED["event"],
        "messageId": PLANTED["message_id"],
        "properties": {"note": PLANTED["property"]},
        "traits": {"note": PLANTED["trait"]},
    }
    headers = {
        "user-agent": PLANTED["agent"],
        "x-forwarded-for": PLANTED["address"],
        "cookie": f"session={PLANTED['cookie']}",
    }
    post, key = served.client.post, served.write | headers
    await post("/v1/track", json=message, headers=key)
    await post("/v1/track", json=message | {"event": PLANTED["event"] + "2"}, headers=key)
    await post("/v1/identify", json=message, headers=key)
    await post("/v1/batch", json={"batch": [message | {"type": PLANTED["property"]}]}, headers=key)
    await post("/v1/track", json=message, headers=headers | {"authorization": basic(PLANTED["wrong_key"])})
    await post(f"/v1/track?writeKey={PLANTED['query_key']}", json=message, headers=headers)
    await post("/v1/track", content=json.dumps(message)[:-9].encode(), headers=key)
    await post("/v1/track", json=message, headers=key | {"content-encoding": "gzip"})
    await served.client.get(f"/{PLANTED['path']}?x={PLANTED['query_string']}", headers=headers)
    query = f"query {PLANTED['operation']} {{ {PLANTED['text']} }}"
    body = {"query": query, "variables": {"x": PLANTED["variable"]}, "operationName": PLANTED["operation"]}
    await post("/graphql", json=body, headers=served.api)
    await post("/graphql", json=body, headers={"authorization": f"Bearer {PLANTED['wrong_token']}"})
    transport = WebsocketsTransport(
        url=f"ws://127.0.0.1:{served.port}/graphql?token={PLANTED['socket']}",
        init_payload={"authorization": f"Bearer {PLANTED['socket']}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    with pytest.raises(TransportError):
        async with Client(transport=transport) as session:
            await anext(session.subscribe(gql("subscription { eventStored { cursor } }")))


async def through_faults(served: Served, patch: pytest.MonkeyPatch) -> None:
    def broken(error: Exception) -> Any:
        async def fail(*_: object, **__: object) -> None:
            raise error

        return fail

    key = served.write | {"x-request-id": "fault-1"}
    patch.setattr(type(served.gateway.events), "insert", broken(RuntimeError(PLANTED["fault"])))
    assert (await served.client.post("/v1/track", json={"userId": "u", "event": "x"}, headers=key)).status_code == 503
    patch.setattr(type(served.gateway.keyring), "write_key", broken(RuntimeError(PLANTED["fault"])))
    assert (await served.client.post("/v1/track", json={}, headers=key)).status_code == 500
    patch.setattr(type(served.gateway.keyring), "write_key", broken(StoreError("a refusal", number=5)))
    assert (await served.client.post("/v1/track", json={}, headers=key)).status_code == 503
    patch.setattr(type(served.gateway.users), "page", broken(ValueError(PLANTED["store"])), raising=False)
    await served.graphql("{ users { nodes { id } } }")
    task = asyncio.create_task(broken(ValueError(PLANTED["task"]))())
    await asyncio.wait([task])
    context = {"message": "Task exception was never retrieved", "exception": task.exception(), "future": task}
    asyncio.get_running_loop().default_exception_handler(context)
    logging.getLogger("uvicorn.error").warning("%s is not valid", PLANTED["task"])
    logging.getLogger("somebody.else").error(f"cannot read {PLANTED['task']}")


def test_lines_are_bounded_and_hold_no_control_characters(output: io.StringIO) -> None:
    log = logging.getLogger("gateway.test")
    log.warning("one\r\nline \x1b[31m\u2028", extra={"long": "x" * 100_000, "many": {str(n): n for n in range(999)}})
    (line,) = output.getvalue().splitlines()
    assert len(line) <= LONGEST_LINE
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == "one\r\nline \x1b[31m\u2028"


def test_text_lines_hold_no_control_characters_either() -> None:
    from gateway.app.logs import TextLines

    record = logging.makeLogRecord(
        {"name": "gateway.x", "levelno": 30, "levelname": "WARNING", "msg": "a\n\x1b[0m", "k": "\r"}
    )
    text = TextLines().format(record)
    assert text.isprintable()
    assert text.endswith(r"warning x: a\n\x1b[0m k='\r'")


def test_a_flood_of_the_same_words_is_cut_and_counted(output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.app import logs

    log = logging.getLogger("gateway.test")
    for number in range(MOST_ALIKE + 30):
        log.warning("the same words", extra={"number": number})
    log.warning("other words")
    assert len(lines(output)) == MOST_ALIKE + 1
    monkeypatch.setattr(logs, "ALIKE_SECONDS", 0.0)
    log.warning("the same words")
    assert lines(output)[-1]["left_out"] == 30


def test_calls_of_plugins_are_all_told(output: io.StringIO) -> None:
    for _ in range(MOST_ALIKE + 30):
        logging.getLogger("gateway.plugins.calls").info("plugin called", extra={"operation": "send"})
    assert len(lines(output)) == MOST_ALIKE + 30


def test_a_terminal_gets_text_and_a_pipe_json() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    handlers = logging.getLogger().handlers[:]
    try:
        assert set_up_logs("auto", Terminal()) == "text"
        assert set_up_logs("auto", io.StringIO()) == "json"
        assert set_up_logs("json", Terminal()) == "json"
    finally:
        logging.getLogger().handlers[:] = handlers
