"""Unleash's own SDK in process: from a file, and against the cases that its makers publish for every client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from gateway_unleash import register_connectors
from gateway_unleash.connector import Unleash, UnleashConfig
from pydantic import ValidationError

from gateway.plugin import FlagContext, FlagReason, PluginError, Secret
from tests.connectors.surroundings import all_of, next_change, one, opened, person, surroundings

CASES = Path(__file__).parents[3] / "shared" / "specs" / "unleash-client-specification"


def feature(name: str, *, enabled: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "release", "enabled": enabled, "strategies": [{"name": "default"}], **more}


def variant(name: str, kind: str, value: str) -> dict[str, Any]:
    return {"name": name, "weight": 1000, "payload": {"type": kind, "value": value}, "stickiness": "default"}


def constrained(attribute: str, *values: str) -> list[dict[str, Any]]:
    constraint = {"contextName": attribute, "operator": "IN", "values": list(values)}
    return [{"name": "default", "constraints": [constraint]}]


FEATURES = [
    feature("banner", strategies=constrained("journey.checkout.stage", "payment")),
    feature("for-ann", strategies=[{"name": "userWithId", "parameters": {"userIds": "ann"}}]),
    feature("off", enabled=False),
    feature("text", variants=[variant("blue", "string", "azure")]),
    feature("number", variants=[variant("many", "number", "30")]),
    feature("object", variants=[variant("wide", "json", '{"columns": 2}')]),
    feature("broken", variants=[variant("half", "json", "{")]),
    feature("plain", variants=[{"name": "only", "weight": 1000, "stickiness": "default"}]),
    feature("paying", strategies=constrained("traits.paying", "true")),
]


def write(file: Path, features: list[dict[str, Any]] | str, **more: Any) -> None:
    fresh = file.with_suffix(".new")
    document = {"version": 2, "features": features, **more}
    fresh.write_text(features if isinstance(features, str) else json.dumps(document))
    fresh.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "features.json"
    write(path, FEATURES)
    return path


@pytest.fixture
async def unleash(file: Path) -> AsyncIterator[Unleash]:
    async with opened(Unleash(UnleashConfig(file=file, refresh_seconds=1), surroundings())) as provider:
        yield provider


def test_the_plugin_registers_its_connector() -> None:
    assert list(register_connectors()) == [Unleash]


async def test_features_of_a_file(unleash: Unleash) -> None:
    found = await one(unleash, "banner", person(journey__checkout__stage="payment"))
    assert (found.value, found.variant, found.reason) == (True, None, FlagReason.TARGETING_MATCH)
    found = await one(unleash, "banner", person(journey__checkout__stage="address"))
    assert (found.value, found.reason) == (False, FlagReason.DEFAULT)
    assert (await one(unleash, "for-ann", person("h" * 32, userId="ann"))).value is True
    assert (await one(unleash, "for-ann", person("ann"))).value is True
    assert (await one(unleash, "for-ann", person("h" * 32))).value is False
    assert (await one(unleash, "paying", person(traits__paying=True))).value is True
    everything = await all_of(unleash, person())
    assert {key: (one.value, one.variant) for key, one in everything.items()} == {
        "banner": (False, None),
        "broken": (None, None),
        "for-ann": (False, None),
        "number": (30, "many"),
        "object": ({"columns": 2}, "wide"),
        "off": (False, None),
        "paying": (False, None),
        "plain": (True, "only"),
        "text": ("azure", "blue"),
    }
    assert everything["broken"].error == "PARSE_ERROR"
    assert (await one(unleash, "nothing", person())).error == "FLAG_NOT_FOUND"
    assert (await unleash.check()).ok


async def test_a_change_of_the_file_is_told(unleash: Unleash, file: Path) -> None:
    changes = unleash.changes()
    assert await next_change(changes) == {one["name"] for one in FEATURES}
    write(file, "{")  # half written: the last good features stay
    write(file, [*FEATURES[1:], feature("new")])
    assert await next_change(changes) == {"banner", "new"}
    write(file, [*FEATURES[1:], feature("new")], segments=[{"id": 1, "constraints": []}])
    assert await next_change(changes) == frozenset()  # a segment changed: any feature may have


async def test_the_context(file: Path) -> None:
    config = UnleashConfig(file=file, user_key="targetingKey")
    given = person("h", userId="ann", remoteAddress="10.0.0.1", traits__tags=["a"], traits__age=7, events=None)
    assert Unleash(config, surroundings()).subject(given) == {
        "userId": "h",
        "remoteAddress": "10.0.0.1",
        "properties": {"traits.tags": '["a"]', "traits.age": "7"},
    }


async def test_a_file_that_holds_no_features_refuses_to_open(file: Path) -> None:
    write(file, "[]")
    with pytest.raises(PluginError, match="does not start"):
        await Unleash(UnleashConfig(file=file), surroundings()).open()


async def test_without_a_server_it_opens_and_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    token = Secret("env:T", {"T": "canary:of.unleash"})
    config = UnleashConfig(url="http://127.0.0.1:9/api", token=token, request_seconds=1)
    async with opened(Unleash(config, surroundings())) as provider:
        assert (await one(provider, "banner", person())).error == "FLAG_NOT_FOUND"
        health = await provider.check()
        assert not health.ok
        assert "token" in health.hint
    assert "canary" not in caplog.text


async def test_a_file_serves_until_the_server_answers(file: Path) -> None:
    token = Secret("env:T", {"T": "t"})
    config = UnleashConfig(url="http://127.0.0.1:9/api", token=token, request_seconds=1, file=file)
    async with opened(Unleash(config, surroundings())) as provider:
        assert (await one(provider, "text", person())).value == "azure"


def test_a_source_is_needed() -> None:
    with pytest.raises(ValidationError, match="or `file`"):
        UnleashConfig()
    with pytest.raises(ValidationError, match="`url` needs `token`"):
        UnleashConfig(url="http://127.0.0.1/api")


# -- the vendor's cases ---------------------------------------------------------------------------------------------


def specifications() -> Iterator[Any]:
    if not CASES.exists():
        yield pytest.param(
            None, marks=pytest.mark.skip(reason="Unleash's client specification is not beside the project")
        )
        return
    for name in json.loads((CASES / "index.json").read_text()):
        yield pytest.param(CASES / name, id=name.removesuffix(".json"))


def read(specification: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(specification.read_text())
    return document


def context_of(case: Mapping[str, Any]) -> FlagContext:
    """A case's context as the gateway would give it."""
    given = dict(case["context"])
    properties = given.pop("properties", {})
    return FlagContext(given.pop("userId", ""), given | properties)


@pytest.mark.parametrize("specification", list(specifications()))
async def test_the_clients_specification(specification: Path, tmp_path: Path) -> None:
    document, file = read(specification), tmp_path / "features.json"
    write(file, json.dumps(document["state"]))
    async with opened(Unleash(UnleashConfig(file=file), surroundings())) as provider:
        for case in document.get("tests", ()):
            found = await one(provider, case["toggleName"], context_of(case))
            assert found.metadata.get("enabled", False) is case["expectedResult"], case["description"]
        for case in document.get("variantTests", ()):
            found = await one(provider, case["toggleName"], context_of(case))
            expected = case["expectedResult"]
            assert found.metadata.get("enabled", False) is expected["feature_enabled"], case["description"]
            assert found.variant == (expected["name"] if expected["enabled"] else None), case["description"]
            if payload := expected.get("payload"):
                value = payload["value"] if payload["type"] in ("string", "csv") else json.loads(payload["value"])
                assert found.value == value, case["description"]


@pytest.mark.skipif(not CASES.exists(), reason="Unleash's client specification is not beside the project")
def test_all_of_the_vendors_cases_are_there() -> None:
    documents = [json.loads((CASES / name).read_text()) for name in json.loads((CASES / "index.json").read_text())]
    assert sum(len(one.get("tests", ())) + len(one.get("variantTests", ())) for one in documents) == 279
