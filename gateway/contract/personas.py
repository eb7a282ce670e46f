"""Personas: who the product is made for, with events as they would send them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Persona:
    """One kind of user. `traits` are what a profile of theirs says; `sample` are messages as an SDK sends them."""

    key: str
    name: str
    brief: str
    goals: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    frustrations: tuple[str, ...] = ()
    traits: tuple[tuple[str, Any], ...] = ()
    sample: tuple[dict[str, Any], ...] = ()
