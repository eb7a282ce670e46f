"""Files are read by libyaml where that is safe: the same values and lines come of it, and the same mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.contract import find_schema_root, sources

SHOP = sorted((find_schema_root() / "shop").rglob("*.yaml"))


def read_twice(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[sources.Source, sources.Source]:
    """At once, then with care."""
    quick = sources.source_of(text.encode(), "shop/one.yaml", "one")
    monkeypatch.setattr(sources, "_Quick", None)
    return quick, sources.source_of(text.encode(), "shop/one.yaml", "one")


@pytest.mark.parametrize("path", SHOP, ids=lambda path: path.stem)
def test_both_ways_say_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text()
    assert sources._composed_at_once(text) is not None
    quick, careful = read_twice(text, monkeypatch)
    assert (quick.value, quick.lines, quick.problems) == (careful.value, careful.lines, [])


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: *x\n",
        "a: [1, &y 2]\n",
        "%YAML 1.1\n---\na: yes\n",
        "a: " + "[" * 20 + "]" * 20 + "\n",
        "a:\n" + "".join(f"{'  ' * depth}b:\n" for depth in range(1, 20)),
        "- - - - - - - - - - - - - - - - - - 1\n",
        "a: " + "[" * 200_000,
        "a: {b: 1\n",
        "a: 1\na: 2\n",
        "a: !!python/none x\n",
        "a: 0x1F\nb: 0o17\nc: 017\nd: .5\ne: yes\nf: 2024-01-01\ng: ~\nh:\n",
        'a: "\\UFFFFFFFF"\n',
        "",
        "# nothing\n",
        "a: 1\n---\nb: 2\n",
    ],
)
def test_mistakes_are_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, careful = read_twice(text, monkeypatch)
    assert (quick.value, quick.lines, quick.problems) == (careful.value, careful.lines, careful.problems)
