"""The published Node SDKs of Mixpanel, PostHog and Amplitude, unchanged, against a gateway on a socket."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from gateway.errors import Unavailable
from gateway.model.event import Event, Receipt
from gateway.pipeline.intake import Delivery, Intake
from tests.flow.people import person, stored
from tests.flow.projects import PEERS, needs_node
from tests.flow.served import Served, serve

pytestmark = needs_node

THEN = int(datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
async def served(mongo_uri: str) -> AsyncIterator[Served]:
    async with serve(mongo_uri) as one:
        yield one


async def run(served: Served, script: str, user: str, *options: str) -> list[Event]:
    """What is stored of a source after a script has ended without an error; user and source have the same name."""
    key = await served.gateway.keyring.create_write_key("main", user)
    url = f"http://127.0.0.1:{served.port}"
    process = await asyncio.create_subprocess_exec(
        *("node", str(PEERS / f"{script}.mjs"), url, key, user, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, printed.decode()
    return [event for event in await stored(served) if event.source == user]


@pytest.mark.matrix("SDK", "npm:mixpanel", "track", "identify", "group", "alias", "batch")
async def test_mixpanel(served: Served) -> None:
    events = await run(served, "mixpanel_node", "mix")
    assert {event.client["library"] for event in events if "library" in event.client} == {"mixpanel-node"}
    for name in ("mix-false", "mix-true"):
        of_it = [event for event in events if name in f"{event.user_id} {event.anonymous_id}"]
        assert Counter(event.type for event in of_it) == {"track": 9, "identify": 9, "alias": 1, "group": 1}
        assert [event.at for event in of_it if event.name in ("Signed Up", "Imported", "Product Viewed")] == [THEN] * 5
        batched = [event.properties for event in of_it if event.name == "Batched"]
        assert sorted(one["number"] for one in batched) == [1, 2, 3]
        assert {one["text"] for one in batched} == {"þ~~?>>>"}
        user = await person(served, name, 19)
        assert user.identities == {name, f"{name}-device", f"{name}-phone"}
        assert user.traits == {"email": "mix@shop.example", "plan": "pro", "old": None}


@pytest.mark.matrix("SDK", "npm:posthog-node", "track", "page", "identify", "group", "alias", "flags")
async def test_posthog(served: Served) -> None:
    sent = await run(served, "posthog_node", "hog")
    assert len(sent) == 11
    events = {event.name: event for event in sent}
    assert events["Product List Viewed"].anonymous_id == "hog-device"
    assert events["Product Added"].properties["a.b"] == 1
    assert events["Signed Up"].at == THEN
    assert events["Signed Up"].message_id == "018e377c-0d90-7000-8000-000000000001"
    assert (events["Lamps"].type, events["Lamps"].context["page"]["url"]) == ("page", "https://x/")
    assert (events["alias"].previous_id, events["alias"].user_id) == ("hog-phone", "hog")
    assert {event.client["library"] for event in sent} == {"posthog-node"}
    user = await person(served, "hog", 10)
    assert user.identities == {"hog", "hog-device", "hog-phone"}
    assert user.traits == {"plan": "pro", "first": "ad", "old": None}


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
@pytest.mark.matrix("SDK", "npm:@amplitude/analytics-node", "track", "identify", "group")
async def test_amplitude(served: Served, path: str) -> None:
    name = f"amp-{path.rpartition('/')[2]}"
    sent = await run(served, "amplitude_node", name, path)
    assert len(sent) == 8
    events = {event.name: event for event in sent}
    assert events["Product List Viewed"].anonymous_id == f"{name}-device"
    assert (events["Signed Up"].at, events["Signed Up"].message_id) == (THEN, f"{name}-1")
    logged_in = events["Logged In"].client
    assert (logged_in["library"], logged_in["platform"], logged_in["appVersion"]) == ("amplitude-node-ts", "ios", "2.1")
    user = await person(served, name, 8)
    assert user.identities == {name, f"{name}-device", f"{name}-phone"}
    assert user.traits == {"plan": "pro", "first": "ad", "old": None, "company": "acme"}


@pytest.mark.parametrize(
    ("script", "events"),
    [
        pytest.param("posthog_node", 11, marks=pytest.mark.matrix("SDK", "npm:posthog-node", "retry")),
        pytest.param("amplitude_node", 8, marks=pytest.mark.matrix("SDK", "npm:@amplitude/analytics-node", "retry")),
    ],
)
async def test_a_refusal_for_now_makes_them_come_again_and_nothing_is_lost(
    served: Served, script: str, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest, refused = Intake.ingest, list[int]()

    async def sometimes(self: Intake, delivery: Delivery) -> Receipt:
        if len(refused) < 2:
            refused.append(len(delivery.messages))
            raise Unavailable("The gateway has as much to do as it can take.")
        return await ingest(self, delivery)

    monkeypatch.setattr(Intake, "ingest", sometimes)
    assert len(await run(served, script, f"{script}-again")) == events
    assert len(refused) == 2
