"""Functions that KPIs of the contract name: from one user's events to that user's number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gateway.plugin.configuration import Config

if TYPE_CHECKING:
    from numpy import float64, int64
    from numpy.typing import NDArray


class KpiFunction(ABC):
    """A number per user that a KPI file asks for by `function: {plugin: {name: …, events: […]}}`.

    `name` is `<plugin>.<function>`, `brief` one line for people. `Parameters` is the model of what the file gives.
    `kind` says what is made of the users' numbers: their mean (Student's t interval), or the share, in percent, of
    those who have 1 and not 0 (Wilson interval).
    """

    name: ClassVar[str]
    brief: ClassVar[str]
    version: ClassVar[str]
    kind: ClassVar[Literal["mean", "share"]] = "mean"
    Parameters: ClassVar[type[Config]] = Config

    @abstractmethod
    def observe(self, parameters: Any, at: NDArray[int64], value: NDArray[float64]) -> float | None:
        """One user's number from their matching events of the range, at least one; None: the user is not counted.

        `at` are their times in ms, rising; `value` the numbers of the KPI's `property`, 1 without one. Neither can be
        written to. It has to be finite, and 0 or 1 of a share. It runs in a thread of the function's; all users of one
        question have some seconds together. It has no effect, and gives the same for the same.
        """
