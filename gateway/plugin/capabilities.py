"""What a destination can take: the engine cuts batches, paces and orders by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.model.consent import Purpose

#: What can be delivered: stored events, steps of journeys, survey responses, alerts.
Kind: TypeAlias = Literal["event", "journey", "response"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Limits of one destination.

    `max_items` and `max_bytes` bound one `send` (bytes: the payloads as compact JSON), `max_item_bytes` one payload.
    `per_second` is items a second over all processes' lanes of this process, `concurrency` how many `send` run at a
    time. `ordering`: `user` keeps each user's items in order (a retried one holds back only that user's), `none` does
    not. `purpose` is the consent that a person's data needs to be sent. `partial`: one `send` may end differently per
    item; otherwise a refused batch is bisected. `idempotency` says in words what the destination does with an item's
    key that it has seen; None: it does not know keys, so that a crash can deliver twice.
    """

    max_items: int = 100
    max_bytes: int = 1_000_000
    max_item_bytes: int | None = None
    per_second: float | None = None
    concurrency: int = 1
    ordering: Literal["user", "none"] = "user"
    purpose: Purpose | None = "sharing"
    kinds: frozenset[Kind] = frozenset({"event"})
    partial: bool = False
    idempotency: str | None = None
    erases: bool = False
