"""What the rules look at: the project's files, as text and as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = (".ci", "gateway", "plugins", "schema", "tests")
GENERATED = {"__pycache__", "node_modules", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def files(root: Path, *folders: str) -> Iterator[Path]:
    """Every file below the folders that no tool made, in a stable order."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and GENERATED.isdisjoint(path.relative_to(root).parts):
                yield path


def modules(root: Path, *folders: str) -> Iterator[Path]:
    return (path for path in files(root, *folders) if path.suffix == ".py")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted origin of everything imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def plant(root: Path, name: str, text: str = "") -> Path:
    """Write a file that breaks a rule, or should not."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
