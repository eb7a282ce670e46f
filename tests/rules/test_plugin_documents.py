"""plugins/README.md names everything that plugin authors may use, and every plugin has a README that is linked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gateway.testing
from gateway import plugin
from gateway.plugin import PROJECT, hooks
from tests.rules.sources import ROOT


def undocumented(text: str) -> list[str]:
    """Public names and hooks that are not in the text as code."""
    code = " ".join(re.findall(r"`[^`\n]+`|```.*?```", text, flags=re.DOTALL))
    words = set(re.findall(r"\w+", code))
    specified = [name for name, spec in vars(hooks).items() if getattr(spec, f"{PROJECT}_spec", None) is not None]
    names = [*plugin.__all__, *gateway.testing.__all__]
    return [name for name in names if name not in words] + [name for name in specified if f"### `{name}`" not in text]


def undocumented_plugins(root: Path) -> list[str]:
    text = (root / "plugins/README.md").read_text()
    names = sorted(path.parent.name for path in root.glob("plugins/*/gateway_*"))
    return [
        name
        for name in names
        if not (root / f"plugins/{name}/README.md").is_file() or f"({name}/README.md)" not in text
    ]


def test_every_public_name_and_hook_is_documented() -> None:
    assert undocumented((ROOT / "plugins/README.md").read_text()) == []


def test_every_plugin_is_documented() -> None:
    assert undocumented_plugins(ROOT) == []


@pytest.mark.parametrize("name", ["Destination", "retry_after", "FaultServer", "register_graphql"])
def test_a_name_that_is_left_out_is_found(name: str) -> None:
    text = (ROOT / "plugins/README.md").read_text()
    assert name in undocumented(re.sub(rf"\b{name}\b", "something", text))


def test_a_plugin_without_a_readme_is_found(tmp_path: Path) -> None:
    package = tmp_path / "plugins/acme/gateway_acme"
    package.mkdir(parents=True)
    (tmp_path / "plugins/README.md").write_text("nothing")
    assert undocumented_plugins(tmp_path) == ["acme"]
