"""Code blocks of Markdown documents, as readers would copy them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)(?: (\w+))?(?: ([\w./-]+))?\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """```` ```language mark file ````: what it is written in, which test runs it, and as which file it is saved."""

    language: str
    mark: str
    file: str
    text: str


def blocks_of(document: Path) -> list[Block]:
    """Every block that names its language, in order."""
    return [Block(*found) for found in _BLOCK.findall(document.read_text())]
