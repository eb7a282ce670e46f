"""OpenFeature providers as flag providers: flagd's own evaluation of a file, and any other by its name."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from gateway_openfeature import register_connectors
from gateway_openfeature.connector import OpenFeature, OpenFeatureConfig, nested
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider
from pydantic import ValidationError

from gateway.plugin import FlagReason, PluginError
from tests.connectors.surroundings import all_of, next_change, one, opened, person, surroundings, until

FLAGS: dict[str, Any] = {
    "banner": {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{"==": [{"var": "journey.checkout.stage"}, "payment"]}, "on", None]},
        "metadata": {"team": "shop"},
    },
    "theme": {"state": "ENABLED", "variants": {"dark": "dark", "light": "light"}, "defaultVariant": "light"},
    "limit": {"state": "ENABLED", "variants": {"few": 3, "many": 30}, "defaultVariant": "many"},
    "rate": {"state": "ENABLED", "variants": {"low": 0.25}, "defaultVariant": "low"},
    "layout": {"state": "ENABLED", "variants": {"a": {"columns": [1, 2]}}, "defaultVariant": "a"},
    "off": {"state": "DISABLED", "variants": {"on": True}, "defaultVariant": "on"},
    "half": {
        "state": "ENABLED",
        "variants": {"a": "a", "b": "b"},
        "defaultVariant": "a",
        "targeting": {"fractional": [["a", 50], ["b", 50]]},
    },
}


def write(file: Path, flags: dict[str, Any] | str) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(flags if isinstance(flags, str) else json.dumps({"flags": flags}))
    fresh.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    write(path, FLAGS)
    return path


@pytest.fixture
async def flagd(file: Path) -> AsyncIterator[OpenFeature]:
    config = OpenFeatureConfig(file=file, poll_seconds=0.1)
    async with opened(OpenFeature(config, surroundings())) as provider:
        yield provider


def test_the_plugin_registers_its_connector() -> None:
    assert list(register_connectors()) == [OpenFeature]


async def test_a_file_of_flagd_is_evaluated_by_flagd(flagd: OpenFeature) -> None:
    found = await one(flagd, "banner", person(journey__checkout__stage="payment"))
    assert (found.value, found.variant, found.reason) == (True, "on", FlagReason.TARGETING_MATCH)
    assert found.metadata == {"team": "shop"}
    found = await one(flagd, "banner", person(journey__checkout__stage="address"))
    assert (found.value, found.variant, found.reason) == (False, "off", FlagReason.DEFAULT)
    everything = await all_of(flagd, person())
    assert {key: one.value for key, one in everything.items()} == {
        "banner": False,
        "half": everything["half"].value,
        "layout": {"columns": [1, 2]},
        "limit": 30,
        "off": None,
        "rate": 0.25,
        "theme": "light",
    }
    assert everything["theme"].reason is FlagReason.STATIC
    assert everything["off"].reason is FlagReason.DISABLED
    assert (await flagd.check()).ok


async def test_shares_go_by_the_targeting_key(flagd: OpenFeature) -> None:
    values = [(await one(flagd, "half", person(f"u{number}"))).value for number in range(200)]
    assert 60 < values.count("b") < 140
    again = [(await one(flagd, "half", person(f"u{number}"))).value for number in range(200)]
    assert values == again


async def test_results_come_in_the_order_of_the_keys_and_unknown_ones_say_so(flagd: OpenFeature) -> None:
    found = await flagd.evaluate(["theme", "nothing", "limit"], person())
    assert [one.key for one in found] == ["theme", "nothing", "limit"]
    assert [one.error for one in found] == [None, "FLAG_NOT_FOUND", None]


async def test_a_change_of_the_file_is_told_once_it_counts(flagd: OpenFeature, file: Path) -> None:
    changes = flagd.changes()
    assert await next_change(changes) == frozenset(FLAGS)  # all are new at the start
    theme = {**FLAGS["theme"], "defaultVariant": "dark"}
    kept = {key: one for key, one in FLAGS.items() if key != "limit"}
    write(file, {**kept, "theme": theme, "new": FLAGS["off"]})
    assert await next_change(changes) == {"theme", "limit", "new"}
    assert (await one(flagd, "theme", person())).value == "dark"
    assert "limit" not in await all_of(flagd, person())
    # A value of another type is found again.
    write(file, {"theme": FLAGS["limit"]})
    await next_change(changes)
    assert (await one(flagd, "theme", person())).value == 30


async def test_a_file_that_breaks_leaves_the_last_good_flags(flagd: OpenFeature, file: Path) -> None:
    async def broken() -> bool:
        return not (await flagd.check()).ok

    async def whole() -> bool:
        return (await flagd.check()).ok

    write(file, "{")
    await until(broken)
    assert (await flagd.check()).hint
    assert (await one(flagd, "theme", person())).value == "light"
    write(file, FLAGS)
    await until(whole)


async def test_a_file_that_holds_no_flags_refuses_to_open(file: Path) -> None:
    threads = {one for one in threading.enumerate() if not one.name.startswith("asyncio_")}
    write(file, "[]")
    provider = OpenFeature(OpenFeatureConfig(file=file, poll_seconds=0.1), surroundings())
    with pytest.raises(PluginError, match="cannot be used") as refused:
        await provider.open()
    assert (refused.value.failure.category, refused.value.failure.operation) == ("config", "open")
    assert {one for one in threading.enumerate() if not one.name.startswith("asyncio_")} <= threads


class Memory(InMemoryProvider):
    """OpenFeature's own provider, as somebody's module would make it."""

    def __init__(self, **values: Any) -> None:
        super().__init__({key: InMemoryFlag("v", {"v": value}) for key, value in values.items()})


@pytest.mark.parametrize("blocking", [False, True])
async def test_any_provider_by_its_dotted_path(blocking: bool) -> None:
    config = OpenFeatureConfig(
        provider=f"{__name__}:Memory",
        arguments={"flag": True, "count": 7, "text": "x"},
        flags={"flag": "boolean", "count": "integer"},
        blocking=blocking,
    )
    async with opened(OpenFeature(config, surroundings())) as provider:
        everything = await all_of(provider, person())
        # OpenFeature cannot list flags: those that the configuration names.
        assert {key: one.value for key, one in everything.items()} == {"count": 7, "flag": True}
        assert (await one(provider, "flag", person())).variant == "v"
        assert (await one(provider, "nothing", person())).error == "FLAG_NOT_FOUND"


class Half:
    """Has some of a provider's methods."""

    def initialize(self, context: object) -> None:
        raise AssertionError

    def resolve_boolean_details(self, *given: object) -> object:
        raise AssertionError


class Fussy(InMemoryProvider):
    def __init__(self, url: str) -> None:
        raise RuntimeError(f"no answer from {url}")


def nothing(**given: object) -> str:
    return "a provider, honestly"


def in_memory(flags: dict[str, Any]) -> InMemoryProvider:
    return InMemoryProvider({key: InMemoryFlag("v", {"v": value}) for key, value in flags.items()})


@pytest.mark.parametrize(
    ("provider", "arguments", "said", "fix"),
    [
        ("nowhere.at.all:Provider", {}, "there is no module nowhere", "Install the provider's package"),
        (f"{__name__}:Halve", {}, "has no Halve", f"Did you mean {__name__}:Half?"),
        (f"{__name__}:Half", {}, "lacks attach, detach, shutdown, get_metadata, resolve_string", "AbstractProvider"),
        ("collections:Counter", {}, "is a class that is no OpenFeature provider", "AbstractProvider"),
        (f"{__name__}:nothing", {}, "gave a str, which is no OpenFeature provider", "let nothing return"),
        (f"{__name__}:FLAGS", {}, "is a dict, and no class", "Name the class"),
        (f"{__name__}:Fussy", {"uri": "sesame"}, "does not take these `arguments`", "Correct the keys"),
        (f"{__name__}:Fussy", {"url": "sesame"}, "raised RuntimeError as it was made", "Correct its `arguments`"),
    ],
)
async def test_what_is_no_provider_is_told_before_it_is_asked_for_flags(
    provider: str, arguments: dict[str, Any], said: str, fix: str
) -> None:
    made = OpenFeature(OpenFeatureConfig(provider=provider, arguments=arguments), surroundings())
    with pytest.raises(PluginError, match="cannot be used") as refused:
        await made.open()
    failure = refused.value.failure
    assert failure.message.startswith(f"the provider {provider} cannot be used (")
    assert said in failure.message
    assert fix in failure.fix
    assert "sesame" not in failure.message + failure.fix


async def test_a_function_may_make_the_provider() -> None:
    config = OpenFeatureConfig(provider=f"{__name__}:in_memory", arguments={"flags": {"limit": 3}})
    async with opened(OpenFeature(config, surroundings())) as provider:
        assert (await one(provider, "limit", person())).value == 3


def test_one_of_file_and_provider_is_needed(file: Path) -> None:
    with pytest.raises(ValidationError, match="either `file` or `provider`"):
        OpenFeatureConfig()
    with pytest.raises(ValidationError, match="either `file` or `provider`"):
        OpenFeatureConfig(file=file, provider="a:B")


def test_names_with_dots_become_objects() -> None:
    given = {"a.b.c": 1, "a.b": 2, "a.d": 3, "e": None, "f": {"g": 1}, "f.h": 2, "i": 4}
    assert nested(given) == {"a": {"b": {"c": 1}, "d": 3}, "f": {"h": 2}, "i": 4}
