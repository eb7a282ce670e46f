"""KPIs by functions of plugins: each user's events, as such a function sees them, and what it makes of them.

The functions themselves are a stranger's code: they are called by whoever runs plugins (`PluginFunctions`), in threads
of their own, and never in those that answer other questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from gateway.contract.functions import PluginFunction
from gateway.errors import PluginFailure
from gateway.insights.kernels.events import Events, Floats, Longs, changes
from gateway.insights.kpis.estimates import Kind, Sample
from gateway.insights.kpis.samples import Seen


@dataclass(frozen=True, slots=True)
class Histories:
    """The events of a range, or of a part of it, by user: those of `user[i]` are the rows `edges[i]` to `edges[i + 1]`
    of `at` (ms, rising) and `value`. `part`: each user's value of the breakdown, -1 without one; None where there is no
    breakdown. No column can be written to."""

    user: Longs
    edges: Longs
    at: Longs
    value: Floats
    part: Longs | None = None

    def __post_init__(self) -> None:
        for column in (self.user, self.edges, self.at, self.value):
            column.flags.writeable = False  # a function gets views of what is remembered

    def __len__(self) -> int:
        return len(self.user)


class PluginFunctions(Protocol):
    """Runs functions of plugins."""

    def kind(self, function: PluginFunction) -> Kind:
        """What is made of the users' numbers; MEAN of a function that is not there."""

    async def trouble(self, function: PluginFunction) -> PluginFailure | None:
        """Why it cannot be called at all: it is not there, or its model refuses the parameters."""

    async def numbers(self, function: PluginFunction, histories: Sequence[Histories]) -> list[Floats]:
        """Of each of the histories one number per user, NaN of those who are not counted. Raises PluginError."""

    async def close(self) -> None:
        """Let the threads go."""


class NoFunctions:
    """Where no plugin has functions."""

    def kind(self, function: PluginFunction) -> Kind:
        """As `PluginFunctions` says."""
        return Kind.MEAN

    async def trouble(self, function: PluginFunction) -> PluginFailure | None:
        """As `PluginFunctions` says."""
        return not_there(function, ())

    async def numbers(self, function: PluginFunction, histories: Sequence[Histories]) -> list[Floats]:
        """As `PluginFunctions` says."""
        raise AssertionError("a function that is not there is not called")

    async def close(self) -> None:
        """As `PluginFunctions` says."""


def not_there(function: PluginFunction, known: Sequence[str]) -> PluginFailure:
    """That no plugin in use has the function, and which there are."""
    there = f"There are: {', '.join(sorted(known))}." if known else "No plugin in use has any."
    return PluginFailure(
        plugin=function.name.rpartition(".")[0],
        version="",
        operation=f"KPI function {function.name}",
        category="config",
        message=f"No plugin in use has the function {function.name!r}.",
        fix=f"Enable the plugin that has it (`journey-gateway plugins` lists them), or mend the KPI. {there}",
    )


def histories(function: PluginFunction, seen: Seen, bounds: Sequence[int]) -> list[Histories]:
    """The events by user for each part between two bounds (ms, rising)."""
    codes = sorted({code for some in seen.gathered.codes for code in some})
    row = np.flatnonzero(seen.events.having(codes))
    value = np.ones(len(row))
    if function.property is not None:
        value = seen.gathered.numbers[function.property][row]
        row, value = row[~np.isnan(value)], value[~np.isnan(value)]
    events = seen.events.take(row)
    return [_between(events, value, span) for span in pairwise(bounds)]


def _between(events: Events, value: Floats, span: tuple[int, int]) -> Histories:
    inside = np.flatnonzero((events.at >= span[0]) & (events.at < span[1]))
    user = events.user[inside].astype(np.int64)
    first = np.flatnonzero(changes(user)) if len(user) else np.zeros(0, np.int64)
    edges = np.append(first, len(user)).astype(np.int64)
    part = None
    if events.breakdown is not None:
        # Of a user's first event that has one.
        breakdown = events.breakdown[inside].astype(np.int64)
        having = np.flatnonzero(breakdown >= 0)
        having = having[changes(user[having])] if len(having) else having
        part = np.full(len(first), -1, np.int64)
        part[np.searchsorted(user[first], user[having])] = breakdown[having]
    return Histories(user[first], edges, events.at[inside].astype(np.int64), value[inside].astype(np.float64), part)


def observations(some: Histories, numbers: Floats, kind: Kind) -> Sample:
    """What is seen once every user has a number; those with NaN are not in it."""
    counted = ~np.isnan(numbers)
    part = None if some.part is None else some.part[counted]
    found = Sample.of(some.user[counted], numbers[counted], part)
    return Sample(found.user, found.value, found.open, found.part, kind=kind)
