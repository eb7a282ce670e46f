"""What can be sent: events, through the same intake as everything else."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.context import Context, Info
from gateway.api.planned.plan import plan_of
from gateway.api.quarantine import REPLAY, ReplayQuarantineInput, ReplayQuarantinePayload, replay_quarantine
from gateway.api.scalars import DateTime, TrackedEvents, iso
from gateway.model.event import Receipt
from gateway.model.event import Verdict as Judged
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery
from gateway.plugin import ANYONE, Policy, Source, attribute, field

SEND = Policy("events:write", subject=True)

#: The source that events sent here belong to; a part of every event's id.
SOURCE = "graphql"

_RECEIPT = Source.loader("intake")

#: That one `track` sends.
MOST_EVENTS = 100
_RECEIPT_FIELDS = ("event_id", "verdict", "consistency_token")
_NOT_SENT: dict[str, Any] = {**dict.fromkeys(_RECEIPT_FIELDS), "warnings": []}


@strawberry.enum(description="What became of an event that was sent.")
class Verdict(Enum):
    """Verdicts."""

    ACCEPTED = strawberry.enum_value("accepted", description="Stored for good.")
    DUPLICATE = strawberry.enum_value("duplicate", description="It was stored before; nothing changed.")
    CONFLICT = strawberry.enum_value("conflict", description="Its messageId was used before for something else.")
    QUARANTINED = strawberry.enum_value("quarantined", description="It cannot become an event; it is kept apart.")
    REFUSED = strawberry.enum_value("refused", description="Nothing of it is stored, on purpose.")


@strawberry.interface(description="Something wrong with what was sent, for the sender to correct.")
class UserError:
    """An error of a mutation."""

    code: str = attribute(source=_RECEIPT, policy=ANYONE, description="What is wrong, for programs; it stays the same.")
    path: list[str] = attribute(source=_RECEIPT, policy=ANYONE, description="Where in the arguments.", size=1)
    message: str = attribute(source=_RECEIPT, policy=ANYONE, description="What is wrong, for people.")
    hint: str | None = attribute(source=_RECEIPT, policy=ANYONE, description="What to do about it.")


@strawberry.type(description="A value in the input that cannot be taken.")
class InputError(UserError):
    """A wrong input."""


@strawberry.input(description="Something the user did.")
class TrackInput:
    """A track call."""

    event: str | None = strawberry.field(default=None, description="The event's name, as the tracking plan has it.")
    properties: JSON | None = strawberry.field(default=None, description="An object with the event's properties.")
    timestamp: DateTime | None = strawberry.field(default=None, description="When it happened; now if left out.")
    message_id: str | None = strawberry.field(
        default=None, description="Your own id of the event, so that sending it again changes nothing."
    )
    user_id: str | None = strawberry.field(
        default=None, description="Who did it, if known. With a user's own token, leave it out."
    )
    anonymous_id: str | None = strawberry.field(
        default=None, description="The browser or device it happened on. With a user's own token, leave it out."
    )
    events: TrackedEvents | None = strawberry.field(
        default=None,
        description=f"Instead of `event`: up to {MOST_EVENTS} events of the tracking plan, typed. For the identities "
        "and the time that one of them does not say, those of this input count.",
    )


@strawberry.input(description="Who a user is.")
class IdentifyInput:
    """An identify call."""

    user_id: str | None = strawberry.field(
        default=None, description="The userId. With a user's own token, leave it out."
    )
    anonymous_id: str | None = strawberry.field(
        default=None, description="An anonymousId that belongs to the userId from now on."
    )
    traits: JSON | None = strawberry.field(default=None, description="An object with what is known about the user.")
    timestamp: DateTime | None = strawberry.field(default=None, description="Since when; now if left out.")
    message_id: str | None = strawberry.field(
        default=None, description="Your own id of the call, so that sending it again changes nothing."
    )


@strawberry.type(description="What became of an event that was sent.")
class Sent:
    """What the answers of both mutations have; it is no type of the API itself."""

    event_id: strawberry.ID | None = attribute(
        source=_RECEIPT,
        policy=ANYONE,
        description="The event's id for `node`; null when it is not stored. Durable once it is answered.",
    )
    verdict: Verdict | None = attribute(
        source=_RECEIPT, policy=ANYONE, description="What became of the event; null when it was not sent on."
    )
    consistency_token: str | None = attribute(
        source=_RECEIPT,
        policy=ANYONE,
        description="For `atLeast` in a query that shall see the event; null when it is not stored.",
    )
    warnings: list[str] = attribute(
        source=_RECEIPT,
        policy=ANYONE,
        description="Where an event that was taken is not what the plan says, if the gateway is to tell its senders.",
        size=1,
    )
    errors: list[UserError] = attribute(
        source=_RECEIPT, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What became of one of several events.")
class TrackReceipt:
    """One of `TrackInput.events`."""

    event_id: strawberry.ID | None = attribute(
        source=_RECEIPT, policy=ANYONE, description="The event's id for `node`; null when it is not stored."
    )
    verdict: Verdict | None = attribute(
        source=_RECEIPT, policy=ANYONE, description="What became of the event; null when it was not sent on."
    )
    consistency_token: str | None = attribute(
        source=_RECEIPT,
        policy=ANYONE,
        description="For `atLeast` in a query that shall see the event; null when it is not stored.",
    )


@strawberry.type(description="What became of `track`.")
class TrackPayload(Sent):
    """The answer of track."""

    events: list[TrackReceipt] = attribute(
        source=_RECEIPT,
        policy=ANYONE,
        description="What became of `events`, in their order; the fields beside it are those of the first. Empty "
        "without `events`.",
        size=MOST_EVENTS,
    )


@strawberry.type(description="What became of `identify`.")
class IdentifyPayload(Sent):
    """The answer of identify."""


@strawberry.type(description="What can be sent.")
class Mutation:
    """The root of mutations."""

    @field(
        source=_RECEIPT,
        policy=SEND,
        description="Send that something happened. A user's own token sends for that user only.",
    )
    async def track(
        self, info: Info, input: Annotated[TrackInput, strawberry.argument(description="What happened.")]
    ) -> TrackPayload:
        if input.events is not None:
            return await _track_all(info, input, input.events)
        if input.event is None:
            return _refused(wrong("NO_EVENT", "What happened?", "Send `event` or `events`.", "input", "event"))
        sender = sender_of(info.context.scope, input.user_id, input.anonymous_id)
        if isinstance(sender, InputError):
            return _refused(sender)
        content = {"type": "track", "event": input.event, "properties": input.properties}
        sent = await _send(info.context, content | sender, input.timestamp, input.message_id)
        return TrackPayload(**sent, events=[])

    @field(
        source=_RECEIPT,
        policy=SEND,
        description="Say who a user is: traits, and an anonymousId that is theirs. Not for visitors' tokens.",
    )
    async def identify(
        self, info: Info, input: Annotated[IdentifyInput, strawberry.argument(description="Who it is.")]
    ) -> IdentifyPayload:
        scope = info.context.scope
        sender = sender_of(scope, input.user_id, input.anonymous_id)
        if scope.visitor:
            sender = wrong(
                "VISITOR", "A visitor's token does not say who somebody is.", "Identify from your server.", "input"
            )
        if isinstance(sender, InputError):
            return IdentifyPayload(event_id=None, verdict=None, consistency_token=None, warnings=[], errors=[sender])
        content = {"type": "identify", "traits": input.traits}
        return IdentifyPayload(**await _send(info.context, content | sender, input.timestamp, input.message_id))

    @field(
        source=Source.many("quarantine", "workspace"),
        policy=REPLAY,
        description="Send quarantined messages through intake again, mended by a patch or as they are. Those that "
        "become events leave quarantine; twice is once.",
        weight=500,
    )
    async def replay_quarantine(
        self, info: Info, input: Annotated[ReplayQuarantineInput, strawberry.argument(description="Which, and how.")]
    ) -> ReplayQuarantinePayload:
        return await replay_quarantine(info.context, input)


async def _track_all(info: Info, input: TrackInput, given: TrackedEvents) -> TrackPayload:
    """Each of them on its own account, committed together. Raises Unavailable as `_send` does."""
    if input.event is not None or input.properties is not None or input.message_id is not None:
        told = "`event`, `properties` and `messageId` are of one event, `events` of several."
        return _refused(wrong("ONE_OR_SEVERAL", told, "Send one or the other.", "input", "events"))
    if not 0 < len(given) <= MOST_EVENTS:
        told = f"There are {len(given)} events; 1 to {MOST_EVENTS} can be sent."
        return _refused(
            wrong("TOO_MANY_EVENTS" if given else "NO_EVENT", told, "Send them in parts.", "input", "events")
        )
    plan, scope = plan_of(info), info.context.scope

    async def one(index: int, event: dict[str, Any]) -> dict[str, Any]:
        own = event.get("userId") is not None or event.get("anonymousId") is not None
        ids = (event.get("userId"), event.get("anonymousId")) if own else (input.user_id, input.anonymous_id)
        sender = sender_of(scope, *ids)
        if isinstance(sender, InputError):
            sent = {**_NOT_SENT, "errors": [sender]}
        else:
            at = input.timestamp if event.get("timestamp") is None else event["timestamp"]
            sent = await _send(info.context, plan.message(event["event"]) | sender, at, event.get("messageId"))
        for error in sent["errors"]:
            error.path[1:1] = ["events", str(index)]
        return sent

    answers = await asyncio.gather(*(one(index, event) for index, event in enumerate(given)))
    errors = [error for answer in answers for error in answer["errors"]]
    warnings = [warning for answer in answers for warning in answer["warnings"]]
    events = [TrackReceipt(**{key: answer[key] for key in _RECEIPT_FIELDS}) for answer in answers]
    return TrackPayload(**{**answers[0], "errors": errors, "warnings": warnings}, events=events)


def _refused(error: InputError) -> TrackPayload:
    return TrackPayload(**_NOT_SENT, errors=[error], events=[])


def sender_of(scope: Scope, user_id: str | None, anonymous_id: str | None) -> dict[str, Any] | InputError:
    """The identities to send with: of a subject its own and no other, else those given."""
    given = {"userId": user_id, "anonymousId": anonymous_id}
    if scope.subject is None:
        if user_id is None and anonymous_id is None:
            return wrong("NO_IDENTITY", "Whose event is it?", "Send a userId or an anonymousId.", "input")
        return given
    for name, value in given.items():
        if value is not None and Identity(name, value) != scope.subject:  # type: ignore[arg-type]
            return wrong(
                "OTHER_IDENTITY", "This token sends for its own user only.", f"Leave {name} out.", "input", name
            )
    return {scope.subject.type: scope.subject.value}


async def _send(context: Context, content: dict[str, Any], at: int | None, message_id: str | None) -> dict[str, Any]:
    """The fields of the payload. Raises Unavailable: nothing was stored then, and the same may be sent again."""
    content |= {"timestamp": None if at is None else iso(at), "messageId": message_id}
    message = {key: value for key, value in content.items() if value is not None}
    receipt = await context.services.intake.ingest(Delivery(context.scope.workspace, SOURCE, [message]))
    verdict = _verdict(receipt)
    stored = verdict in (Judged.ACCEPTED, Judged.DUPLICATE)
    return {
        "event_id": strawberry.ID(f"event_{receipt.ids[0].hex()}") if stored else None,
        "verdict": Verdict(verdict.value),
        "consistency_token": receipt.consistency_token,
        "errors": [wrong(problem.code.upper(), problem.message, None, "input") for problem in receipt.problems],
        "warnings": [warning.message for warning in receipt.warnings],
    }


def _verdict(receipt: Receipt) -> Judged:
    return next(verdict for verdict in Judged if receipt.counts()[verdict.value])


def wrong(code: str, message: str, hint: str | None, *path: str) -> InputError:
    """An error of a mutation's input."""
    return InputError(code=code, path=list(path), message=message, hint=hint)
