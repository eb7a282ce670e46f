"""Export: a workspace's events as NDJSON in their order, or as an XES log with a trace per case.

The same events give the same bytes. Memory is bounded by pages, whatever the size of the workspace; what is received
after the export began is left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import orjson

from gateway.model.event import Event, JsonObject
from gateway.model.journey import Journey, Session
from gateway.model.scope import Scope
from gateway.model.wire import message_of
from gateway.pipeline import xes
from gateway.pipeline.people import People, Person
from gateway.pipeline.wire import Pseudonyms
from gateway.store.exports import Exports, Selection, patiently
from gateway.store.identities import Identities
from gateway.store.users import Journeys, Sessions

Case = Literal["user", "session", "journey"]

_Attributes = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the file, and how many events are in it."""

    data: bytes
    events: int = 0


@dataclass(frozen=True, slots=True)
class _Trace:
    """One session or run: which events of its user belong to it, by their times, both ends included."""

    name: str
    start: int
    end: int
    attributes: _Attributes
    stages: tuple[tuple[int, str | None], ...] = ()

    def stage(self, at: int) -> str | None:
        """The stage the run was in at that time; None when it had left one and entered no other."""
        if not self.stages:
            return None
        return self.stages[max(0, bisect_right(self.stages, at, key=lambda stage: stage[0]) - 1)][1]


class Exporter:
    """Reads within one workspace. With `pseudonyms` no id and nothing but names, times and properties gets out."""

    def __init__(
        self,
        exports: Exports,
        identities: Identities,
        sessions: Sessions,
        journeys: Journeys,
        *,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._exports = exports
        self._people = People(exports, identities)
        self._sessions = sessions
        self._journeys = journeys
        self._pseudonyms = pseudonyms

    async def ndjson(self, selection: Selection) -> AsyncIterator[Part]:
        """One message a line, in the order of events; merges and splits among them, so that the same users come out."""
        async for events in self._exports.events(replace(selection, kinds="both")):
            lines = b"".join(orjson.dumps(self._message(event), option=_LINE) for event in events)
            yield Part(lines, len(events))

    async def xes(
        self, selection: Selection, *, case: Case = "user", map_key: str | None = None
    ) -> AsyncIterator[Part]:
        """Users by their id, of each its traces by time; `map_key` chooses the map of case "journey".

        Events that belong to no case (outside of every run of the map) are left out. Behind the users' traces stand
        merges and splits, as events of no trace.
        """
        yield Part(xes.header(selection.workspace))
        async for person, events in self._people.each(selection):
            if case == "user":
                async for part in self._user_trace(person, events):
                    yield part
                continue
            traces = await self._traces(selection.workspace, person.user, case, map_key)
            async for part in self._divided(person, traces, events):
                yield part
        if case == "user":
            async for decisions in self._exports.events(replace(selection, kinds="decisions")):
                yield Part(b"".join(xes.event(self._message(event)) for event in decisions), len(decisions))
        yield Part(xes.FOOTER)

    # -- traces -------------------------------------------------------------------------------------------------

    async def _user_trace(self, person: Person, pages: AsyncIterator[list[Event]]) -> AsyncIterator[Part]:
        yield Part(xes.trace_start(_name(person, self._pseudonyms), self._owner(person)))
        async for events in pages:
            yield Part(b"".join(xes.event(self._message(event)) for event in events), len(events))
        yield Part(xes.TRACE_END)

    async def _traces(self, workspace: str, user: str, case: Case, map_key: str | None) -> list[_Trace]:
        scope = Scope.system(workspace)
        if case == "session":
            found = await patiently(partial(self._sessions.page, scope, user, limit=0, before=None))
            return sorted(map(_session_trace, found), key=lambda trace: (trace.start, trace.name))
        runs = await patiently(partial(self._journeys.page, scope, limit=0, user=user, map_key=map_key))
        return [_journey_trace(run) for run in sorted(runs, key=lambda run: run.run)]

    async def _divided(
        self, person: Person, traces: Sequence[_Trace], pages: AsyncIterator[list[Event]]
    ) -> AsyncIterator[Part]:
        """The events in the traces they fall into; of runs that touch, the later one has what is at both."""
        starts = [trace.start for trace in traces]
        current: _Trace | None = None
        async for events in pages:
            parts: list[bytes] = []
            told = 0
            for event in events:
                place = bisect_right(starts, event.at) - 1
                trace = traces[place] if place >= 0 and event.at <= traces[place].end else None
                if trace is not current:
                    if current is not None:
                        parts.append(xes.TRACE_END)
                    if trace is not None:
                        parts.append(xes.trace_start(trace.name, (*self._owner(person), *trace.attributes)))
                    current = trace
                if trace is not None:
                    parts.append(xes.event(self._message(event), stage=trace.stage(event.at)))
                    told += 1
            yield Part(b"".join(parts), told)
        if current is not None:
            yield Part(xes.TRACE_END)

    def _owner(self, person: Person) -> _Attributes:
        return (("user", _name(person, self._pseudonyms)),)

    def _message(self, event: Event) -> JsonObject:
        message = message_of(event)
        return message if self._pseudonyms is None else self._pseudonyms.message(message)


def _name(person: Person, pseudonyms: Pseudonyms | None) -> str:
    """The user's own id where one is known, else the first anonymous one."""
    known = [identity for identity in person.identities if identity.type == "userId"]
    identity = (known or person.identities)[0]
    return identity.value if pseudonyms is None else pseudonyms.hash(identity.type, identity.value)


def _session_trace(session: Session) -> _Trace:
    return _Trace(session.id, session.start, session.end, ())


def _journey_trace(run: Journey) -> _Trace:
    attributes: _Attributes = (
        ("map", run.map),
        ("version", run.version),
        ("run", run.run),
        ("status", run.status.value),
    )
    if run.stage is not None:
        attributes = (*attributes, ("stage", run.stage))
    stages: list[tuple[int, str | None]] = []
    for visit in run.visits:
        stages.append((visit.entered_at, visit.stage))
        if visit.left_rule is not None and visit.left_at is not None:
            stages.append((visit.left_at, None))
    return _Trace(run.id, run.started_at, run.last_at, attributes, tuple(stages))


_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS
