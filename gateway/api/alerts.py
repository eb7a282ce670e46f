"""Alerts: something an operator or a team should look at."""

from __future__ import annotations

from enum import Enum
from typing import Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context
from gateway.api.nodes import Node
from gateway.api.scalars import Cursor, DateTime
from gateway.model.alert import Alert as Stored
from gateway.plugin import Policy, Source, field

ALERTS = Policy("workspace:read")
KEYSET = Keyset("alerts", (int, str))


@strawberry.enum(description="How soon somebody should look.")
class Severity(Enum):
    """Severities."""

    INFO = strawberry.enum_value("info", description="When there is time.")
    WARNING = strawberry.enum_value("warning", description="Today.")
    CRITICAL = strawberry.enum_value("critical", description="Now.")


@strawberry.type(description="Something to look at. The same trouble is one alert for as long as it is open.")
class Alert(Node):
    """An alert."""

    alert: strawberry.Private[Stored]

    def global_id(self) -> str:
        return f"alert_{self.alert.id}"

    @field(source=Source.document("alerts", "key"), policy=ALERTS, description="What is wrong, for programs.")
    def key(self) -> str:
        return self.alert.key

    @field(source=Source.document("alerts", "severity"), policy=ALERTS, description="How soon to look.")
    def severity(self) -> Severity:
        return Severity(self.alert.severity.value)

    @field(source=Source.document("alerts", "title"), policy=ALERTS, description="What is wrong, in a line.")
    def title(self) -> str:
        return self.alert.title

    @field(source=Source.document("alerts", "text"), policy=ALERTS, description="What is known about it.")
    def text(self) -> str:
        return self.alert.text

    @field(source=Source.document("alerts", "hint"), policy=ALERTS, description="What to do.")
    def hint(self) -> str:
        return self.alert.hint

    @field(
        source=Source.document("alerts", "about"),
        policy=ALERTS,
        description="What kind of thing it is about: `connector`, `event`, `property`, `source` or `alert rule`.",
    )
    def about_kind(self) -> str:
        return self.alert.about[0]

    @field(source=Source.document("alerts", "about"), policy=ALERTS, description="Which one of them.")
    def about_key(self) -> str:
        return self.alert.about[1]

    @field(source=Source.document("alerts", "firstAt"), policy=ALERTS, description="When it was raised.")
    def first_at(self) -> DateTime:
        return DateTime(self.alert.first_at)

    @field(source=Source.document("alerts", "lastAt"), policy=ALERTS, description="When it was last met.")
    def last_at(self) -> DateTime:
        return DateTime(self.alert.last_at)

    @field(source=Source.document("alerts", "count"), policy=ALERTS, description="How often it was met.")
    def count(self) -> int:
        return self.alert.count

    @field(
        source=Source.document("alerts", "resolvedAt"),
        policy=ALERTS,
        description="When it was well again; null while it is open.",
    )
    def resolved_at(self) -> DateTime | None:
        return None if self.alert.resolved_at is None else DateTime(self.alert.resolved_at)


@strawberry.type(description="One page of alerts, those met last first.")
class AlertConnection(Connection[Alert]):
    """A page of alerts."""


async def alert_page(context: Context, open_: bool | None, first: int | None, after: Cursor | None) -> AlertConnection:
    """A page of the workspace's alerts."""

    async def read(limit: int, before: Any) -> list[Stored]:
        return await context.services.alerts.page(context.scope, open_=open_, limit=limit, before=before)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.last_at, one.id),
        node=lambda one: Alert(alert=one),
    )
    return AlertConnection(edges=edges, page_info=page_info)


async def alert_by(context: Context, key: str) -> Alert | None:
    """One alert; None when there is none."""
    found = (await context.services.alerts.get(context.scope.workspace, [key])).get(key)
    return None if found is None else Alert(alert=found)
