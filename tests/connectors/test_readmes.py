"""What every first-party connector's README has to say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.plugin import Connector
from gateway.plugin.host import Host

PLUGINS = Path(__file__).parents[2] / "plugins"
NAMES = ["hubspot", "jira", "mixpanel", "slack", "typeform", "zigpoll"]


def connectors(name: str) -> tuple[type[Connector[Any]], ...]:
    return Host().register(importlib.import_module(f"gateway_{name}"), name).connectors


def unsaid(readme: str, kinds: tuple[type[Connector[Any]], ...]) -> list[str]:
    """What a README leaves out: settings, sections, the test level."""
    settings = {f"`{key}`" for kind in kinds for key in kind.Config.model_fields}
    level = {f"## Test level: {kind.manifest.test_level}" for kind in kinds}
    return sorted(
        one for one in {*settings, *level, "## Settings", "## Field mapping", "## Limits"} if one not in readme
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_names_all_settings_and_the_level_its_connectors_claim(name: str) -> None:
    kinds = connectors(name)
    assert kinds
    assert unsaid((PLUGINS / name / "README.md").read_text(), kinds) == []
    assert {kind.manifest.docs for kind in kinds} == {f"plugins/{name}/README.md"}


def test_what_is_left_out_is_found() -> None:
    readme = (PLUGINS / "zigpoll/README.md").read_text()
    assert unsaid(re.sub("`page_size`|level: D", "", readme), connectors("zigpoll")) == [
        "## Test level: D",
        "`page_size`",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_no_vendors_library_is_needed_to_run(name: str) -> None:
    """They are what the tests compare with."""
    vendors = re.compile(r"^\s*(?:from|import) (?:hubspot|jira|mixpanel|slack_sdk|requests|httpx)\b", re.MULTILINE)
    for path in (PLUGINS / name / f"gateway_{name}").glob("*.py"):
        assert vendors.search(path.read_text()) is None, path
