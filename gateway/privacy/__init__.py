"""Consent and erasure: what may be done with whose events. `Privacy.allows` is the one question to ask."""

from __future__ import annotations

from gateway.privacy.privacy import Privacy

__all__ = ["Privacy"]
