"""One change of a contract, how much it may break, and what lives on what it changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.contract.lineage import Lineage, Node
from gateway.contract.loading import Contract

Kind = Literal[
    "event", "property", "map", "stage", "kpi", "survey", "segment", "alert", "rule", "term", "persona", "consent",
    "request", "example",
]  # fmt: skip

Done = Literal["added", "removed", "changed"]


class Grade(StrEnum):
    """How much a change may break, the least first."""

    SAFE = "safe"
    DANGEROUS = "dangerous"
    BREAKING = "breaking"

    @property
    def rank(self) -> int:
        return list(Grade).index(self)


SAFE, DANGEROUS, BREAKING = Grade


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `what` says it in words, `why` the reason of its grade. `dependants` live on what is changed.

    `refused`: a KPI of the new contract would read what the change takes away; no option lets that pass.
    """

    kind: Kind
    key: str
    change: Done
    what: str
    grade: Grade
    why: str
    dependants: tuple[Node, ...] = ()
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.grade}: {self.what} - {self.why}"


@dataclass(frozen=True, slots=True)
class Both:
    """Two versions of a contract, each with its lineage."""

    before: Contract
    after: Contract
    old: Lineage
    new: Lineage

    @classmethod
    def of(cls, before: Contract, after: Contract) -> Both:
        return cls(before, after, Lineage(before), Lineage(after))

    def dependants(self, node: Node) -> tuple[Node, ...]:
        """What lives on the node in either version, but for the events that carry a property."""
        found = (*self.old.of(node, "downstream"), *self.new.of(node, "downstream"))
        return tuple(one for one in dict.fromkeys(found) if one.kind != "event")


def worst(changes: Iterable[Change]) -> Grade:
    """The worst grade of all changes; safe without any."""
    return max((one.grade for one in changes), key=lambda grade: grade.rank, default=SAFE)


def refusals(changes: Iterable[Change]) -> list[str]:
    """A line for each change that no option lets pass."""
    return [f"{one.what} - {one.why}" for one in changes if one.refused]


def listed(nodes: Iterable[Node], kind: str | None = None) -> str:
    """Names for people: `KPI csat and map purchase`."""
    names = [str(one) for one in nodes if kind is None or one.kind == kind]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "nothing"
