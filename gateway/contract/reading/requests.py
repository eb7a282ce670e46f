"""`requests/<key>.yaml`."""

from __future__ import annotations

from typing import Any

from gateway.contract.requests import DataRequest


def build_request(content: dict[str, Any]) -> DataRequest:
    """What a file without a problem says."""
    return DataRequest(
        content["key"],
        content["title"],
        content["what"].strip(),
        content["why"].strip(),
        content["askedBy"],
        content.get("event"),
        tuple(content.get("properties", ())),
    )
