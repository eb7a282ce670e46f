"""From outcomes to what is written: where each cursor goes, which rows are kept, which letters are dead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gateway.connectors.limits import Patience
from gateway.connectors.outcomes import Dead, Done, Failed, Outcome, Untouched
from gateway.connectors.pieces import Id, Piece
from gateway.connectors.redaction import excerpt_of
from gateway.store.lane_items import Changes, DeadLetter, LaneItem


class Settlement:
    """What one turn writes. `held`: queues in which something is tried again already."""

    def __init__(self, outcomes: Mapping[Id, Outcome], held: set[str], patience: Patience, now: int) -> None:
        self.changes = Changes()
        self._outcomes = outcomes
        self._blocked = set(held)
        self._patience = patience
        self._now = now

    def stored(self, pieces: Iterable[Piece]) -> None:
        """Pieces that have rows."""
        for piece in pieces:
            outcome = self._outcomes[piece.id]
            if isinstance(outcome, Done):
                self.changes.done.append(piece.item)
                self._end(piece.item)
            elif isinstance(outcome, Failed):
                self._keep(piece, outcome)
            elif isinstance(outcome, Dead):
                self._refuse(piece, outcome)

    def fresh(self, pieces: list[Piece]) -> int:
        """Pieces of one lane, in its order; how many of the first are settled now, with a row or without."""
        last = max((at for at, one in enumerate(pieces) if not self._is_open(one)), default=-1)
        for piece in pieces[: last + 1]:
            self._one(piece)
        return last + 1

    def scattered(self, pieces: list[Piece]) -> list[int]:
        """Pieces of several lanes whose order is that of their queues alone; the places of those that are settled."""
        settled = []
        for at, piece in enumerate(pieces):
            if not self._is_open(piece):
                self._one(piece)
                settled.append(at)
        return settled

    def lanes(self) -> set[int]:
        """The lanes in which anything changes."""
        items = [*self.changes.kept, *self.changes.done, *(letter.item for letter in self.changes.dead)]
        return {item.lane for item in items}

    def _one(self, piece: Piece) -> None:
        outcome = self._outcomes[piece.id]
        if piece.queue in self._blocked and not isinstance(outcome, Done | Dead):
            self.changes.kept.append(replace(piece.item, state="waiting"))
        elif isinstance(outcome, Failed):
            self._keep(piece, outcome)
        elif isinstance(outcome, Untouched):
            self._blocked.add(piece.queue)
            self.changes.kept.append(replace(piece.item, due_at=self._now))
        elif isinstance(outcome, Dead):
            self._refuse(piece, outcome)

    def _is_open(self, piece: Piece) -> bool:
        """Whether it is as if nothing had been tried; what waits behind others gets its row at once."""
        return isinstance(self._outcomes[piece.id], Untouched) and piece.queue not in self._blocked

    def _keep(self, piece: Piece, outcome: Failed) -> None:
        item = replace(piece.item, attempts=piece.item.attempts + (1 if outcome.burnt else 0))
        tried = self._patience.bugs if outcome.bug else self._patience.attempts
        old = outcome.bug or self._now - item.since >= self._patience.hours * 3_600_000
        if item.attempts >= tried and old:
            self._bury(item, piece.payload, outcome.code, outcome.reason)
            return
        self._blocked.add(piece.queue)
        pause = self._patience.pause_ms(max(1, item.attempts), outcome.after)
        due = replace(item, state="pending", due_at=self._now + pause, code=outcome.code, reason=outcome.reason)
        self.changes.kept.append(due)

    def _refuse(self, piece: Piece, outcome: Dead) -> None:
        tried = replace(piece.item, attempts=piece.item.attempts + (piece.payload is not None))
        self._bury(tried, piece.payload, outcome.code, outcome.reason)

    def _bury(self, item: LaneItem, payload: object, code: str, reason: str) -> None:
        dead = replace(item, code=code, reason=reason)
        self.changes.dead.append(DeadLetter(dead, self._now, excerpt_of(payload)))
        self._end(item)

    def _end(self, item: LaneItem) -> None:
        if item.replay is None and item.queue != item.key and item.row is not None:
            self.changes.ended.add(item.queue)
