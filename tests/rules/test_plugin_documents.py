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


def unnamed_settings(root: Path) -> list[str]:
    """Fields of configurations that their plugin's README does not name."""
    found = []
    for path in sorted(root.glob("plugins/*/gateway_*/*.py")):
        readme = path.parents[1] / "README.md"
        text = readme.read_text() if readme.is_file() else ""
        fields = re.findall(r"^    (\w+): .*= Field\(|^    (\w+): .* = Field\(", path.read_text(), flags=re.MULTILINE)
        found += [f"{path.parent.name}: {one or other}" for one, other in fields if f"`{one or other}`" not in text]
    return found


def test_every_public_name_and_hook_is_documented() -> None:
    assert undocumented((ROOT / "plugins/README.md").read_text()) == []


def test_every_plugin_is_documented_with_its_settings() -> None:
    assert undocumented_plugins(ROOT) == []
    assert unnamed_settings(ROOT) == []


@pytest.mark.parametrize("name", ["Destination", "retry_after", "FaultServer", "register_graphql"])
def test_a_name_that_is_left_out_is_found(name: str) -> None:
    text = (ROOT / "plugins/README.md").read_text()
    assert name in undocumented(re.sub(rf"\b{name}\b", "something", text))


def test_a_plugin_without_a_readme_and_a_setting_are_found(tmp_path: Path) -> None:
    package = tmp_path / "plugins/acme/gateway_acme"
    package.mkdir(parents=True)
    (tmp_path / "plugins/README.md").write_text("nothing")
    (package / "connector.py").write_text("class Settings(Config):\n    url: str = Field(description='x')\n")
    assert undocumented_plugins(tmp_path) == ["acme"]
    assert unnamed_settings(tmp_path) == ["gateway_acme: url"]
