"""What plugin authors import, and all they may: the public API. plugins/README.md documents it.

What is listed here is kept: a change is announced in the CHANGELOG two releases before it happens, with a warning at
run time where that can be told.
"""

from __future__ import annotations

from gateway.clock import Clock
from gateway.errors import PluginError, PluginFailure
from gateway.model.alert import Alert, Severity
from gateway.model.event import Event, EventType, JsonObject
from gateway.model.identity import Identity
from gateway.model.journey import JourneyStatus, JourneyStep
from gateway.model.response import Answer as SurveyAnswer
from gateway.model.response import Response
from gateway.model.wire import message_of, wire_time
from gateway.plugin.capabilities import Capabilities, Kind
from gateway.plugin.configuration import BaseUrl, Config, Secret
from gateway.plugin.connectors import (
    API_VERSION,
    AlertChannel,
    Connector,
    Context,
    Destination,
    Enricher,
    FlagProvider,
    Found,
    Health,
    Manifest,
    Page,
    PullSource,
    State,
    WebhookSource,
)
from gateway.plugin.evaluation import FlagChanges, FlagContext, FlagReason, FlagResult
from gateway.plugin.fields import (
    ANYONE,
    Marker,
    Policy,
    Source,
    attribute,
    check_declared,
    field,
    marker_of,
    subscription,
)
from gateway.plugin.graphql import DateTime, Enriched, Resolving, enriched, user_of
from gateway.plugin.hooks import PROJECT, GraphqlFields, hookimpl
from gateway.plugin.http import Answer, Http, HttpFailed, result_of, retry_after
from gateway.plugin.kpis import KpiFunction
from gateway.plugin.messages import Item, Message
from gateway.plugin.results import (
    AuthFailed,
    Delivered,
    Duplicate,
    ItemResult,
    Rejected,
    Retry,
    Skip,
    Throttled,
    TooLarge,
)
from gateway.plugin.webhooks import Challenge, Denied, RawRequest, Verified

__all__ = [
    "ANYONE",
    "API_VERSION",
    "PROJECT",
    "Alert",
    "AlertChannel",
    "Answer",
    "AuthFailed",
    "BaseUrl",
    "Capabilities",
    "Challenge",
    "Clock",
    "Config",
    "Connector",
    "Context",
    "DateTime",
    "Delivered",
    "Denied",
    "Destination",
    "Duplicate",
    "Enriched",
    "Enricher",
    "Event",
    "EventType",
    "FlagChanges",
    "FlagContext",
    "FlagProvider",
    "FlagReason",
    "FlagResult",
    "Found",
    "GraphqlFields",
    "Health",
    "Http",
    "HttpFailed",
    "Identity",
    "Item",
    "ItemResult",
    "JourneyStatus",
    "JourneyStep",
    "JsonObject",
    "Kind",
    "KpiFunction",
    "Manifest",
    "Marker",
    "Message",
    "Page",
    "PluginError",
    "PluginFailure",
    "Policy",
    "PullSource",
    "RawRequest",
    "Rejected",
    "Resolving",
    "Response",
    "Retry",
    "Secret",
    "Severity",
    "Skip",
    "Source",
    "State",
    "SurveyAnswer",
    "Throttled",
    "TooLarge",
    "Verified",
    "WebhookSource",
    "attribute",
    "check_declared",
    "enriched",
    "field",
    "hookimpl",
    "marker_of",
    "message_of",
    "result_of",
    "retry_after",
    "subscription",
    "user_of",
    "wire_time",
]
