"""`journey-gateway webhook …`."""

from __future__ import annotations

import base64
import secrets

import click

from gateway_webhook.signing import PREFIX

_BYTES = 32


@click.group()
def webhook() -> None:
    """Signed webhooks."""


@webhook.command("new-secret")
def new_secret() -> None:
    """Print a new secret for signing, to give to both sides.

    \b
    Examples:
      journey-gateway webhook new-secret > webhook.secret
    """
    click.echo(PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode())
