"""Paths: what comes after an anchor, or before it, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from gateway.errors import InvalidInput
from gateway.insights.kernels.events import (
    Events,
    Flags,
    Ints,
    Longs,
    Sequences,
    Unit,
    changes,
    distinct,
    sequences,
    top,
)

EXIT = -1  # the sequence ended (looking back: began) here
OTHER = -2  # names beyond the most frequent ones of a column


class Direction(StrEnum):
    """Forward from the anchor, or back from it."""

    FROM = "FROM"
    TO = "TO"


@dataclass(frozen=True, slots=True, kw_only=True)
class PathQuestion:
    """`anchor` is a set of codes; none of them is the first (looking back: the last) event of each sequence. `depth`
    columns follow the anchor's. A path is one per sequence, from the anchor's first event; with `totals` one per event
    of the anchor. `collapse`: repeats of a name right after each other are one. What is more than `window_ms` away from
    the anchor is not part of the path."""

    anchor: tuple[int, ...] = ()
    direction: Direction = Direction.FROM
    depth: int = 5
    most: int = 10
    unit: Unit = Unit.USER
    totals: bool = False
    collapse: bool = True
    window_ms: int | None = None

    def __post_init__(self) -> None:
        if self.depth < 1 or self.most < 1:
            raise InvalidInput("Paths have a column after the anchor, and show a name in it.", path="depth")
        if self.totals and not self.anchor:
            raise InvalidInput("Paths are counted in total from an anchor only.", path="anchor")


@dataclass(frozen=True, slots=True)
class PathColumn:
    """`shown` is (code, paths), most frequent first; sum of `shown` + `other` + `exited` = total of the paths, where
    `exited` ended in this column or before it."""

    shown: tuple[tuple[int, int], ...]
    other: int
    exited: int


@dataclass(frozen=True, slots=True)
class PathLink:
    """So many paths go from a name in this column to one in the next; the codes may be OTHER, `to` also EXIT."""

    column: int
    source: int
    to: int
    paths: int


@dataclass(frozen=True, slots=True)
class Paths:
    """All is read from `nodes`: the code (or OTHER, EXIT) of each path in each column; `user` is whose path it is."""

    total: int
    columns: tuple[PathColumn, ...]
    links: tuple[PathLink, ...]
    nodes: Longs
    user: Ints

    def people(self, column: int, code: int, to: int | None = None) -> Longs:
        """The users whose paths have this node in this column (and that one in the next), each once."""
        found = self.nodes[:, column] == code
        if to is not None:
            found &= self.nodes[:, column + 1] == to
        return distinct(self.user[found])


def paths(events: Events, question: PathQuestion) -> Paths:
    """The paths; linear in the events and in the depth."""
    found = collapsed(sequences(events.take(events.code >= 0), question.unit), question.collapse)
    anchors = _anchors(found, question)
    nodes = _nodes(found, anchors, question)
    columns, links = [], []
    for number in range(question.depth + 1):
        column, nodes[:, number] = _column(nodes[:, number], question.most)
        columns.append(column)
    for number in range(question.depth):
        links.extend(_links(number, nodes[:, number], nodes[:, number + 1]))
    return Paths(len(nodes), tuple(columns), tuple(links), nodes, found.events.user[anchors])


def collapsed(found: Sequences, collapse: bool) -> Sequences:
    """Without repeats of a name right after each other; the first of them stays."""
    if not collapse:
        return found
    kept = changes(found.unit, found.events.code)
    return Sequences(found.events.take(kept), found.unit[kept])


def _anchors(found: Sequences, question: PathQuestion) -> Longs:
    if not question.anchor:
        last = changes(found.unit[::-1])[::-1]
        return found.starts if question.direction is Direction.FROM else np.flatnonzero(last)
    anchors = np.flatnonzero(found.events.having(question.anchor))
    return anchors if question.totals else anchors[changes(found.unit[anchors])]


def _nodes(found: Sequences, anchors: Longs, question: PathQuestion) -> Longs:
    nodes = np.full((len(anchors), question.depth + 1), EXIT)
    step = 1 if question.direction is Direction.FROM else -1
    for column in range(question.depth + 1):
        row = anchors + step * column
        there: Flags = (row >= 0) & (row < len(found.events))
        row = np.where(there, row, anchors)
        there &= found.unit[row] == found.unit[anchors]
        if question.window_ms is not None:
            there &= np.abs(found.events.at[row] - found.events.at[anchors]) <= question.window_ms
        nodes[there, column] = found.events.code[row[there]]
    return nodes


def _column(codes: Longs, most: int) -> tuple[PathColumn, Longs]:
    """The column, and its codes with the tail folded into OTHER."""
    here = codes[codes >= 0]
    counts = np.bincount(here)
    shown = top(counts, most)
    kept = np.zeros(len(counts) + 1, np.bool_)  # the last one is for EXIT
    kept[shown] = True
    kept[EXIT] = True
    folded = np.where(kept[codes], codes, OTHER)
    names = tuple((code, int(counts[code])) for code in shown)
    return PathColumn(names, int((folded == OTHER).sum()), len(codes) - len(here)), folded


def _links(column: int, source: Longs, to: Longs) -> list[PathLink]:
    going = source != EXIT
    width = int(to.max(initial=0)) - OTHER + 1
    keys, counts = np.unique((source[going] - OTHER) * width + to[going] - OTHER, return_counts=True)
    sources, targets = (keys // width + OTHER).tolist(), (keys % width + OTHER).tolist()
    links = [PathLink(column, *row) for row in zip(sources, targets, counts.tolist(), strict=True)]
    return sorted(links, key=lambda link: (-link.paths, link.source, link.to))
