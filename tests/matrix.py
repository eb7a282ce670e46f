"""The README's matrix: what was run with what. `make matrix` runs the marked tests and prints it.

A test says which cells it proves: `@pytest.mark.matrix(table, row, *columns)`. As a row `pypi:NAME` and `npm:NAME`
stand for the package with the version that is installed. A cell shows what its tests came to: yes, **no**, or – where
they were skipped or there are none.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Generator, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

_PEERS = Path(__file__).parent / "peers" / "node_modules"
_CELLS = pytest.StashKey[dict[tuple[str, str, str], str]]()
_ITEMS = pytest.StashKey[dict[str, list[tuple[str, str, str]]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="run the tests that prove the matrix, and print it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[_CELLS] = {}
    config.stash[_ITEMS] = {item.nodeid: list(_cells(item)) for item in items}
    if config.getoption("--matrix"):
        items[:] = [item for item in items if config.stash[_ITEMS][item.nodeid]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or not report.passed:
        shown = {"passed": "yes", "failed": "**no**", "skipped": "–"}[report.outcome]
        found = item.config.stash[_CELLS]
        for cell in item.config.stash[_ITEMS].get(item.nodeid, ()):
            found[cell] = max(found.get(cell, ""), shown, key=("", "yes", "–", "**no**").index)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--matrix"):
        return
    for line in tables(config.stash[_CELLS]):
        terminalreporter.write_line(line)


def tables(cells: dict[tuple[str, str, str], str]) -> Iterator[str]:
    """Markdown: one table each, rows and columns in the order in which they came up."""
    for table in dict.fromkeys(table for table, _, _ in cells):
        rows = dict.fromkeys(row for found, row, _ in cells if found == table)
        columns = dict.fromkeys(column for found, _, column in cells if found == table)
        yield ""
        yield f"| {table} | {' | '.join(columns)} |"
        yield "|---" * (len(columns) + 1) + "|"
        for row in rows:
            yield f"| {row} | {' | '.join(cells.get((table, row, column), '–') for column in columns)} |"


def _cells(item: pytest.Item) -> Iterator[tuple[str, str, str]]:
    for mark in item.iter_markers("matrix"):
        table, row, *columns = mark.args
        for column in columns:
            yield table, _named(row), column


def _named(row: str) -> str:
    kind, _, name = row.partition(":")
    if kind == "pypi":
        return f"{name} {version(name)} (PyPI)"
    if kind == "npm":
        manifest = _PEERS / name / "package.json"
        return f"{name} {json.loads(manifest.read_text())['version']} (npm)" if manifest.exists() else name
    if row == "here":
        return f"{platform.system()} {platform.machine()}, Python {sys.version_info.major}.{sys.version_info.minor}"
    return row
