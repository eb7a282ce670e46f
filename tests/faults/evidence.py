"""What is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tests import oracle
from tests.faults.history import History
from tests.faults.subscribers import Heard
from tests.faults.tables import Tables

#: (type, value), as in ("userId", "u1").
Identity: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Person:
    """Someone as the oracle sees them: identities and events in order, and the runs through the map."""

    identities: list[Identity]
    events: list[oracle.Event]
    runs: list[dict[str, Any]]


@dataclass(slots=True)
class Evidence:
    """What a run left. `began` and `ended` are milliseconds by this machine's clock, which no fault moves.

    `people` and `links` (why each does not hold, None: it does) are the oracle's, worked out of the stored events when
    the judgment begins.
    """

    history: History
    tables: Tables
    heard: list[Heard]
    began: int
    ended: int
    people: list[Person] = field(default_factory=list)
    links: dict[tuple[Identity, Identity], str | None] = field(default_factory=dict)
