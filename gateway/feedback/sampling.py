"""Who is in a sample: decided by a hash of user and survey, so that asking again changes nothing.

The hash is version 2 of GrowthBook's published one: n = fnv32a(str(fnv32a(seed + value))) % 10000 / 10000.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.contract.surveys import Survey, Variant

_OFFSET, _PRIME = 0x811C9DC5, 0x01000193


def fnv32a(text: str) -> int:
    """FNV-1a, 32 bits, over the numbers of the characters."""
    found = _OFFSET
    for char in text:
        found = ((found ^ ord(char)) * _PRIME) & 0xFFFFFFFF
    return found


def place_of(seed: str, value: str) -> float:
    """Where between 0 and 1 somebody stands, in steps of 1/10000: always the same for the same seed and value."""
    return fnv32a(str(fnv32a(seed + value))) % 10000 / 10000


def is_sampled(survey: Survey, user: str) -> bool:
    """Whether the user is among those of the survey's `sampling`. Who is in a smaller sample is in a larger one too."""
    return place_of(f"survey:{survey.key}", user) < survey.sampling / 100


def variant_of(survey: Survey, user: str) -> Variant | None:
    """The variant that the user gets; None: the survey as it is. Independent of the sample."""
    place = place_of(f"survey:{survey.key}:variant", user) * 100
    for variant, upto in _upto(survey.variants):
        if place < upto:
            return variant
    return None


def _upto(variants: Iterable[Variant]) -> Iterable[tuple[Variant, float]]:
    total = 0.0
    for variant in variants:
        total += variant.share
        yield variant, total
