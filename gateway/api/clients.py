"""What sent an event: library, app, system, browser and place."""

from __future__ import annotations

from enum import Enum

import strawberry

from gateway.model.event import Client
from gateway.plugin import Policy, Source, field

EVENTS = Policy("events:read", subject=True)
PERSONAL = Policy("events:read", subject=True, pii=True)


@strawberry.enum(description="Where the code runs that sent an event.")
class Platform(Enum):
    """Platforms."""

    WEB = strawberry.enum_value("web", description="A web page.")
    IOS = strawberry.enum_value("ios", description="An app on iOS or iPadOS.")
    ANDROID = strawberry.enum_value("android", description="An app on Android.")
    MOBILE = strawberry.enum_value("mobile", description="An app; on which system is not known.")
    SERVER = strawberry.enum_value("server", description="A server.")


@strawberry.enum(description="A kind of device.")
class DeviceKind(Enum):
    """Kinds of devices."""

    DESKTOP = strawberry.enum_value("desktop", description="A desktop or laptop computer.")
    MOBILE = strawberry.enum_value("mobile", description="A phone.")
    TABLET = strawberry.enum_value("tablet", description="A tablet.")
    TV = strawberry.enum_value("tv", description="A television set or a box on one.")
    CONSOLE = strawberry.enum_value("console", description="A game console.")
    BOT = strawberry.enum_value("bot", description="A crawler, a monitor or a headless browser.")


@strawberry.type(description="What sent an event, as found out when it came in; what is not known is null.")
class EventClient:
    """The client of one event."""

    client: strawberry.Private[Client]

    @field(source=Source.document("events", "client.platform"), policy=EVENTS, description="Where the code ran.")
    def platform(self) -> Platform | None:
        found = self.client.get("platform")
        return None if found is None else Platform(found)

    @field(source=Source.document("events", "client.library"), policy=EVENTS, description="The library (SDK).")
    def library(self) -> str | None:
        return self.client.get("library")

    @field(
        source=Source.document("events", "client.libraryVersion"), policy=EVENTS, description="The library's version."
    )
    def library_version(self) -> str | None:
        return self.client.get("libraryVersion")

    @field(source=Source.document("events", "client.app"), policy=EVENTS, description="The app it came from.")
    def app(self) -> str | None:
        return self.client.get("app")

    @field(source=Source.document("events", "client.appVersion"), policy=EVENTS, description="The app's version.")
    def app_version(self) -> str | None:
        return self.client.get("appVersion")

    @field(source=Source.document("events", "client.os"), policy=EVENTS, description="The operating system.")
    def os(self) -> str | None:
        return self.client.get("os")

    @field(
        source=Source.document("events", "client.osVersion"),
        policy=EVENTS,
        description="The operating system's version; browsers hide some.",
    )
    def os_version(self) -> str | None:
        return self.client.get("osVersion")

    @field(source=Source.document("events", "client.browser"), policy=EVENTS, description="The browser.")
    def browser(self) -> str | None:
        return self.client.get("browser")

    @field(
        source=Source.document("events", "client.browserVersion"),
        policy=EVENTS,
        description="The browser's major version.",
    )
    def browser_version(self) -> str | None:
        return self.client.get("browserVersion")

    @field(source=Source.document("events", "client.device"), policy=EVENTS, description="The kind of device.")
    def device(self) -> DeviceKind | None:
        found = self.client.get("device")
        return None if found is None else DeviceKind(found)

    @field(
        source=Source.document("events", "client.country"),
        policy=EVENTS,
        description="The country it came from: ISO 3166-1, two letters.",
    )
    def country(self) -> str | None:
        return self.client.get("country")

    @field(
        source=Source.document("events", "client.ip"),
        policy=PERSONAL,
        description="The sender's IP address without its last bits (/24, /48).",
    )
    def ip(self) -> str | None:
        return self.client.get("ip")
