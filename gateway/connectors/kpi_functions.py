"""Functions of KPIs that plugins have, at work: each in a thread of its own, within a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from gateway.clock import monotonic
from gateway.connectors.threads import Blocked, ConnectorThread, Late
from gateway.contract.functions import PluginFunction
from gateway.contract.hashing import content_hash
from gateway.errors import PluginError, PluginFailure
from gateway.insights.kernels.events import Floats
from gateway.insights.kpis.estimates import Kind
from gateway.insights.kpis.plugged import Histories, not_there
from gateway.plugin import Config, KpiFunction
from gateway.plugin.failures import traced

log = logging.getLogger("gateway.plugins")

#: How long a function may take for all users of one question.
OBSERVE_SECONDS = 5.0
#: Of how many parameters it is remembered what their model says.
_REMEMBERED = 1_000
_KINDS = {"mean": Kind.MEAN, "share": Kind.SHARE}

T = TypeVar("T")


class _Busy(Exception):
    """Other questions have kept the function busy for as long as one may take."""


class _Nonsense(Exception):
    """A function returned what is no number of its kind; the text names the type alone."""


@dataclass(slots=True)
class _Running:
    """A function with its thread. `turn`: one question at a time, so that the deadline of none is spent waiting."""

    function: KpiFunction
    thread: ConnectorThread
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    checked: dict[str, Config | PluginFailure] = field(default_factory=dict)


class KpiFunctions:
    """The functions of one process's plugins, by name."""

    def __init__(self, functions: Mapping[str, KpiFunction]) -> None:
        self._running = {
            name: _Running(function, ConnectorThread(f"kpi {name}")) for name, function in functions.items()
        }

    def kind(self, function: PluginFunction) -> Kind:
        """What is made of the users' numbers; MEAN of a function that is not there."""
        running = self._running.get(function.name)
        return Kind.MEAN if running is None else _KINDS[running.function.kind]

    async def trouble(self, function: PluginFunction) -> PluginFailure | None:
        """Why it cannot be called at all: it is not there, or its model refuses the parameters."""
        running = self._running.get(function.name)
        if running is None:
            return traced(not_there(function, list(self._running)))
        try:
            found = await self._parameters(running, function)
        except PluginError as error:
            return error.failure
        return found if isinstance(found, PluginFailure) else None

    async def numbers(self, function: PluginFunction, histories: Sequence[Histories]) -> list[Floats]:
        """Of each of the histories one number per user, NaN of those who are not counted. Raises PluginError."""
        running = self._running.get(function.name)
        if running is None:
            raise PluginError(traced(not_there(function, list(self._running))))
        parameters = await self._parameters(running, function)
        if isinstance(parameters, PluginFailure):
            raise PluginError(parameters)
        until: list[float] = []

        def observed() -> list[Floats]:
            until.append(monotonic() + OBSERVE_SECONDS)
            return [_numbers(running.function, parameters, some, until[0]) for some in histories]

        return await self._called(running, observed)

    async def close(self) -> None:
        """Let the threads go."""
        await asyncio.gather(*(running.thread.close() for running in self._running.values()))

    async def _parameters(self, running: _Running, function: PluginFunction) -> Config | PluginFailure:
        """The parameters as the function's model has them, or what is wrong with them. Raises PluginError."""
        said = dict(function.parameters)
        key = content_hash(said)
        known = running.checked.get(key)
        if known is not None:
            return known

        def validated() -> Config | PluginFailure:
            try:
                return running.function.Parameters.model_validate(said)
            except ValidationError as error:
                return traced(_refused_parameters(running.function, error))

        if len(running.checked) >= _REMEMBERED:
            running.checked.clear()
        found = running.checked[key] = await self._called(running, validated)
        return found

    async def _called(self, running: _Running, work: Callable[[], T]) -> T:
        """What it returns, from its thread. Raises PluginError for whatever goes wrong there."""
        try:
            try:
                async with asyncio.timeout(OBSERVE_SECONDS):
                    await running.turn.acquire()
            except TimeoutError:
                raise _Busy from None
            try:
                return await running.thread.run(work, OBSERVE_SECONDS)
            finally:
                running.turn.release()
        except Exception as error:
            failure = traced(_failure(running.function, error))
            log.error("a function of KPIs failed", extra=failure.log_fields())
            raise PluginError(failure) from None


def _numbers(function: KpiFunction, parameters: Config, some: Histories, until: float) -> Floats:
    """In the function's thread, which it leaves when its time is over."""
    found = np.full(len(some), np.nan)
    edges = some.edges.tolist()
    for place in range(len(some)):
        if monotonic() > until:
            raise Late
        rows = slice(edges[place], edges[place + 1])
        number = function.observe(parameters, some.at[rows], some.value[rows])
        if number is not None:
            found[place] = _checked(function, number)
    return found


def _checked(function: KpiFunction, number: object) -> float:
    if not isinstance(number, int | float | np.number | np.bool_) or isinstance(number, complex | np.complexfloating):
        raise _Nonsense(f"It returned {type(number).__name__}")
    try:
        told = float(number)
    except OverflowError:
        told = float("inf")
    if not isfinite(told):
        raise _Nonsense("It returned NaN or an infinite number")
    if function.kind == "share" and told not in (0, 1):
        raise _Nonsense("It is a share, and returned neither 0 nor 1")
    return told


def _refused_parameters(function: KpiFunction, error: ValidationError) -> PluginFailure:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'parameters'}: {one['msg']}" for one in found[:5])
    takes = ", ".join(function.Parameters.model_fields) or "none"
    return _record(
        function, "config", f"The KPI's parameters do not fit: {said}.", f"Mend them in the KPI. It takes: {takes}."
    )


def _failure(function: KpiFunction, error: Exception) -> PluginFailure:
    match error:
        case Late():
            message = f"It has not come to an end within {OBSERVE_SECONDS:g} s."
            fix = "Ask about a shorter range or a smaller segment, or let its author make it quicker."
        case _Busy():
            said = f"Other questions have kept it busy for {OBSERVE_SECONDS:g} s."
            return replace(_record(function, "rate_limit", said, "Ask again in a moment."), retryable=True)
        case Blocked():
            message = "An earlier call still holds its thread: it is not called until that ends."
            fix = "Restart the gateway without the plugin, and report it to the plugin's author."
        case _Nonsense():
            message = f"{error}."
            fix = "It has to return a finite number, 0 or 1 of a share, or None. Report it to the plugin's author."
        case _:
            # The text of what it raised may hold anything: its kind is enough.
            message, fix = f"It raised {type(error).__name__}.", "Report it to the plugin's author."
    return _record(function, "bug", message, fix)


def _record(function: KpiFunction, category: str, message: str, fix: str) -> PluginFailure:
    return PluginFailure(
        plugin=function.name.rpartition(".")[0],
        version=function.version,
        operation=f"KPI function {function.name}",
        category=category,  # type: ignore[arg-type]
        message=message,
        fix=fix,
    )
