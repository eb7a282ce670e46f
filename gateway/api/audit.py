"""The audit of instrumentation: the plan beside what comes in."""

from __future__ import annotations

from enum import Enum

import strawberry

from gateway.api.alerts import Severity
from gateway.api.context import Context
from gateway.api.ranges import RangeInput, moments
from gateway.api.scalars import DateTime
from gateway.errors import InvalidInput
from gateway.plugin import Policy, Source, attribute
from gateway.quality.auditing import MOST_DAYS
from gateway.quality.findings import AuditFinding as Found
from gateway.store.catalog import DAY_MS

AUDIT = Policy("workspace:read")
_AUDIT = Source.loader("audit")


@strawberry.enum(description="What kind of thing an audit found.")
class AuditFindingKind(Enum):
    """Kinds."""

    NEVER_SEEN = strawberry.enum_value("never_seen", description="Planned, and did not come.")
    UNPLANNED = strawberry.enum_value("unplanned", description="Came, and is not planned.")
    NEAR_DUPLICATE = strawberry.enum_value(
        "near_duplicate", description="A name that differs from another in case, separators, number or a letter."
    )
    DEAD_PROPERTY = strawberry.enum_value("dead_property", description="A planned property that its event never has.")
    TYPE_DRIFT = strawberry.enum_value("type_drift", description="Values of another type than planned, or than before.")
    MISFIT = strawberry.enum_value("misfit", description="Events that break another rule of the plan.")
    VOLUME = strawberry.enum_value("volume", description="A day with far more or fewer events than those before it.")
    SILENCE = strawberry.enum_value("silence", description="An event that came regularly and has stopped.")
    INCONSISTENT_IDS = strawberry.enum_value("inconsistent_ids", description="Ids that are used in more than one way.")
    LOSS = strawberry.enum_value("loss", description="A rising share of what is sent does not become events.")


@strawberry.type(description="How many come from one version of an app.")
class AuditShare:
    """A share."""

    platform: str = attribute(source=_AUDIT, policy=AUDIT, description="web, ios, android, mobile, server or unknown.")
    app_version: str | None = attribute(source=_AUDIT, policy=AUDIT, description="The app's version, where it is sent.")
    count: int = attribute(source=_AUDIT, policy=AUDIT, description="How many events.")


@strawberry.type(description="One thing to look at.")
class AuditFinding:
    """A finding."""

    kind: AuditFindingKind = attribute(source=_AUDIT, policy=AUDIT, description="What kind of thing it is.")
    severity: Severity = attribute(source=_AUDIT, policy=AUDIT, description="How soon to look.")
    subject: str = attribute(
        source=_AUDIT,
        policy=AUDIT,
        description="What it is about: an event, an event's property as in `Order Completed.total`, or a source.",
    )
    message: str = attribute(source=_AUDIT, policy=AUDIT, description="What is found.")
    fix: str = attribute(source=_AUDIT, policy=AUDIT, description="What to do.")
    evidence: list[str] = attribute(source=_AUDIT, policy=AUDIT, size=2, description="Numbers that show it.")
    shares: list[AuditShare] = attribute(
        source=_AUDIT, policy=AUDIT, size=3, description="Where it comes from, the most first, at most 10."
    )


@strawberry.type(description="What an audit found.")
class InstrumentationAudit:
    """An audit."""

    from_: DateTime = attribute(source=_AUDIT, policy=AUDIT, description="Where the range begins.", name="from")
    to: DateTime = attribute(source=_AUDIT, policy=AUDIT, description="Where it ends.")
    event_types: int = attribute(source=_AUDIT, policy=AUDIT, description="How many types of events were looked at.")
    senders: int = attribute(
        source=_AUDIT, policy=AUDIT, description="Of how many events, the newest, the ids were looked at."
    )
    findings: list[AuditFinding] = attribute(
        source=_AUDIT, policy=AUDIT, size=50, description="All there is, the most severe first."
    )


async def instrumentation_audit(context: Context, range: RangeInput) -> InstrumentationAudit:
    """Audit the caller's workspace. Raises InvalidInput, Unavailable."""
    services, now = context.services, context.services.clock.now()
    between = moments(range, now)
    if between[1] - between[0] > MOST_DAYS * DAY_MS:
        raise InvalidInput(f"The range is longer than {MOST_DAYS} days.", hint="Ask for less.", path="range")
    plan = [*services.contract.events.values()]
    done = await services.auditor.audit(context.scope, plan, (between[0], min(between[1], now)), now)
    return InstrumentationAudit(
        from_=DateTime(done.between[0]),
        to=DateTime(done.between[1]),
        event_types=done.event_types,
        senders=done.senders,
        findings=[_finding(one) for one in done.findings],
    )


def _finding(one: Found) -> AuditFinding:
    return AuditFinding(
        kind=AuditFindingKind(one.kind),
        severity=Severity(one.severity.value),
        subject=one.subject,
        message=one.message,
        fix=one.fix,
        evidence=[*one.evidence],
        shares=[
            AuditShare(platform=platform, app_version=version, count=count) for platform, version, count in one.shares
        ],
    )
