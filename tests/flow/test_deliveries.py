"""`deliveries list` and `deliveries replay`, as an operator calls them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

import pytest

from gateway.store.database import connect
from gateway.store.deliveries import Deliveries, Standing
from gateway.store.lane_items import Changes, DeadLetter, LaneItem
from gateway.testing import FaultServer, Received, Reply
from tests.connectors.delivering import until
from tests.flow.conftest import RunningGateway, free_port

AT = 1_795_255_200_000


@pytest.fixture
async def operator(gateway_environment: dict[str, str]) -> RunningGateway:
    """Commands against a database in which one destination has given something up."""
    gateway = RunningGateway(gateway_environment, 0)
    await asyncio.to_thread(gateway.command, "init")
    database = connect(gateway_environment["GATEWAY_MONGO_URI"], gateway_environment["GATEWAY_DATABASE"])
    deliveries = Deliveries(database)
    await deliveries.declare(Standing("main", "crm", "hubspot", ("event",), erases=False, fingerprint="1"))
    about = {"event": bytes(16), "name": "Order Completed", "at": AT}
    item = LaneItem("k", 1, "ann", "ann", 1, "event", about, AT, attempts=8, code="http_422", reason="no such field")
    changes = Changes(dead=[DeadLetter(item, AT, "{}")])
    await database.with_transaction(lambda session: deliveries.items.write("main", "crm", changes, session))
    await database.close()
    return gateway


async def test_an_operator_sees_what_was_given_up_and_sends_it_again(operator: RunningGateway) -> None:
    def told(*arguments: str) -> str:
        return operator.command("deliveries", *arguments).stdout

    listed = await asyncio.to_thread(told, "list")
    assert "crm              delivering, 0 behind, 0 pending, 0 waiting, 1 dead" in listed
    assert "Order Completed" in listed
    assert "no such field" in listed
    counted = json.loads(await asyncio.to_thread(told, "replay", "--code", "http_422", "--dry-run", "--json"))
    assert counted == {"matched": 1, "replayed": 0, "more": False, "dryRun": True}
    assert await asyncio.to_thread(told, "replay", "--destination", "crm") == "1 on their way\n"
    again = json.loads(await asyncio.to_thread(told, "list", "--status", "pending", "--json"))
    assert [one["what"] for one in again["deliveries"]] == ["Order Completed"]
    assert again["destinations"][0]["dead"] == 0


async def test_what_is_gone_from_the_settings_is_shown_and_forgotten(operator: RunningGateway) -> None:
    def told(*arguments: str, check: bool = True) -> str:
        done = operator.command("deliveries", *arguments, check=check)
        return done.stdout + done.stderr

    assert "is not in the settings: `deliveries forget crm`" in await asyncio.to_thread(told, "list")
    operator.environment |= {"GATEWAY_CONNECTORS__CRM__USE": "webhook"}
    assert "not in the settings" not in await asyncio.to_thread(told, "list")
    refused = await asyncio.to_thread(lambda: told("forget", "crm", "--yes", check=False))
    assert "take [connectors.crm] out first" in refused
    operator.environment |= {"GATEWAY_CONNECTORS__CRM__ENABLED": "false"}
    assert "crm is forgotten, with 1 that it had not got" in await asyncio.to_thread(told, "forget", "crm", "--yes")
    assert json.loads(await asyncio.to_thread(told, "list", "--json")) == {"destinations": [], "deliveries": []}
    assert "No destination 'crm' is known." in await asyncio.to_thread(
        lambda: told("forget", "crm", "--yes", check=False)
    )


async def test_a_span_of_the_log_needs_its_bounds(operator: RunningGateway) -> None:
    done = await asyncio.to_thread(operator.command, "deliveries", "replay", "--log", check=False)
    assert done.returncode == 2
    assert "--log needs --destination" in done.stderr


async def test_what_was_refused_is_sent_again_by_a_running_gateway(
    gateway_environment: dict[str, str], fault_server: FaultServer
) -> None:
    """From the door through a refusal to the command, and to the other side under the same key."""
    hook = {
        "USE": "webhook",
        "URL": f"{fault_server.url}/in",
        "SECRET": "env:HOOK_SECRET",
        "ALLOW_HOSTS": '["127.0.0.1"]',
        "JOURNEYS": "false",
    }
    environment = gateway_environment | {"HOOK_SECRET": "whsec_" + base64.b64encode(b"h" * 32).decode()}
    environment |= {f"GATEWAY_CONNECTORS__HOOK__{name}": value for name, value in hook.items()}
    gateway = RunningGateway(environment, free_port())
    fault_server.answer = lambda request: Reply(422)
    await asyncio.to_thread(gateway.set_up)
    try:
        await _sent_again(gateway, fault_server)
    finally:
        await asyncio.to_thread(gateway.stop)


async def _sent_again(gateway: RunningGateway, server: FaultServer) -> None:
    def listed() -> dict[str, int]:
        (place,) = json.loads(gateway.command("deliveries", "list", "--json").stdout)["destinations"]
        return {name: place[name] for name in ("dead", "pending", "behind")}

    def posts() -> list[Received]:
        return [one for one in server.requests if one.method == "POST"]

    def replayed(*arguments: str) -> Callable[[], str]:
        return lambda: gateway.command("deliveries", "replay", "--destination", "hook", *arguments).stdout

    event = {"type": "track", "event": "Paid", "userId": "ada", "messageId": "m1"}
    await asyncio.to_thread(gateway.batch, event)
    await until(posts)

    async def dead() -> bool:
        return (await asyncio.to_thread(listed))["dead"] == 1

    await until(dead)
    server.answer = lambda request: Reply()
    assert await asyncio.to_thread(replayed("--code", "http_422")) == "1 on their way\n"
    await until(lambda: len(posts()) == 2)
    refused, again = posts()
    assert again.headers["webhook-id"] == refused.headers["webhook-id"]
    assert again.json()["data"] == refused.json()["data"]

    async def done() -> bool:
        found = await asyncio.to_thread(listed)
        return (found["dead"], found["pending"]) == (0, 0)

    await until(done)
    # And the same out of the log, by time.
    span = ("--log", "--from", "2020-01-01", "--to", "2100-01-01")
    assert "1" in await asyncio.to_thread(replayed(*span, "--dry-run"))
    await asyncio.to_thread(replayed(*span))
    await until(lambda: len(posts()) == 3)
    assert posts()[2].headers["webhook-id"] == refused.headers["webhook-id"]
