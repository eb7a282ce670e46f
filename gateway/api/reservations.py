"""Streams that a client reserves first and then shares among operations: graphql-sse's single connection mode.

The ticket of a reservation is what a browser's EventSource can carry: it sends no headers. It opens a stream that is
empty, once, within seconds; operations on that stream need the credential that reserved it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gateway.api.streaming import EventStream
from gateway.clock import random_secret
from gateway.errors import InvalidInput, NotFound, RateLimited
from gateway.model.scope import Scope

#: How long a reservation waits for its stream.
RESERVED_SECONDS = 30.0
#: Reservations of one caller that may wait at a time.
MAX_RESERVED = 50
MAX_RESERVED_BY_ALL = 5_000


class Conflict(InvalidInput):
    """There is a stream, or an operation, in this place already."""

    code = "CONFLICT"


@dataclass(eq=False, slots=True)
class _Reservation:
    caller: object
    stream: EventStream
    expiry: asyncio.TimerHandle | None = None


class Reservations:
    """The streams of this process that are reserved or open."""

    def __init__(self, new_stream: Callable[[], EventStream]) -> None:
        self._new_stream = new_stream
        self._held: dict[str, _Reservation] = {}
        self._waiting: Counter[object] = Counter()
        self._all_waiting = 0
        self._closing: set[asyncio.Task[None]] = set()

    def reserve(self, scope: Scope) -> str:
        """A ticket for one stream of this caller. Raises RateLimited."""
        caller = _caller(scope)
        if self._waiting[caller] >= MAX_RESERVED or self._all_waiting >= MAX_RESERVED_BY_ALL:
            raise RateLimited(
                "Too many reserved streams wait to be opened.",
                hint="Open the streams that are reserved, or come again later.",
                retry_after=int(RESERVED_SECONDS),
            )
        ticket = random_secret()
        reservation = _Reservation(caller, self._new_stream())
        self._waiting[caller] += 1
        self._all_waiting += 1
        reservation.expiry = asyncio.get_running_loop().call_later(RESERVED_SECONDS, self._expire, ticket)
        self._held[ticket] = reservation
        return ticket

    def open(self, ticket: str, scope: Scope | None) -> EventStream:
        """The stream behind the ticket, for its one connection; `scope`: the caller's, if one is named.

        Raises NotFound, or Conflict when it is open.
        """
        reservation = self._find(ticket, scope)
        if reservation.expiry is None:
            raise Conflict("This stream is open already.", hint="Reserve one for each connection.")
        reservation.expiry.cancel()
        reservation.expiry = None
        self._waits_no_more(reservation)
        return reservation.stream

    def stream(self, ticket: str, scope: Scope) -> EventStream:
        """The stream behind the ticket, for operations. Raises NotFound."""
        return self._find(ticket, scope).stream

    def release(self, ticket: str) -> None:
        """Its connection has gone."""
        self._held.pop(ticket, None)

    def _find(self, ticket: str, scope: Scope | None) -> _Reservation:
        reservation = self._held.get(ticket)
        if reservation is None or (scope is not None and _caller(scope) != reservation.caller):
            raise NotFound("There is no such stream.", hint="Reserve one with PUT, and open it within 30 seconds.")
        return reservation

    def _expire(self, ticket: str) -> None:
        reservation = self._held.pop(ticket)
        self._waits_no_more(reservation)
        closing = asyncio.create_task(reservation.stream.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _waits_no_more(self, reservation: _Reservation) -> None:
        self._all_waiting -= 1
        self._waiting[reservation.caller] -= 1
        if not self._waiting[reservation.caller]:
            del self._waiting[reservation.caller]


def _caller(scope: Scope) -> object:
    """The same for a token and the next one, after it has been renewed."""
    return scope.workspace, scope.subject, scope.permissions
