"""What is not shown so that nobody can be told from the others: groups of fewer than K answers."""

from __future__ import annotations

from collections.abc import Sequence

#: A group is shown from so many answers on.
K = 5


def suppressed(counts: Sequence[int]) -> list[bool]:
    """Which parts of a whole are not shown. Where one alone is too small, the next smallest goes with it: otherwise the
    whole less the others would tell it. Empty parts hide nothing."""
    hidden = [0 < count < K for count in counts]
    others = [place for place, count in enumerate(counts) if count and not hidden[place]]
    if sum(count for count, gone in zip(counts, hidden, strict=True) if gone) in range(1, K) and others:
        hidden[min(others, key=lambda place: counts[place])] = True
    return hidden
