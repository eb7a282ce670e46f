"""Consent: what people are asked for, and what counts where they have said nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model.consent import Purpose


@dataclass(frozen=True, slots=True)
class RegionDefault:
    """What counts in these countries (ISO 3166-1, two letters) while nobody has said anything."""

    countries: tuple[str, ...]
    granted: bool


@dataclass(frozen=True, slots=True)
class ConsentPurpose:
    """One purpose. `granted` is the default everywhere but in the `regions` that say otherwise."""

    key: Purpose
    brief: str
    granted: bool
    regions: tuple[RegionDefault, ...] = ()

    def default(self, country: str | None) -> bool:
        """Whether the purpose counts as granted in the country; None: nobody knows where it is."""
        return next((region.granted for region in self.regions if country in region.countries), self.granted)
