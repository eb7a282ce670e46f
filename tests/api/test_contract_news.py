"""The contract watched: versions as they come to count, data requests step by step, both resumed without gaps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.api.served import ServedSchema
from gateway.api.view import graphql_app
from gateway.pipeline.contracts import Contracts, InForce, load_version
from gateway.quality.digest import DAY_MS
from gateway.settings import Settings
from gateway.store.contracts import Versions
from tests.api.gateway_api import NOW, Gateway
from tests.api.test_together import AGREE_TO, REQUEST_DATA, WISH, backend, done, ux
from tests.api.test_watching import silent
from tests.unit.contract.orders import orders

__all__ = ["backend", "ux"]

VERSIONS = """subscription($after: Cursor) { contractChanged(after: $after) {
  cursor gap { missed } version { number appliedBy changes { kind key } } } }"""
REQUESTS = """subscription($after: Cursor) { dataRequestChanged(after: $after) {
  cursor request { key status verifiedBy } } }"""


async def following(gateway: Gateway) -> None:
    """As a gateway is that looks for newer versions."""
    stored = await Versions(gateway.database).newest()
    assert stored is not None
    contracts = Contracts(Versions(gateway.database), InForce(stored.number, load_version(stored)))
    gateway.services = replace(gateway.services, contracts=contracts)
    gateway.app = graphql_app(ServedSchema(contracts), gateway.services, Settings(env="production"))


async def applied(gateway: Gateway, *names: str) -> int:
    """The contract of orders with more event types."""
    more = {f"events/{name}.1.yaml": f"name: {name.title()}\nmajor: 1\nbrief: One.\nowners: [web]\n" for name in names}
    version, new = await Versions(gateway.database).apply(orders(**more), now=NOW, by="contract apply")
    assert new
    await gateway.services.contracts.look()
    return version.number


async def test_versions_are_followed_and_resumed(gateway: Gateway, ux: str) -> None:
    await following(gateway)
    async with gateway.socket(ux) as socket:
        await socket.subscribe(VERSIONS)
        first = (await socket.news())["contractChanged"]
        assert (first["version"], first["gap"]) == (None, None)
        number = await applied(gateway, "one")
        told = (await socket.news())["contractChanged"]
        assert told["version"]["number"] == number
        assert told["version"]["changes"] == [{"kind": "event", "key": "one.1"}]
    numbers = [number, await applied(gateway, "one", "two"), await applied(gateway, "three")]
    async with gateway.socket(ux) as socket:
        await socket.subscribe(VERSIONS, after=told["cursor"])
        assert (await socket.news())["contractChanged"]["version"] is None
        rest = [(await socket.news())["contractChanged"]["version"]["number"] for _ in numbers[1:]]
        assert rest == numbers[1:]
        assert await silent(socket)


@pytest.mark.parametrize("cursor", ["", "contract.", "contract.-1", "contract.1x", "contract.\u0661", "nonsense"])
async def test_a_cursor_of_something_else_is_refused(gateway: Gateway, ux: str, cursor: str) -> None:
    async with gateway.socket(ux) as socket:
        await socket.subscribe(VERSIONS, after=cursor)
        (error,) = (await socket.receive())["payload"]["errors"]
        assert error["extensions"]["code"] == "INVALID_INPUT"


async def test_each_step_of_a_request_is_told(gateway: Gateway, ux: str, backend: str) -> None:
    async with gateway.socket(ux) as socket:
        await socket.subscribe(REQUESTS)
        cursor = (await socket.news())["dataRequestChanged"]["cursor"]
        key = (await done(gateway, REQUEST_DATA, ux, **WISH))["request"]["key"]
        await gateway.derive()
        told = (await socket.news())["dataRequestChanged"]
        assert told["request"] == {"key": key, "status": "REQUESTED", "verifiedBy": None}
        gateway.clock.advance(DAY_MS)
        await done(gateway, AGREE_TO, backend, key=key)
        await gateway.derive()
        assert (await socket.news())["dataRequestChanged"]["request"]["status"] == "AGREED"
    async with gateway.socket(ux) as socket:
        await socket.subscribe(REQUESTS, after=cursor)
        assert [(await socket.news())["dataRequestChanged"]["request"]["key"] for _ in range(2)] == [key] * 2
    async with gateway.socket(ux) as socket:
        await socket.subscribe(REQUESTS, after=told["cursor"])
        assert (await socket.news())["dataRequestChanged"]["request"]["status"] == "AGREED"


async def test_who_may_not_read_the_contract_does_not_watch_it(gateway: Gateway) -> None:
    for name in ("contractChanged", "dataRequestChanged"):
        async with gateway.socket(await gateway.api_key("journeys:read")) as socket:
            await socket.subscribe(f"subscription {{ {name} {{ cursor }} }}")
            (error,) = (await socket.receive())["payload"]
            assert error["extensions"]["code"] == "FORBIDDEN"
