"""The seam of tracing: what is a span, and nothing at all when traces are off. `tracing` fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from starlette.types import Scope

Value = str | int | float | bool


class Span:
    """One thing that takes time. This one forgets everything."""

    def note(self, **values: Value) -> None:
        """Attributes: names and numbers of ours only, nothing that users sent."""

    def name(self, words: str) -> None:
        """What it turned out to be."""

    def fail(self, what: str) -> None:
        """It failed; `what` is a code or a type."""

    def end(self) -> None:
        """It is over; only for spans of `begin`."""


_NOTHING = Span()


class Spans:
    """Makes spans. This one makes none."""

    on = False

    def request(self, scope: Scope) -> AbstractContextManager[Span]:
        """The span of a request, a child of what its `traceparent` names."""
        return nullcontext(_NOTHING)

    def span(self, words: str, **values: Value) -> AbstractContextManager[Span]:
        """A span around a block, which is the parent of those inside."""
        return nullcontext(_NOTHING)

    def begin(self, words: str, **values: Value) -> Span:
        """A span that ends by `end`, for what is no block; never a parent."""
        return _NOTHING

    def committed(self, events: Sequence[Mapping[str, Any]]) -> AbstractContextManager[Span]:
        """The span of a group commit of these events; `link` finds it."""
        return nullcontext(_NOTHING)

    def link(self, span: Span, event: bytes) -> None:
        """Link a span to the group commit that stored this event."""

    async def close(self) -> None:
        """Send what waits, within two seconds."""
