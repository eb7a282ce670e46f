"""What the page's files may not say. Each rule returns one line per breach; beside it stands the proof that it can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateway.console.pages import STATIC

MODULE_LINES = 250

# The name of a vocabulary, which nothing ever loads.
NAMESPACES = ("http://www.w3.org/2000/svg",)
ADDRESS = re.compile(r"""\b(?:https?|wss?|ftp):|["'(=]\s*//[\w.]""", re.IGNORECASE)
# Ways for data to become markup, code or style.
UNSAFE = re.compile(
    r"\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function\b|srcdoc|javascript:"
    r"|set(?:Timeout|Interval)\(\s*[\"'`]|cssText"
    r"|\bstyle:(?! \"(?:currency|percent|unit|short)\")|setAttribute\(\s*[\"']style"
)
# Kept beyond the tab: nothing but the theme.
KEPT = re.compile(r"localStorage|indexedDB|document\.cookie|caches\.|serviceWorker")


def texts(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Name, line number and line of every file."""
    for path in sorted(folder.iterdir()):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield path.name, number, line


def outside_addresses(folder: Path) -> list[str]:
    found = []
    for name, number, line in texts(folder):
        for namespace in NAMESPACES:
            line = line.replace(f'"{namespace}"', "")
        if ADDRESS.search(line):
            found.append(f"{name}:{number}")
    return found


def unsafe_code(folder: Path) -> list[str]:
    return [f"{name}:{number}" for name, number, line in texts(folder) if name.endswith(".js") and UNSAFE.search(line)]


def kept(folder: Path) -> list[str]:
    return [f"{name}:{number}" for name, number, line in texts(folder) if KEPT.search(line)]


def long_modules(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("*.js") if path.read_text().count("\n") > MODULE_LINES]


class _Inline(HTMLParser):
    """Collects scripts and styles that stand in the page itself, which its policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        self._script = tag == "script"
        if tag == "style" or "style" in names or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += sorted(name for name in names if name.startswith("on"))

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.found.append("script text")


def inline(text: str) -> list[str]:
    parser = _Inline()
    parser.feed(text)
    return parser.found


def too_faint(css: str, pairs: tuple[tuple[str, str], ...]) -> list[str]:
    """Pairs of colours with less than 4.5:1 between them in the light or the dark theme (WCAG 2.2, 1.4.3)."""
    colours = {
        name: (light, dark)
        for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", css)
    }
    found = []
    for text, ground in pairs:
        for theme in (0, 1):
            darker, lighter = sorted((_luminance(colours[text][theme]), _luminance(colours[ground][theme])))
            if (lighter + 0.05) / (darker + 0.05) < 4.5:
                found.append(f"{text} on {ground}, {('light', 'dark')[theme]}")
    return found


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


#: Every colour a text has, on every colour it stands on.
PAIRS = (
    *((text, ground) for text in ("ink", "muted") for ground in ("ground", "surface", "sunken", "accent-soft")),
    ("ink", "you-soft"),
    ("accent", "surface"),
    ("accent", "accent-soft"),
    ("accent-ink", "accent"),
    ("you", "you-soft"),
    ("bad", "bad-soft"),
    *((mark, "surface") for mark in ("good", "you", "bad")),
    *(("ink", f"heat-{shade}") for shade in range(1, 6)),
)


def test_no_file_names_an_outside_address() -> None:
    assert outside_addresses(STATIC) == []


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    assert inline((STATIC / "index.html").read_text(encoding="utf-8")) == []


def test_data_never_becomes_markup_code_or_style() -> None:
    assert unsafe_code(STATIC) == []


def test_nothing_but_the_theme_outlives_the_tab() -> None:
    assert {line.split(":")[0] for line in kept(STATIC)} == {"theme.js"}
    keys = re.findall(r'^const KEY = "([^"]+)";$', (STATIC / "theme.js").read_text(), re.MULTILINE)
    stored = re.findall(r"localStorage\.\w+\((\w+)", (STATIC / "theme.js").read_text())
    assert (keys, set(stored)) == (["theme"], {"KEY"})


def test_modules_are_small() -> None:
    assert long_modules(STATIC) == []


def test_texts_can_be_read_in_both_themes() -> None:
    assert too_faint((STATIC / "theme.css").read_text(), PAIRS) == []


@pytest.mark.parametrize(
    "line",
    [
        'import x from "https:' + '//cdn.example/x.js";',
        "@import url(//fonts.example/a.css);",
        'new WebSocket("ws:' + '//example/")',
        '<img src="//example/a.png">',
    ],
)
def test_an_outside_address_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.js").write_text(f'// a comment\nconst SVG = "{NAMESPACES[0]}";\n{line}\n')
    assert outside_addresses(tmp_path) == ["a.js:3"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<script>start()</script>", ["script", "script text"]),
        ('<script src="/a.js">start()</script>', ["script text"]),
        ("<style>a{}</style>", ["style"]),
        ('<p style="color: red">', ["p"]),
        ('<button onclick="start()">', ["onclick"]),
        ('<script type="module" src="/a.js"></script>', []),
    ],
)
def test_inline_scripts_and_styles_are_found(text: str, found: list[str]) -> None:
    assert inline(text) == found


@pytest.mark.parametrize(
    "line",
    [
        "row.innerHTML = name;",
        "row.insertAdjacentHTML('beforeend', name)",
        "eval(name)",
        'setTimeout("go()", 1)',
        'h("p", { style: "color: red" })',
    ],
)
def test_unsafe_code_is_found(tmp_path: Path, line: str) -> None:
    fine = 'row.textContent = name;\nrow.style.left = at(1);\nIntl.NumberFormat(undefined, { style: "currency" });\n'
    (tmp_path / "a.js").write_text(f"{fine}{line}\n")
    assert unsafe_code(tmp_path) == ["a.js:4"]


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("sessionStorage.setItem(KEY, token);\nlocalStorage.setItem(KEY, token);\n")
    assert kept(tmp_path) == ["a.js:2"]


def test_a_long_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "long.js").write_text("go();\n" * 251)
    (tmp_path / "fits.js").write_text("go();\n" * 250)
    assert long_modules(tmp_path) == ["long.js"]


def test_a_faint_text_is_found() -> None:
    css = "--a: light-dark(#777777, #ffffff);\n--b: light-dark(#ffffff, #000000);\n"
    assert too_faint(css, (("a", "b"),)) == ["a on b, light"]
