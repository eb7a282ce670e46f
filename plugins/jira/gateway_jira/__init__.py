"""The plugin `jira`; README.md says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.plugin import Connector, hookimpl
from gateway_jira.connector import Jira


@hookimpl
def register_connectors() -> Iterable[type[Connector[Any]]]:
    """The connector of this plugin."""
    return (Jira,)
