"""The plugin `typeform`; README.md says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.plugin import Connector, hookimpl
from gateway_typeform.connector import Typeform


@hookimpl
def register_connectors() -> Iterable[type[Connector[Any]]]:
    """The connector of this plugin."""
    return (Typeform,)
