"""The glossary: what the words mean that UX and backend use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One word of the shared language. `also` are other names for it, which people may look for."""

    key: str
    name: str
    definition: str
    also: tuple[str, ...] = ()
