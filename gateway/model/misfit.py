"""Misfits: where an event is not what the plan says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: The rules of JSON Schema that a plan makes use of.
Rule = Literal["required", "type", "format", "enum", "pattern", "minimum", "maximum", "maxLength"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where an event does not fit its plan: the property, dotted (`products.0.price`), and the rule that it breaks.

    `what` says what is wrong and `fix` what to send instead; neither holds a value that was sent.
    """

    property: str
    rule: str
    what: str = field(default="", compare=False)
    fix: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.property}: {self.rule}"

    def reason(self) -> str:
        """The rule and the property without the places in lists: what is the same for every event of its kind."""
        return f"{self.rule} {'.'.join(part for part in self.property.split('.') if not part.isdecimal())}"
