"""The catalogue: what comes in, planned or not."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import strawberry

from gateway.api.connections import Connection, Keyset, page
from gateway.api.context import Context, Info
from gateway.api.scalars import Cursor, DateTime
from gateway.contract.paths import planned_paths
from gateway.contract.plan import EventDefinition
from gateway.errors import InvalidInput
from gateway.plugin import Policy, Source, attribute, field
from gateway.quality.facts import place
from gateway.store.catalog import DAY_MS, PropertySightings, Sightings

CATALOG = Policy("workspace:read")
KEYSET = Keyset("catalog", (str, str))
MOST_DAYS = 92

_ROW = Source.document("catalog", "*")

Days = Annotated[int, strawberry.argument(description=f"How many days, at most {MOST_DAYS}.")]


@strawberry.type(description="How many of one kind.")
class CatalogCount:
    """A count."""

    name: str = attribute(source=_ROW, policy=CATALOG, description="Which kind.")
    count: int = attribute(source=_ROW, policy=CATALOG, description="How many.")


@strawberry.type(description="A rule of the plan that events of this type broke, and how often.")
class CatalogMisfit:
    """A misfit."""

    property: str = attribute(source=_ROW, policy=CATALOG, description="The property, dotted.")
    rule: str = attribute(source=_ROW, policy=CATALOG, description="The rule, in the words of JSON Schema.")
    count: int = attribute(source=_ROW, policy=CATALOG, description="How many events.")


@strawberry.type(description="A property that events of one type carry.")
class CatalogProperty:
    """A property."""

    key: str = attribute(
        source=_ROW,
        policy=CATALOG,
        description="Its name as it is sent; inside an object `address.city`, inside a list `products[].color`, of "
        "what a list holds `tags[]`; a dot in a name itself has a backslash. `(other)` are those beyond 200, "
        "`address.(other)` those too deep or too many inside. One that looks like somebody's data is shown by its "
        "form.",
    )
    seen: strawberry.Private[PropertySightings]
    planned: bool = attribute(
        source=Source.contract("events", "properties"), policy=CATALOG, description="Whether the plan has it."
    )

    @field(
        source=_ROW,
        policy=CATALOG,
        description="How many events had a value in it; inside a list, for each type of value that it had.",
    )
    def count(self) -> int:
        return self.seen.count

    @field(source=_ROW, policy=CATALOG, size=3, description="Types of its values, in the words of JSON, and how often.")
    def types(self) -> list[CatalogCount]:
        return _counts(self.seen.types)

    @field(
        source=_ROW,
        policy=CATALOG,
        description="What a value looks like: letters as `a`, digits as `9`. As it is where the plan says that the "
        "property tells nothing of a person, and it does not look as if it did.",
    )
    def sample(self) -> str | None:
        return self.seen.sample


@strawberry.type(description="One day (UTC, by when events happened) of one event type.")
class CatalogDay:
    """A day."""

    day: DateTime = attribute(source=_ROW, policy=CATALOG, description="Where it begins.")
    count: int = attribute(source=_ROW, policy=CATALOG, description="Events that were stored.")
    quarantined: int = attribute(source=_ROW, policy=CATALOG, description="Events that the plan kept apart.")


@strawberry.type(
    description="One type of event as it comes in. Numbers are as of a second ago, and may miss the last second of a "
    "process that was killed; `(other)` are the names beyond 1,000."
)
class CatalogEntry:
    """An event type."""

    seen: strawberry.Private[Sightings]
    plan: strawberry.Private[list[EventDefinition]]

    @field(
        source=_ROW,
        policy=CATALOG,
        description="The call that sends it: track, page, screen, identify, group or alias.",
    )
    def type(self) -> str:
        return self.seen.type

    @field(source=_ROW, policy=CATALOG, description="The event's name.")
    def name(self) -> str:
        return self.seen.name

    @field(source=Source.contract("events", "*"), policy=CATALOG, description="Whether the plan has it.")
    def planned(self) -> bool:
        return bool(self.plan)

    @field(
        source=Source.contract("events", "major"),
        policy=CATALOG,
        size=2,
        description="The majors that the plan has of it.",
    )
    def majors(self) -> list[int]:
        return sorted(one.major for one in self.plan)

    @field(source=_ROW, policy=CATALOG, description="When the first of them happened.")
    def first_seen(self) -> DateTime:
        return DateTime(self.seen.first_at)

    @field(source=_ROW, policy=CATALOG, description="When the last of them happened.")
    def last_seen(self) -> DateTime:
        return DateTime(self.seen.last_at)

    @field(source=_ROW, policy=CATALOG, description="How many were stored.")
    def count(self) -> int:
        return self.seen.count

    @field(
        source=_ROW,
        policy=CATALOG,
        description="How many the plan kept apart; they are in no other number but `misfits`.",
    )
    def quarantined(self) -> int:
        return self.seen.quarantined

    @field(
        source=_ROW,
        policy=CATALOG,
        description="How many came too many different at a time, so that their properties were not looked at.",
    )
    def unexamined(self) -> int:
        return self.seen.unexamined

    @field(source=_ROW, policy=CATALOG, size=3, description="Where they come from.")
    def sources(self) -> list[CatalogCount]:
        return _counts(self.seen.sources)

    @field(source=_ROW, policy=CATALOG, size=3, description="The platforms they come from.")
    def platforms(self) -> list[CatalogCount]:
        return _counts(self.seen.platforms)

    @field(source=_ROW, policy=CATALOG, size=10, description="Platform and version of the apps that send them.")
    def app_versions(self) -> list[CatalogCount]:
        return _counts(self.seen.versions)

    @field(source=_ROW, policy=CATALOG, size=5, description="Where they are not what the plan says.")
    def misfits(self) -> list[CatalogMisfit]:
        parted = [(*reason.partition(" "), count) for reason, count in self.seen.misfits.most_common()]
        return [CatalogMisfit(rule=rule, property=key, count=count) for rule, _, key, count in parted]

    @field(
        source=_ROW,
        policy=CATALOG,
        size=10,
        description="What they carry, also inside of objects and lists, by name; of identify and group, traits.",
    )
    def properties(self) -> list[CatalogProperty]:
        planned = {path for one in self.plan for path, _ in planned_paths(one.properties)}
        return [
            CatalogProperty(key=key, seen=seen, planned=key in planned)
            for key, seen in sorted(self.seen.properties.items())
        ]

    @field(
        source=Source.many("catalog", "day"),
        policy=CATALOG,
        size=30,
        weight=2,
        description="The last days, the oldest first; days without any are left out.",
    )
    async def days(self, info: Info, last: Days = 30) -> list[CatalogDay]:
        if not 1 <= last <= MOST_DAYS:
            raise InvalidInput(f"`last` is {last}; it may be 1 to {MOST_DAYS}.", path="last")
        services, now = info.context.services, info.context.services.clock.now()
        between = (now - now % DAY_MS - (last - 1) * DAY_MS, now + 1)
        found = await services.catalog.days(info.context.scope, between, [self.seen.key])
        return [
            CatalogDay(day=DateTime(day), count=one.count, quarantined=one.quarantined)
            for day, several in sorted(found.items())
            for one in several
        ]


@strawberry.type(description="One page of the catalogue, by name.")
class CatalogConnection(Connection[CatalogEntry]):
    """A page of the catalogue."""


async def catalog_page(
    context: Context, planned: bool | None, search: str | None, first: int | None, after: Cursor | None
) -> CatalogConnection:
    """A page of the workspace's catalogue."""
    plan: dict[tuple[str, str], list[EventDefinition]] = {}
    for event in context.services.contract.events.values():
        plan.setdefault(place(event.type, event.name), []).append(event)

    async def read(limit: int, behind: Any) -> list[Sightings]:
        among = {"among": [*plan]} if planned else {"but": [*plan]} if planned is False else {}
        return await context.services.catalog.page(context.scope, limit=limit, after=behind, search=search, **among)

    edges, page_info = await page(
        KEYSET,
        first,
        after,
        read=read,
        position=lambda one: (one.name, one.type),
        node=lambda one: CatalogEntry(seen=one, plan=plan.get(place(*one.key), [])),
    )
    return CatalogConnection(edges=edges, page_info=page_info)


def _counts(counts: Counter[str]) -> list[CatalogCount]:
    return [CatalogCount(name=name, count=count) for name, count in counts.most_common() if count]
