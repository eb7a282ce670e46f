"""`personas/<key>.yaml`."""

from __future__ import annotations

from typing import Any

from gateway.contract.personas import Persona


def build_persona(content: dict[str, Any]) -> Persona:
    """What a file without a problem says."""
    goals, needs, frustrations = (
        tuple(text.strip() for text in content.get(name, ())) for name in ("goals", "needs", "frustrations")
    )
    return Persona(
        content["key"],
        content["name"],
        content["brief"].strip(),
        goals,
        needs,
        frustrations,
        tuple(content.get("traits", {}).items()),
        tuple(content.get("sample", ())),
    )
