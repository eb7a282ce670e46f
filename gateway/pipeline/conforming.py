"""The plan at intake: what is not what it says is noted, told or kept apart, as the mode of its event type has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.contract.finding import NAMELESS
from gateway.contract.plan import Mode
from gateway.contract.validation import EventValidator, Plan
from gateway.model.event import Problem, Verdict
from gateway.model.misfit import Misfit
from gateway.pipeline.contracts import Contracts
from gateway.store.database import Document
from gateway.store.events import readable

#: The flag of an event that is not what the plan says.
FLAG = CODE = "misfit"
#: Reasons that an event carries, and that its sender is told in words.
_MOST_STAMPED = 5
_MOST_TOLD = 3

#: Where misfits are kept apart, naming a major that nobody planned is no way past the plan. Elsewhere it is no misfit.
_NO_SUCH_MAJOR = (
    Misfit(
        "context.protocols.event_version",
        "enum",
        "names a major version that is not planned",
        "send one that is, or plan it and replay",
    ),
)

Read = tuple[list[tuple[int, Document]], list[Problem]]


@dataclass(frozen=True, slots=True)
class Modes:
    """What happens to misfits where their event type does not say: by workspace and source, by workspace, by source
    (`*` for either that is not named), else the default."""

    default: Mode = "observe"
    named: Mapping[tuple[str, str], Mode] = field(default_factory=dict)

    def of(self, workspace: str, source: str) -> Mode:
        for place in ((workspace, source), ("*", source), (workspace, "*")):
            if (mode := self.named.get(place)) is not None:
                return mode
        return self.default


class Conforming:
    """Compares events with the plan that counts now; one per process. It compiles a new plan when it first meets it."""

    def __init__(self, contracts: Contracts, modes: Modes | None = None) -> None:
        self._contracts = contracts
        self._modes = modes or Modes()
        self._contract = contracts.current
        self._plan = Plan(self._contract.events.values())

    @property
    def plan(self) -> Plan:
        """The plan of the contract that counts now."""
        contract = self._contracts.current
        if contract is not self._contract:
            self._plan = Plan(contract.events.values(), self._plan)
            self._contract = contract
        return self._plan

    def check(self, workspace: str, source: str, read: Read) -> tuple[Read, list[tuple[int, Document]], list[Problem]]:
        """What was read, with the misfits among it stamped; those to be kept apart are problems instead, and come once
        more behind it with their rows. Then what the senders of the others are told."""
        documents, problems = read
        plan = self.plan
        if not plan:
            return read, [], []
        found = [_Misfit(index, row, *told) for index, row in documents if (told := _compared(plan, row))]
        if not found:  # as mostly
            return read, [], []
        mode = self._modes.of(workspace, source)
        apart: dict[int, Document] = {}
        warnings: list[Problem] = []
        for one in found:
            says = one.validator.definition.mode or mode
            if one.misfits is _NO_SUCH_MAJOR and says != "quarantine":
                continue  # an event that is not planned
            one.row["misfits"] = list(dict.fromkeys(each.reason() for each in one.misfits))[:_MOST_STAMPED]
            if says == "quarantine":
                apart[one.index] = one.row
                problems = [*problems, one.problem(Verdict.QUARANTINED)]
                continue
            one.row["flags"] = sorted({*one.row["flags"], FLAG})
            if says == "warn":
                warnings.append(one.problem(Verdict.ACCEPTED))
        kept = [pair for pair in documents if pair[0] not in apart] if apart else documents
        return (kept, problems), list(apart.items()), warnings


@dataclass(frozen=True, slots=True)
class _Misfit:
    index: int
    row: Document
    validator: EventValidator
    misfits: Sequence[Misfit]

    def problem(self, verdict: Verdict) -> Problem:
        definition = self.validator.definition
        reasons = [f"`{one.property}` {one.what}: {one.fix}" for one in self.misfits[:_MOST_TOLD]]
        more = len(self.misfits) - _MOST_TOLD
        told = "; ".join([*reasons, f"and {more} more"] if more > 0 else reasons)
        text = f"It is not what the plan says of {definition.name!r}, major {definition.major}: {told}."
        return Problem(self.index, verdict, CODE, text, self.row["messageId"], tuple(self.misfits))


def _compared(plan: Plan, row: Document) -> tuple[EventValidator, Sequence[Misfit]] | None:
    """What is planned for it and where it is something else; None where it is what is planned, or nothing is. Of a
    major that is not planned, the newest that is and _NO_SUCH_MAJOR."""
    kind = row["type"]
    validator = plan.find(kind, row["name"], row["context"])
    if validator is None:
        newest = plan.newest(kind, row["name"])
        return None if newest is None else (newest, _NO_SUCH_MAJOR)
    values: Any = row["traits" if kind in NAMELESS else "properties"]
    if "escaped" in row:
        values = readable(values)
    if validator.fits(values):
        return None
    return validator, validator.misfits(values)
