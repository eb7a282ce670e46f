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
    starts, codes = found.starts, found.events.code
    ends = np.append(starts[1:], len(codes))[: len(starts)]
    _, first, number = np.unique(_identified(codes, starts, ends), return_index=True, return_inverse=True)
    counts = np.bincount(number, minlength=len(first))
    ranked = np.lexsort((first, -counts))
    place_of = np.empty(len(ranked), np.int64)
    place_of[ranked] = np.arange(len(ranked))
    number = place_of[number]
    lasted = (found.events.at[ends - 1] - found.events.at[starts])[np.argsort(number, kind="stable")]
    parts = np.split(lasted, np.cumsum(counts[ranked])[:most])
    shown, covered = [], 0
    for place, variant in enumerate(ranked[:most].tolist()):
        example, count = first[variant], int(counts[variant])
        covered += count
        share, sequence = Share.of(count, len(starts)), codes[starts[example] : ends[example]]
        spread = Spread.of(parts[place])
        shown.append(Variant(tuple(whole(sequence)), count, share, covered / len(starts), spread))
    return Variants(len(starts), len(first), tuple(shown), number, found.events.user[starts])


_TOGETHER = 64  # so many codes are compared for all sequences at once, what is left of longer ones one by one


def _identified(codes: Ints, starts: Longs, ends: Longs) -> Longs:
    """A number for each sequence, the same for the same codes: from that of what it begins with and the next code."""
    identity = np.zeros(len(starts), np.int64)
    alive, so_far = np.arange(len(starts)), np.zeros(len(starts), np.int64)
    width, used = int(codes.max(initial=0)) + 1, 0
    for length in range(_TOGETHER + 1):
        over = starts[alive] + length == ends[alive]
        identity[alive[over]] = used + so_far[over]
        used += int(so_far.max(initial=0)) + 1
        alive, so_far = alive[~over], so_far[~over]
        if not len(alive):
            return identity
        if length < _TOGETHER:
            so_far = _numbered(so_far * width + codes[starts[alive] + length])
    seen: dict[tuple[int, bytes], int] = {}
    rest = zip(alive.tolist(), so_far.tolist(), starts[alive].tolist(), ends[alive].tolist(), strict=True)
    for sequence, begin, start, end in rest:
        key = begin, codes[start + _TOGETHER : end].tobytes()
        identity[sequence] = used + seen.setdefault(key, len(seen))
    return identity


def _numbered(keys: Longs) -> Longs:
    """From 0 on, the same for the same key; without sorting where the keys are dense."""
    highest = int(keys.max())
    if highest > 8 * len(keys):
        numbers: Longs = np.unique(keys, return_inverse=True)[1]
        return numbers
    there = np.zeros(highest + 1, np.bool_)
    there[keys] = True
    return (np.cumsum(there) - 1)[keys]
