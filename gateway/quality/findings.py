"""What an audit finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from gateway.model.alert import Severity
from gateway.store.catalog import Name

Kind = Literal[
    "never_seen",
    "unplanned",
    "near_duplicate",
    "dead_property",
    "type_drift",
    "misfit",
    "volume",
    "silence",
    "inconsistent_ids",
    "loss",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Platform, app version (None: not said) and how many.
Share = tuple[str, str | None, int]


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing to look at.

    `subject` is an event's name, an event and property as in `Order Completed.total`, a source, or `*` for all events.
    `evidence` are numbers and shapes, never a person's data; `shares` says where it comes from, the most first. Where
    it is about values: `event` and `property`, the `rule` that they break or the type that is `expected`.
    """

    kind: Kind
    severity: Severity
    subject: str
    message: str
    fix: str
    evidence: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    event: Name | None = None
    property: str | None = None
    rule: str | None = None
    expected: str | None = None
