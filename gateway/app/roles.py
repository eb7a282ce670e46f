"""What a process does: everything, or one part beside other processes on the same database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["all", "collect", "derive", "api"]


@dataclass(frozen=True, slots=True)
class Duties:
    """The parts of the gateway that a role runs. Health is answered by all."""

    collects: bool = False
    derives: bool = False
    answers: bool = False

    @property
    def mints(self) -> bool:
        """Whether /v1/token is served: browsers ask for it wherever they send events or queries."""
        return self.collects or self.answers


DUTIES: dict[Role, Duties] = {
    "all": Duties(collects=True, derives=True, answers=True),
    "collect": Duties(collects=True),
    "derive": Duties(derives=True),
    "api": Duties(answers=True),
}
