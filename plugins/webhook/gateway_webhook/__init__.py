"""The plugin `webhook`; README.md says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from gateway.plugin import Connector, hookimpl


@hookimpl
def register_connectors() -> Iterable[type[Connector[Any]]]:
    """The destination and the source. The library is read only when they are asked for."""
    from gateway_webhook.destination import Webhook
    from gateway_webhook.source import WebhookIn

    return (Webhook, WebhookIn)


@hookimpl
def register_commands(group: click.Group) -> None:
    """`journey-gateway webhook new-secret`."""
    from gateway_webhook.commands import webhook

    group.add_command(webhook)
