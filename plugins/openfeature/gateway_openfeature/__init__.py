"""The plugin `openfeature`; README.md says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.plugin import Connector, hookimpl


@hookimpl
def register_connectors() -> Iterable[type[Connector[Any]]]:
    """The connector of this plugin. The vendor's library is read only when it is asked for."""
    from gateway_openfeature.connector import OpenFeature

    return (OpenFeature,)
