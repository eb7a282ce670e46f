"""Patches as git takes them: whatever the files, `git apply` makes of the old ones the new ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.contract.patches import unified_diff

CASES: list[tuple[dict[str, str], dict[str, str | None]]] = [
    ({"kpis/a.yaml": "a\nb\nc\n"}, {"kpis/a.yaml": "a\nB\nc\n"}),
    ({"kpis/a.yaml": "a\nb"}, {"kpis/a.yaml": "a\nb\n"}),
    ({"kpis/a.yaml": "a\nb\n"}, {"kpis/a.yaml": "a\nb\nc"}),
    ({"kpis/a.yaml": "a"}, {"kpis/a.yaml": "b", "kpis/new.yaml": "one\r\ntwo\x0bthree\u2028four\n"}),
    ({"kpis/a.yaml": "a\n" * 30, "b.yaml": "x\n"}, {"b.yaml": None, "kpis/a.yaml": "a\n" * 15 + "ä\n" + "a\n" * 15}),
    ({"kpis/a.yaml": "--- a\n+++ b\n"}, {"kpis/a.yaml": "@@ -1 +1 @@\n"}),
]


@pytest.mark.parametrize(("before", "changed"), CASES)
def test_git_takes_it(tmp_path: Path, before: dict[str, str], changed: dict[str, str | None]) -> None:
    for path, text in before.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    patch = unified_diff(before, changed)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True, timeout=60)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=patch.encode(), check=True, timeout=60)
    after = {path: text for path, text in {**before, **changed}.items() if text is not None}
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.yaml")}
    assert {name: path.read_bytes().decode() for name, path in found.items()} == after


def test_no_difference_is_no_patch() -> None:
    assert unified_diff({"a.yaml": "a"}, {"a.yaml": "a"}) == ""
