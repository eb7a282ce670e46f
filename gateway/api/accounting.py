"""Loss accounting: what became of all that was sent."""

from __future__ import annotations

from typing import Annotated

import strawberry

from gateway.api.context import Context
from gateway.api.ranges import RangeInput, moments
from gateway.api.scalars import DateTime
from gateway.pipeline.persons import SOURCE
from gateway.plugin import Policy, Source, attribute, field
from gateway.store.accounting import COUNTS, HOUR_MS, SourceHour

INTAKE = Policy("workspace:read")
MAX_HOURS = 1_000

_SUM = Source.document("accounting", "*")

SourceName = Annotated[str | None, strawberry.argument(description="Only this source; null for all.")]


@strawberry.type(description="Verdicts on messages: sent = accepted + duplicate + conflict + quarantined + refused.")
class IntakeCounts:
    """Sums of verdicts."""

    sent: int = attribute(source=_SUM, policy=INTAKE, description="Messages that were given a verdict.")
    accepted: int = attribute(source=_SUM, policy=INTAKE, description="Stored for good.")
    duplicate: int = attribute(source=_SUM, policy=INTAKE, description="Stored before; nothing changed.")
    conflict: int = attribute(
        source=_SUM, policy=INTAKE, description="With a messageId that was used before for something else."
    )
    quarantined: int = attribute(source=_SUM, policy=INTAKE, description="Kept apart; they cannot become events.")
    refused: int = attribute(source=_SUM, policy=INTAKE, description="Stored nowhere, on purpose.")
    replayed: int = attribute(
        source=_SUM,
        policy=INTAKE,
        description="Events that came out of quarantine then; they were sent before, and are in no other count.",
    )


@strawberry.type(description="What became of what one source sent within an hour.")
class IntakeHour:
    """One row."""

    source: str = attribute(
        source=_SUM,
        policy=INTAKE,
        description=f"The source; `{SOURCE}`: what the gateway itself stores, such as merges, consent and erasures.",
    )
    hour: DateTime = attribute(source=_SUM, policy=INTAKE, description="Where the hour begins, by the gateway's clock.")
    counts: IntakeCounts = attribute(source=_SUM, policy=INTAKE, description="Its verdicts.")


@strawberry.type(
    description="What became of all that was sent in a range of time, as of a second ago. What a process that was "
    "killed took in its last second appears within about a minute, what was stored under an answer of 503 within two."
)
class IntakeAccounting:
    """Rows and their sum."""

    found: strawberry.Private[list[SourceHour]]

    @field(source=_SUM, policy=INTAKE, description=f"The newest hours first, at most {MAX_HOURS:,} rows.", size=100)
    def rows(self) -> list[IntakeHour]:
        return [
            IntakeHour(source=row.source, hour=DateTime(row.hour), counts=_counts([row]))
            for row in self.found[:MAX_HOURS]
        ]

    @field(source=_SUM, policy=INTAKE, description="The sum of the rows.")
    def total(self) -> IntakeCounts:
        return _counts(self.found[:MAX_HOURS])

    @field(source=_SUM, policy=INTAKE, description="Whether there are more rows than these: ask for less time.")
    def more(self) -> bool:
        return len(self.found) > MAX_HOURS


async def intake_accounting(context: Context, range: RangeInput, source: str | None) -> IntakeAccounting:
    """The hours that the range touches."""
    services, now = context.services, context.services.clock.now()
    begin, end = moments(range, now)
    between = (begin - begin % HOUR_MS, end + 1 if range.last else end)  # the hour that begins just now too
    found = await services.accounting.hours(context.scope, between, now, source=source, limit=MAX_HOURS + 1)
    return IntakeAccounting(found=found)


def _counts(rows: list[SourceHour]) -> IntakeCounts:
    sums = {name: sum(row.counts[name] for row in rows) for name in COUNTS}
    return IntakeCounts(sent=sum(row.sent for row in rows), **sums)
