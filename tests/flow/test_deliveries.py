"""`deliveries list` and `deliveries replay`, as an operator calls them."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.store.database import connect
from gateway.store.deliveries import Deliveries, Standing
from gateway.store.lane_items import Changes, DeadLetter, LaneItem
from tests.flow.conftest import RunningGateway

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
