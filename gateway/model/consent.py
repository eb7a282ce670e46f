"""What people can be asked to consent to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Purpose: TypeAlias = Literal["analytics", "personalization", "marketing", "sharing", "surveys"]

#: Every purpose, with what it covers. What the service itself needs is no matter of consent.
PURPOSES: dict[Purpose, str] = {
    "analytics": "Numbers about how the product is used.",
    "personalization": "A product that looks or behaves differently for this person.",
    "marketing": "Messages and advertising of one's own.",
    "sharing": "Data given to others, or sold.",
    "surveys": "Being asked for an opinion.",
}

#: What somebody said, by purpose: granted or denied.
Consent: TypeAlias = Mapping[str, bool]
