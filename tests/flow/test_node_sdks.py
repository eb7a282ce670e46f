"""The published Node SDKs of Segment and RudderStack, unchanged, against a gateway on a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import Unavailable
from gateway.model.event import Event, EventType, Receipt
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery, Intake
from tests.flow.projects import PEERS, needs_node
from tests.flow.served import Served, serve

pytestmark = needs_node

#: The script that runs an SDK, and the name that the SDK gives itself.
SDKS = {"segment_node": "@segment/analytics-node", "rudder_node": "analytics-node"}
PACKAGES = {"segment_node": "npm:@segment/analytics-node", "rudder_node": "npm:@rudderstack/rudder-sdk-node"}
CALLS = ["identify", "track", "page", "screen", "group", "alias", "track"]


def sdks(*columns: str) -> pytest.MarkDecorator:
    """Both SDKs, and the cells of the matrix that a test proves for them."""
    return pytest.mark.parametrize(
        "script",
        [
            pytest.param(script, marks=pytest.mark.matrix("SDK", package, *columns))
            for script, package in PACKAGES.items()
        ],
    )


@pytest.fixture(scope="module")
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri) as one:
        yield one


async def run(served: Served, script: str, source: str) -> list[Event]:
    """What is stored of a source after a script has ended without an error."""
    key = await served.gateway.keyring.create_write_key("main", source)
    process = await asyncio.create_subprocess_exec(
        "node",
        str(PEERS / f"{script}.mjs"),
        f"http://127.0.0.1:{served.port}",
        key,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, printed.decode()
    stored = await served.gateway.events.page(Scope.system("main"), limit=1_000)
    return sorted((event for event in stored if event.source == source), key=lambda event: event.seq)


def check(events: list[Event], library: str) -> None:
    """Each call of the scripts once, with what it said."""
    assert [event.type for event in events] == [EventType(kind) for kind in CALLS]
    identify, added, page, screen, group, alias, odd = events
    assert (identify.user_id, identify.anonymous_id, identify.traits["plan"]) == ("ada", "anon-1", "pro")
    assert (added.name, added.properties) == ("Product Added", {"price": 39.5})
    assert (page.name, page.properties["url"]) == ("Home", "https://shop.example/")
    assert (screen.name, screen.properties["items"]) == ("Cart", 2)
    assert (group.group_id, group.traits["size"]) == ("team-7", 4)
    assert (alias.previous_id, alias.user_id) == ("anon-2", "ada")
    assert (odd.name, odd.properties) == ("Ünïcode ✓", {"a.b": 1, "$odd": '"'})
    assert (odd.user_id, odd.anonymous_id) == (None, "anon-3")
    for event in events:
        assert event.client["platform"] == "server"
        assert event.client["library"] == library
        assert event.client["libraryVersion"][0].isdigit()
        assert "ip" not in event.client
        assert event.message_id


@sdks("identify", "track", "page", "screen", "group", "alias")
async def test_every_call_arrives_once(served: Served, script: str) -> None:
    check(await run(served, script, script), SDKS[script])


@sdks("retry")
async def test_a_refusal_for_now_makes_them_come_again_and_nothing_is_lost(
    served: Served, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest, refused = Intake.ingest, list[int]()

    async def sometimes(self: Intake, delivery: Delivery) -> Receipt:
        if len(refused) < 2:
            refused.append(len(delivery.messages))
            raise Unavailable("The gateway has as much to do as it can take.")
        return await ingest(self, delivery)

    monkeypatch.setattr(Intake, "ingest", sometimes)
    check(await run(served, script, f"{script}.again"), SDKS[script])
    assert len(refused) == 2
