"""Every connector of ours has the suite of each of its kinds."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.plugin.checking import KINDS, kinds_of
from gateway.plugin.host import Host
from gateway.testing.suites import (
    AlertChannelContract,
    DestinationContract,
    EnricherContract,
    FlagProviderContract,
    PullSourceContract,
    WebhookSourceContract,
)
from gateway.testing.suites.base import ConnectorContract
from tests.connectors.surroundings import OURS

SUITES: dict[str, type[ConnectorContract]] = {
    "destination": DestinationContract,
    "webhook": WebhookSourceContract,
    "pull": PullSourceContract,
    "enricher": EnricherContract,
    "flags": FlagProviderContract,
    "alerts": AlertChannelContract,
}


def derived(suite: type[ConnectorContract]) -> Iterator[type[ConnectorContract]]:
    for one in suite.__subclasses__():
        yield one
        yield from derived(one)


@pytest.fixture(scope="module")
def applied() -> set[tuple[str, str]]:
    """The names of connectors that pytest runs a suite for, with the kind."""
    for file in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"tests.connectors.{file.stem}")
    return {
        (one.connector.manifest.name, kind)
        for kind, suite in SUITES.items()
        for one in derived(suite)
        if one.__name__.startswith("Test") and hasattr(one, "connector")
    }


def test_there_is_a_suite_for_every_kind() -> None:
    assert SUITES.keys() == KINDS.keys()


@pytest.mark.parametrize("plugin", OURS)
def test_its_connectors_are_under_a_suite_of_each_of_their_kinds(plugin: str, applied: set[tuple[str, str]]) -> None:
    host = Host.load([plugin], strict=True)
    kinds = {(name, kind) for name, one in host.connectors.items() for kind in kinds_of(one)}
    assert kinds, "it has no connectors"
    assert not kinds - applied, "without a suite"
