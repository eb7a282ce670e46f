"""Feature flags for one user, decided in process by plugged providers, each with its reason."""

from __future__ import annotations

from gateway.flags.changes import Changes, FlagChange, Lost
from gateway.flags.deciding import Decision, Flags
from gateway.flags.subjects import Subject, known_subject, unknown_subject

__all__ = [
    "Changes",
    "Decision",
    "FlagChange",
    "Flags",
    "Lost",
    "Subject",
    "known_subject",
    "unknown_subject",
]
