"""What plugin authors import: so far the markers that every GraphQL field carries."""

from __future__ import annotations

from gateway.plugin.fields import (
    ANYONE,
    Marker,
    Policy,
    Source,
    attribute,
    check_declared,
    field,
    marker_of,
    subscription,
)

__all__ = ["ANYONE", "Marker", "Policy", "Source", "attribute", "check_declared", "field", "marker_of", "subscription"]
