"""Directly-follows: how often which name comes right after which, and how long that takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.insights.kernels.events import Events, Ints, Longs, Unit, changes, distinct, sequences
from gateway.insights.kernels.statistics import grouped_percentile


@dataclass(frozen=True, slots=True)
class Edge:
    """`count` times `to` came right after `source`, in `sequences` sequences; the times between them in ms."""

    source: int
    to: int
    count: int
    sequences: int
    mean: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Follows:
    """Every edge, most frequent first, ties by code; how many sequences begin and end with which code.
    `source`, `to`, `user`: one row per pair of neighbours."""

    edges: tuple[Edge, ...]
    begins: tuple[tuple[int, int], ...]
    ends: tuple[tuple[int, int], ...]
    source: Ints
    to: Ints
    user: Ints

    def people(self, source: int, to: int) -> Longs:
        """The users with this edge, each once."""
        return distinct(self.user[(self.source == source) & (self.to == to)])


def follows(events: Events, unit: Unit = Unit.SESSION) -> Follows:
    """Of the events that have a name: with names for a part of them the others are skipped, not broken at."""
    found = sequences(events.take(events.code >= 0), unit)
    code, at = found.events.code.astype(np.int64), found.events.at
    first = changes(found.unit)
    last = np.append(first[1:], True)[: len(first)]
    pair = np.flatnonzero(~first)
    source, to, took, whose = code[pair - 1], code[pair], at[pair] - at[pair - 1], found.unit[pair]
    edges: list[Edge] = []
    if len(pair):
        key = source * (int(code.max()) + 1) + to
        order = np.lexsort((took, key))
        edges = _edges(key[order], source[order], to[order], took[order], key, whose)
    counted = (_counted(code[first]), _counted(code[last]))
    return Follows(tuple(edges), *counted, source, to, found.events.user[pair])


def _edges(key: Longs, source: Longs, to: Longs, took: Longs, unsorted: Longs, whose: Ints) -> list[Edge]:
    """One edge per key; `took` ascends within each. `unsorted` and `whose` are parallel, in the order of events."""
    starts = np.flatnonzero(changes(key))
    counts = np.diff(np.append(starts, len(key)))
    by_sequence = np.lexsort((whose, unsorted))
    once = changes(unsorted[by_sequence], whose[by_sequence])
    number = np.cumsum(changes(unsorted[by_sequence])) - 1
    in_sequences = np.bincount(number[once])
    means = np.add.reduceat(took, starts) / counts
    half, most = (grouped_percentile(took, starts, counts, share) for share in (0.5, 0.9))
    columns = (source[starts], to[starts], counts, in_sequences)
    rows = zip(*(column.tolist() for column in columns), means.tolist(), half, most, strict=True)
    return sorted((Edge(*row) for row in rows), key=lambda edge: (-edge.count, edge.source, edge.to))


def _counted(codes: Longs) -> tuple[tuple[int, int], ...]:
    values, counts = np.unique(codes, return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))
