"""The plugin `hubspot`; README.md says what it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.plugin import Connector, GraphqlFields, hookimpl
from gateway_hubspot.destination import HubspotDestination
from gateway_hubspot.enricher import Hubspot
from gateway_hubspot.fields import HubspotContact, HubspotField, UserFields
from gateway_hubspot.webhook import HubspotWebhook


@hookimpl
def register_connectors() -> Iterable[type[Connector[Any]]]:
    """The connectors of this plugin."""
    return (Hubspot, HubspotDestination, HubspotWebhook)


@hookimpl
def register_graphql() -> GraphqlFields:
    """`User.hubspotContact`."""
    return GraphqlFields("hubspot", user=UserFields, types=(HubspotContact, HubspotField))
