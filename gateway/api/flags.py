"""Flags of one user, and what of them a frontend has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any

import strawberry
from strawberry.scalars import JSON

from gateway.api.context import Context, Info
from gateway.api.journeys import JOURNEYS
from gateway.api.mutations import SEND, SOURCE, InputError, UserError, sender_of, wrong
from gateway.errors import InvalidInput
from gateway.flags import Decision, Subject, known_subject, unknown_subject
from gateway.model.event import Verdict
from gateway.model.identity import Identity, digest, user_id_of
from gateway.model.journey import UserState
from gateway.pipeline.intake import Delivery
from gateway.plugin import ANYONE, Source, attribute, field

#: Keys of one `flags`, and exposures of one `recordExposure`.
MOST_KEYS = 100
LONGEST_KEY = 255
#: The event that says a frontend used a flag.
EXPOSED = "Flag Exposed"
#: One exposure of a user, flag, variant and reason counts in so long a window, that of a session's pause.
WINDOW_MS = 30 * 60_000

_FLAGS = Source.loader("flags")
_RECEIPT = Source.loader("intake")

Keys = Annotated[
    list[strawberry.ID] | None,
    strawberry.argument(description=f"Keys of flags, at most {MOST_KEYS}; null for all that the providers can list."),
]


@strawberry.enum(name="FlagReason", description="Why a flag has its value, in OpenFeature's words.")
class Why(Enum):
    """Reasons."""

    STATIC = strawberry.enum_value("STATIC", description="It has the same value for everybody.")
    DEFAULT = strawberry.enum_value("DEFAULT", description="No rule is meant for this user.")
    TARGETING_MATCH = strawberry.enum_value("TARGETING_MATCH", description="A rule is meant for this user.")
    SPLIT = strawberry.enum_value("SPLIT", description="The user's key falls into the share that gets it.")
    DISABLED = strawberry.enum_value("DISABLED", description="The flag is switched off.")
    UNKNOWN = strawberry.enum_value("UNKNOWN", description="The provider does not say.")
    ERROR = strawberry.enum_value("ERROR", description="It could not be decided: use your own default.")


@strawberry.type(description="A feature flag as it is decided for one user.")
class Flag:
    """A decided flag."""

    decision: strawberry.Private[Decision]

    @field(source=_FLAGS, policy=JOURNEYS, description="The flag's key.")
    def key(self) -> strawberry.ID:
        return strawberry.ID(self.decision.key)

    @field(
        source=_FLAGS, policy=JOURNEYS, description="Its value for the user; null when your own default is to be used."
    )
    def value(self) -> JSON | None:
        return None if self.decision.value is None else JSON(self.decision.value)

    @field(source=_FLAGS, policy=JOURNEYS, description="The name of the value, if it has one.")
    def variant(self) -> str | None:
        return self.decision.variant

    @field(source=_FLAGS, policy=JOURNEYS, description="Why it has this value, for programs.")
    def reason(self) -> Why:
        return Why(self.decision.reason.value)

    @field(source=_FLAGS, policy=JOURNEYS, description="Why it has this value, in words to be shown.")
    def because(self) -> str:
        return self.decision.because

    @field(
        source=_FLAGS,
        policy=JOURNEYS,
        description="What went wrong, by OpenFeature's code (`FLAG_NOT_FOUND`, `GENERAL` …); null when nothing did.",
    )
    def error_code(self) -> str | None:
        return self.decision.error


def checked_keys(keys: Sequence[str] | None) -> list[str] | None:
    """The keys that are asked for. Raises InvalidInput."""
    if keys is None:
        return None
    if len(keys) > MOST_KEYS:
        raise InvalidInput(f"`keys` has {len(keys):,} keys.", hint=f"Ask for at most {MOST_KEYS}.", path="keys")
    if any(not 0 < len(key) <= LONGEST_KEY for key in keys):
        raise InvalidInput("A flag's key is empty or too long.", hint=f"It has 1 to {LONGEST_KEY} characters.")
    return list(keys)


async def decided(context: Context, keys: Sequence[str] | None, subject: Subject) -> list[Decision]:
    """The flags of a user of the caller's workspace."""
    return await context.services.flags.evaluate(context.scope.workspace, keys, subject)


async def subject_of(
    context: Context, state: UserState, identities: Sequence[Identity], asked: Mapping[str, Any] | None = None
) -> Subject:
    """A user as providers are told of them; `asked` are attributes that came with the request."""
    consent = _consent(context, await context.load.consents.load(tuple(identities)))
    return known_subject(state, identities, consent, context.services.clock.now(), asked)


async def subject_behind(
    context: Context, identity: Identity, user: str | None, asked: Mapping[str, Any] | None = None
) -> Subject:
    """Whoever is or will be behind an identity; `user` is the id it has now, if it has one."""
    state = None if user is None else await context.load.users.load(user)
    if user is not None and state is not None:
        return await subject_of(context, state, await context.load.identities.load(user), asked)
    consent = _consent(context, await context.load.consents.load((identity,)))
    # The id the first event will give them: what is decided by shares of users stays when it comes.
    return unknown_subject(user_id_of(context.scope.workspace, identity), [identity], consent, asked)


def _consent(context: Context, said: Mapping[str, bool]) -> dict[str, bool]:
    return dict(said) if context.services.privacy.unsaid else {"personalization": False, **said}


# -- exposures ----------------------------------------------------------------------------------------------------


@strawberry.input(description="A flag that was used, as `flags` gave it.")
class ExposureInput:
    """One exposure."""

    key: strawberry.ID = strawberry.field(description="The flag's key.")
    variant: str | None = strawberry.field(default=None, description="The variant the user got, if it has one.")
    value: JSON | None = strawberry.field(default=None, description="The value the user got, if it has no variant.")
    reason: Why | None = strawberry.field(default=None, description="The reason it came with.")


@strawberry.input(description="Flags that a frontend has used for a user.")
class RecordExposureInput:
    """Exposures of one user."""

    exposures: list[ExposureInput] = strawberry.field(description=f"Which, at most {MOST_KEYS}.")
    user_id: str | None = strawberry.field(
        default=None, description="Whose they are, if known. With a user's own token, leave it out."
    )
    anonymous_id: str | None = strawberry.field(
        default=None, description="The browser or device they were used on. With a user's own token, leave it out."
    )


@strawberry.type(description="What became of `recordExposure`.")
class RecordExposurePayload:
    """The answer of recordExposure."""

    recorded: int = attribute(source=_RECEIPT, policy=ANYONE, description="How many became events now.")
    known: int = attribute(
        source=_RECEIPT, policy=ANYONE, description="How many were recorded before, within the same half hour."
    )
    consistency_token: str | None = attribute(
        source=_RECEIPT, policy=ANYONE, description="For `atLeast` in a query that shall see the events."
    )
    errors: list[UserError] = attribute(
        source=_RECEIPT, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What can be said of flags.")
class Exposing:
    """Mutations of exposures."""

    @field(
        source=_RECEIPT,
        policy=SEND,
        description="Say that a user has met flags: each becomes an event `Flag Exposed` with `key`, `variant`, "
        "`value` and `reason`, once in each half hour (UTC) per user, flag, variant and reason, however often it is "
        "said. Asking for `flags` records nothing: what was fetched need not have been shown.",
    )
    async def record_exposure(
        self, info: Info, input: Annotated[RecordExposureInput, strawberry.argument(description="What was met.")]
    ) -> RecordExposurePayload:
        sender = sender_of(info.context.scope, input.user_id, input.anonymous_id)
        if not isinstance(sender, InputError) and len(input.exposures) > MOST_KEYS:
            sender = wrong("TOO_MANY", f"At most {MOST_KEYS} at a time.", "Send several.", "input", "exposures")
        if not isinstance(sender, InputError) and any(not 0 < len(one.key) <= LONGEST_KEY for one in input.exposures):
            sender = wrong("KEY", "A flag's key is empty or too long.", None, "input", "exposures")
        if isinstance(sender, InputError):
            return RecordExposurePayload(recorded=0, known=0, consistency_token=None, errors=[sender])
        return await _record(info.context, sender, input.exposures)


async def _record(
    context: Context, sender: dict[str, Any], exposures: Sequence[ExposureInput]
) -> RecordExposurePayload:
    window = context.services.clock.now() // WINDOW_MS
    messages = {message["messageId"]: message for message in (_message(sender, one, window) for one in exposures)}
    delivery = Delivery(context.scope.workspace, SOURCE, list(messages.values()))
    receipt = await context.services.intake.ingest(delivery) if messages else None
    if receipt is None:
        return RecordExposurePayload(recorded=0, known=0, consistency_token=None, errors=[])
    # The same with other words: it was recorded, which is all that counts.
    known = receipt.duplicate + receipt.conflict + len(exposures) - len(messages)
    problems = [one for one in receipt.problems if one.verdict is not Verdict.CONFLICT]
    return RecordExposurePayload(
        recorded=receipt.accepted,
        known=known,
        consistency_token=receipt.consistency_token,
        errors=[wrong(one.code.upper(), one.message, None, "input", "exposures") for one in problems],
    )


def _message(sender: Mapping[str, Any], exposure: ExposureInput, window: int) -> dict[str, Any]:
    """The event, with an id that is the same for the same exposure in the same window."""
    reason = None if exposure.reason is None else str(exposure.reason.value)
    properties = {"key": exposure.key, "variant": exposure.variant, "value": exposure.value, "reason": reason}
    told = {name: value for name, value in properties.items() if value is not None}
    which = (
        str(sender.get("userId")),
        str(sender.get("anonymousId")),
        exposure.key,
        str(exposure.variant),
        str(reason),
    )
    value = "" if exposure.variant is not None else repr(exposure.value)
    key = digest("exposure", *which, value, str(window)).hex()
    kept = {name: value for name, value in sender.items() if value is not None}
    return {"type": "track", "event": EXPOSED, "messageId": key, "properties": told, **kept}
