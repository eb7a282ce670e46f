"""Alert channels get each alert as it is raised and as it is resolved, through the same engine."""

from __future__ import annotations

from typing import Any, ClassVar

from gateway.model.alert import Alert, Severity
from gateway.plugin import AlertChannel, Config, Context, Delivered, Health, ItemResult, Manifest, Retry
from gateway.store.alerts import Alerts
from gateway.store.database import Database
from tests.connectors.delivering import WORKSPACE, Empty, Stage, event, instance, until
from tests.connectors.test_delivery import empty, recorder


class Channel(AlertChannel[Empty]):
    """Remembers; refuses the first call."""

    manifest = Manifest(name="channel", version="1", brief="For tests.", test_level="D")
    Config: ClassVar[type[Config]] = Empty

    def __init__(self, config: Empty, context: Context) -> None:
        super().__init__(config, context)
        self.calls = 0
        self.told: list[tuple[str, bool]] = []

    async def check(self) -> Health:
        return Health(True)

    async def notify(self, alert: Alert) -> ItemResult:
        self.calls += 1
        if self.calls == 1:
            return Retry("busy")
        self.told.append((alert.key, alert.resolved_at is None))
        return Delivered()


async def test_a_channel_is_told_of_each_alert_raised_and_resolved(database: Database) -> None:
    async with Stage(database, instance(Channel, "team"), instance()).running() as stage:
        alerts, channel = Alerts(database), stage.instances["team"].connector
        assert isinstance(channel, Channel)
        given: dict[str, Any] = {"severity": Severity.WARNING, "title": "t", "text": "x", "hint": "h"}
        await alerts.raise_alert(WORKSPACE, "k", stage.clock, **given, about=("connector", "crm"))
        await until(lambda: channel.told == [("k", True)])
        await alerts.resolve(WORKSPACE, "k", stage.clock)
        await until(lambda: channel.told == [("k", True), ("k", False)])
        await stage.store(event(1))
        await until(lambda: recorder(stage).names == ["ada 1"])
        await until(lambda: empty(stage))
    assert channel.calls == 3, "an event is no concern of a channel, nor an alert of a destination"


async def test_an_alert_for_some_channels_is_told_to_no_other(database: Database) -> None:
    async with Stage(database, instance(Channel, "team"), instance(Channel, "others")).running() as stage:
        alerts = Alerts(database)
        team, others = (stage.instances[name].connector for name in ("team", "others"))
        assert isinstance(team, Channel)
        assert isinstance(others, Channel)
        given: dict[str, Any] = {"severity": Severity.WARNING, "title": "t", "text": "x", "hint": "h"}
        given["about"] = ("alert rule", "k")
        await alerts.raise_alert(WORKSPACE, "k", stage.clock, **given, channels=["team"])
        await until(lambda: team.told == [("k", True)])
        await alerts.resolve(WORKSPACE, "k", stage.clock)
        await alerts.raise_alert(WORKSPACE, "every", stage.clock, **given)
        await until(lambda: sorted(team.told) == [("every", True), ("k", False), ("k", True)])
        await until(lambda: others.told == [("every", True)])
        await until(lambda: empty(stage))
