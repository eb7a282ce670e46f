"""Variants: the different sequences of names, and how much of everything the most frequent ones cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.insights.kernels.events import Events, Ints, Longs, Unit, distinct, sequences, whole
from gateway.insights.kernels.paths import collapsed
from gateway.insights.kernels.statistics import Share, Spread


@dataclass(frozen=True, slots=True)
class Variant:
    """One sequence of codes: how many have exactly it, which share that is, what it covers together with those before
    it, and how long it takes from its first event to its last (ms)."""

    codes: tuple[int, ...]
    count: int
    share: Share
    coverage: float
    duration: Spread


@dataclass(frozen=True, slots=True)
class Variants:
    """The most frequent of `distinct` variants of `total` sequences; ties in the order in which they first occur.
    `number` is the variant of each sequence by its place among all of them, `user` whose sequence it is."""

    total: int
    distinct: int
    shown: tuple[Variant, ...]
    number: Longs
    user: Ints

    def people(self, variant: int) -> Longs:
        """The users who have a variant (its place, from 0), each once."""
        return distinct(self.user[self.number == variant])


def variants(events: Events, unit: Unit = Unit.SESSION, *, collapse: bool = False, most: int = 25) -> Variants:
    """The variants of the events that have a name. Compared whole, not by a hash: no two are ever taken for one."""
    found = collapsed(sequences(events.take(events.code >= 0), unit), collapse)
    starts = found.starts
    ends = np.append(starts[1:], len(found.events))[: len(starts)]
    codes = found.events.code
    seen: dict[bytes, int] = {}
    first: list[tuple[int, int]] = []
    number = np.empty(len(starts), np.int64)
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        key = codes[start:end].tobytes()
        variant = seen.setdefault(key, len(seen))
        if variant == len(first):
            first.append((start, end))
        number[place] = variant
    counts = np.bincount(number, minlength=len(first))
    ranked = np.argsort(-counts, kind="stable")
    place_of = np.empty(len(ranked), np.int64)
    place_of[ranked] = np.arange(len(ranked))
    number = place_of[number]
    lasted = (found.events.at[ends - 1] - found.events.at[starts])[np.argsort(number, kind="stable")]
    parts = np.split(lasted, np.cumsum(counts[ranked])[:most])
    shown, covered = [], 0
    for place, variant in enumerate(ranked[:most].tolist()):
        start, end = first[variant]
        count = int(counts[variant])
        covered += count
        share = Share.of(count, len(starts))
        spread = Spread.of(parts[place])
        shown.append(Variant(tuple(whole(codes[start:end])), count, share, covered / len(starts), spread))
    return Variants(len(starts), len(first), tuple(shown), number, found.events.user[starts])
