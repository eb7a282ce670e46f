"""Through the real door: a slow destination beside a quick one, and a gateway in safe mode."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.app.plugins import load_plugins
from gateway.configuration import Tables
from gateway.errors import PluginError
from gateway.settings import Settings
from gateway.store.database import Database
from tests.connectors.delivering import until
from tests.connectors.sink import Asked, Sink, Told
from tests.flow.served import Served, serve

SLOW_SECONDS = 3.0
EVENTS = 4


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "whsec_" + base64.b64encode(b"h" * 32).decode())


def hook(sink: Sink, path: str) -> dict[str, Any]:
    return {
        "use": "webhook",
        "url": f"{sink.url}/{path}",
        "secret": "env:HOOK_SECRET",
        "allow_hosts": ["127.0.0.1"],
        "journeys": False,
    }


async def begun(served: Served, *instances: str) -> None:
    """New instances begin where the feed is: nothing is sent before they have."""

    async def done() -> bool:
        found = await served.gateway.database.count("delivery_cursors", {"instance": {"$in": list(instances)}})
        return found == 16 * len(instances)

    await until(done)


async def test_a_slow_destination_leaves_the_others_latency_alone(sink: Sink, mongo_uri: str, tmp_path: Path) -> None:
    came: dict[str, list[tuple[str, float]]] = {"/slow": [], "/quick": []}

    def answer(asked: Asked) -> Told:
        if asked.method == "POST":
            if asked.path == "/slow":
                time.sleep(SLOW_SECONDS)
            came[asked.path].append((asked.json["data"]["messageId"], time.monotonic()))
        return Told()

    sink.answer = answer
    tables = Tables({name: hook(sink, name) for name in ("slow", "quick")})
    async with serve(mongo_uri, connectors=tables, data_dir=tmp_path) as served:
        await begun(served, "slow", "quick")
        for number in range(EVENTS):  # all of one user, so that the slow one needs its time for each
            assert (await served.track(f"m{number}")).status_code == 200
        await until(lambda: len(came["/quick"]) == EVENTS)
        await until(lambda: len(came["/slow"]) == EVENTS)
        counts = served.gateway.connectors.delivery.counts()
    sent = [f"m{number}" for number in range(EVENTS)]
    assert [key for key, _ in came["/quick"]] == sent
    assert [key for key, _ in came["/slow"]] == sent
    first, last = came["/slow"][0][1], came["/slow"][-1][1]
    assert last - first >= (EVENTS - 1) * SLOW_SECONDS, "it was not slow"
    assert came["/quick"][-1][1] < last - SLOW_SECONDS, "the quick one waited for the slow one"
    assert {name: found["delivered"] for name, found in counts.items()} == {"slow": EVENTS, "quick": EVENTS}


async def test_safe_mode_serves_without_plugins_and_nothing_is_lost_by_it(
    sink: Sink, mongo_uri: str, database: Database, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "connectors": Tables({"hook": hook(sink, "in")}),
        "data_dir": tmp_path,
        "database": database.name,
    }

    def posted() -> list[str]:
        return [one.json["data"]["messageId"] for one in sink.asked if one.method == "POST"]

    async with serve(mongo_uri, **settings) as before:
        await begun(before, "hook")
    async with serve(mongo_uri, load_plugins=(), **settings) as safe:
        assert (await safe.track("m1")).status_code == 200
        assert (await safe.graphql("{ plugins { name } }")).json() == {"data": {"plugins": []}}
        (place,) = (await safe.graphql("{ deliveries { destinations { name configured } } }")).json()["data"][
            "deliveries"
        ]["destinations"]
        assert place == {"name": "hook", "configured": False}
        assert (await safe.client.post("/v1/hooks/hook", content=b"{}")).status_code == 404
        status, said = await safe.ready()
        assert (status, "plugins" in said["checks"]) == (200, False)
    assert posted() == []
    async with serve(mongo_uri, **settings):
        await until(posted)
    assert posted() == ["m1"]


async def test_a_strict_start_serves_what_is_in_order_and_refuses_what_is_not(
    sink: Sink, mongo_uri: str, tmp_path: Path
) -> None:
    good = {"hook": hook(sink, "in")}
    async with serve(mongo_uri, connectors=Tables(good), strict_plugins=True, data_dir=tmp_path) as served:
        assert (await served.ready())[0] == 200
        assert list(served.gateway.connectors.instances) == ["hook"]
    wrong = {**good, "other": {**hook(sink, "in"), "ulr": "x"}}
    with pytest.raises(PluginError, match=r"other\.ulr: unknown key; did you mean url"):
        load_plugins(Settings(connectors=Tables(wrong), strict_plugins=True))
