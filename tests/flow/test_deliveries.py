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


async def test_a_span_of_the_log_needs_its_bounds(operator: RunningGateway) -> None:
    done = await asyncio.to_thread(operator.command, "deliveries", "replay", "--log", check=False)
    assert done.returncode == 2
    assert "--log needs --destination" in done.stderr
