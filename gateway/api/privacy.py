"""Consent and erasure: what somebody agreed to, and taking out of the gateway whatever is known of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated

import strawberry

from gateway.api.consents import Consent, ConsentState, as_consents
from gateway.api.context import Context, Info
from gateway.api.mutations import InputError, UserError
from gateway.api.nodes import Node, split_id
from gateway.api.scalars import DateTime
from gateway.api.users import IdentityInput, IdentityType, UserBy, identity_by, user_id_by
from gateway.errors import TooLarge
from gateway.model.consent import PURPOSES
from gateway.model.identity import Identity, key_of
from gateway.pipeline.consenting import set_consent
from gateway.pipeline.persons import MOST_IDENTITIES
from gateway.plugin import ANYONE, Policy, Source, attribute, field
from gateway.store.erasures import Erasure as StoredErasure

ERASE = Policy("privacy:write")
CONSENT = Policy("privacy:write", subject=True)
_ERASURE = Source.document("erasures", "*")
_LONGEST = 500


@strawberry.enum(description="How far an erasure has come.")
class ErasureStatus(Enum):
    """Statuses."""

    RUNNING = strawberry.enum_value(
        "running", description="Nothing is taken from the user any more; what there was is being deleted."
    )
    DONE = strawberry.enum_value(
        "done", description="All is deleted, what had been on its way in when it began included."
    )


@strawberry.type(description="How much of a collection was, or would be, deleted.")
class ErasedCount:
    """A line of a receipt."""

    collection: str = attribute(source=_ERASURE, policy=ERASE, description="Which collection.")
    count: int = attribute(
        source=_ERASURE, policy=ERASE, description="How many rows; of the feed, how many were emptied."
    )


@strawberry.type(description="The receipt of an erasure. It does not say who was erased.")
class Erasure(Node):
    """A receipt."""

    erasure: strawberry.Private[StoredErasure]

    def global_id(self) -> str:
        return f"erasure_{self.erasure.id}"

    @field(source=Source.document("erasures", "status"), policy=ERASE, description="How far it has come.")
    def status(self) -> ErasureStatus:
        return ErasureStatus(self.erasure.status)

    @field(source=Source.document("erasures", "requestedAt"), policy=ERASE, description="When it was asked for.")
    def requested_at(self) -> DateTime:
        return DateTime(self.erasure.requested_at)

    @field(source=Source.document("erasures", "doneAt"), policy=ERASE, description="When it was done.")
    def done_at(self) -> DateTime | None:
        return None if self.erasure.done_at is None else DateTime(self.erasure.done_at)

    @field(source=Source.document("erasures", "reason"), policy=ERASE, description="Why, as the operator put it.")
    def reason(self) -> str:
        return self.erasure.reason

    @field(
        source=Source.document("erasures", "by"),
        policy=ERASE,
        description="The id of the API key that was used, as `keys list` shows it; null for a token without a key.",
    )
    def by(self) -> str | None:
        return self.erasure.by

    @field(source=_ERASURE, policy=ERASE, description="How many identities are suppressed by it.")
    def identity_count(self) -> int:
        return len(self.erasure.keys)

    @field(source=_ERASURE, policy=ERASE, description="What was deleted so far, by collection.", size=8)
    def collections(self) -> list[ErasedCount]:
        return _lines(self.erasure.counts)


@strawberry.input(description="A user to erase.")
class EraseUserInput:
    """An erasure."""

    user: UserBy = strawberry.field(description="The user: every identity they have now is erased with them.")
    reason: str = strawberry.field(description="Why; it is kept with the receipt, so name nobody in it.")
    dry_run: bool = strawberry.field(default=False, description="Only say what would be deleted.")


@strawberry.type(description="What became of `eraseUser`.")
class EraseUserPayload:
    """The answer of eraseUser."""

    erasure: Erasure | None = attribute(
        source=_ERASURE,
        policy=ERASE,
        description="The receipt, for `erasure(id:)` later; null after a dry run. Of a user who was erased before, the "
        "receipt of then.",
    )
    collections: list[ErasedCount] = attribute(
        source=_ERASURE, policy=ERASE, description="What there is of the user, by collection.", size=8
    )
    errors: list[UserError] = attribute(
        source=_ERASURE, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.input(description="Identities whose events are to be taken again.")
class LiftSuppressionInput:
    """The end of suppressions."""

    identities: list[IdentityInput] = strawberry.field(description="The identities, at most 100.")


@strawberry.type(description="What became of `liftSuppression`.")
class LiftSuppressionPayload:
    """The answer of liftSuppression."""

    lifted: int = attribute(
        source=Source.document("suppressions", "*"),
        policy=ERASE,
        description="How many of the identities were suppressed and are no longer.",
    )
    errors: list[UserError] = attribute(
        source=_ERASURE, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.input(description="What somebody says about each purpose; what is left out stays as it was.")
class PurposesInput:
    """A word about some purposes."""

    analytics: ConsentState | None = strawberry.field(default=None, description=PURPOSES["analytics"])
    personalization: ConsentState | None = strawberry.field(default=None, description=PURPOSES["personalization"])
    marketing: ConsentState | None = strawberry.field(default=None, description=PURPOSES["marketing"])
    sharing: ConsentState | None = strawberry.field(default=None, description=PURPOSES["sharing"])
    surveys: ConsentState | None = strawberry.field(default=None, description=PURPOSES["surveys"])


@strawberry.input(description="Consent that somebody gives or takes back.")
class SetConsentInput:
    """Consent."""

    user: UserBy | None = strawberry.field(
        default=None,
        description="Who says it: all identities they have now. With a user's own token, leave it out.",
    )
    identity: IdentityInput | None = strawberry.field(
        default=None, description="Or one identity, known already or not."
    )
    purposes: PurposesInput = strawberry.field(description="What they say.")
    source: str = strawberry.field(description="Where they said it, such as `banner 3` or `preferences`.")


@strawberry.type(description="What became of `setConsent`.")
class SetConsentPayload:
    """The answer of setConsent."""

    consents: list[Consent] = attribute(
        source=Source.many("consents", "identity"),
        policy=CONSENT,
        description="What holds for them now, by purpose.",
        size=5,
    )
    consistency_token: str | None = attribute(
        source=_ERASURE, policy=ANYONE, description="For `atLeast` in a query that shall see it."
    )
    errors: list[UserError] = attribute(
        source=_ERASURE, policy=ANYONE, description="What to correct; empty when all is well.", size=1
    )


@strawberry.type(description="What can be said about consent, and who can be erased.")
class Private:
    """Mutations about privacy; a part of the root."""

    @field(
        source=Source.many("consents", "identity"),
        policy=CONSENT,
        description="Say what a user consents to. Events are stamped with it from then on; what is done with earlier "
        "ones heeds it too. A user's own token speaks for that user.",
    )
    async def set_consent(
        self, info: Info, input: Annotated[SetConsentInput, strawberry.argument(description="Who says what.")]
    ) -> SetConsentPayload:
        context = info.context
        who = await _speaker(context, input)
        said = _said(input.purposes)
        if not isinstance(who, InputError) and not said:
            who = _wrong("NOTHING_SAID", "No purpose is named.", None, "purposes")
        if not isinstance(who, InputError) and not 0 < len(input.source.strip()) <= _LONGEST:
            who = _wrong("SOURCE", f"A source has 1 to {_LONGEST} characters.", None, "source")
        if isinstance(who, InputError):
            return SetConsentPayload(consents=[], consistency_token=None, errors=[who])
        services = context.services
        words, token = await set_consent(
            services.intake,
            services.events,
            services.privacy,
            context.scope,
            who,
            said,
            source=input.source.strip(),
            by=context.grant.key,
        )
        return SetConsentPayload(consents=as_consents(words), consistency_token=token, errors=[])

    @field(
        source=_ERASURE,
        policy=ERASE,
        description="Erase a user: from the answer on nothing of their identities is taken any more, and whatever the "
        "gateway holds of them is deleted, again after what was on its way in. Twice is once.",
        weight=100,
    )
    async def erase_user(
        self, info: Info, input: Annotated[EraseUserInput, strawberry.argument(description="Whom, and why.")]
    ) -> EraseUserPayload:
        context = info.context
        eraser, scope = context.services.eraser, context.scope
        if not input.reason.strip() or len(input.reason) > _LONGEST:
            return _not_erased(_wrong("REASON", f"A reason has 1 to {_LONGEST} characters.", None, "reason"))
        found = await _to_erase(context, input.user)
        if isinstance(found, InputError):
            return _not_erased(found)
        if isinstance(found, StoredErasure):
            return EraseUserPayload(erasure=Erasure(erasure=found), collections=[], errors=[])
        counts = _lines(await eraser.count(scope, found))
        if input.dry_run:
            return EraseUserPayload(erasure=None, collections=counts, errors=[])
        erasure = await eraser.erase(
            context.services.intake, scope, found, reason=input.reason.strip(), by=context.grant.key
        )
        return EraseUserPayload(erasure=Erasure(erasure=erasure), collections=counts, errors=[])

    @field(
        source=Source.document("suppressions", "*"),
        policy=ERASE,
        description="Take events of erased identities again, because the person asks for it. What was erased stays so.",
    )
    async def lift_suppression(
        self, info: Info, input: Annotated[LiftSuppressionInput, strawberry.argument(description="Whose.")]
    ) -> LiftSuppressionPayload:
        context = info.context
        if not 1 <= len(input.identities) <= 100:
            wrong = _wrong("IDENTITY_COUNT", "Name 1 to 100 identities.", None, "identities")
            return LiftSuppressionPayload(lifted=0, errors=[wrong])
        lifted = await context.services.eraser.lift(context.scope, [_identity(one) for one in input.identities])
        if lifted is None:
            hint = "Ask for the `erasure` and wait until it is done."
            wrong = _wrong("ERASURE_RUNNING", "One of them is still being erased.", hint, "identities")
            return LiftSuppressionPayload(lifted=0, errors=[wrong])
        return LiftSuppressionPayload(lifted=lifted, errors=[])


async def erasure_by(context: Context, key: str) -> Erasure | None:
    """The receipt with this id; None when there is none."""
    found = await context.services.eraser.get(context.scope, key)
    return None if found is None else Erasure(erasure=found)


async def _to_erase(context: Context, by: UserBy) -> Sequence[Identity] | StoredErasure | InputError:
    """The identities of the user; or the erasure that they are suppressed for."""
    scope, eraser = context.scope, context.services.eraser
    user, named = await user_id_by(context, by), identity_by(by)
    known = [] if user is None else await context.load.identities.load(user)
    identities = list(dict.fromkeys([*([] if named is None else [named]), *known]))
    keys = [key_of(scope.workspace, one.sk) for one in identities]
    if by.id and not keys:
        keys = [bytes.fromhex(split_id(by.id, "user")[1])]
    if keys and (before := await eraser.before(scope, keys)) is not None:
        return before
    if not identities:
        return _wrong("UNKNOWN_USER", "Nobody is known under this.", "Ask for `user` with the same words.", "user")
    if all(one.blocked for one in identities):
        return _wrong("NOBODY", "All who send no real id share this one: it is no person.", None, "user")
    if len(identities) > MOST_IDENTITIES:
        raise TooLarge(f"The user has more than {MOST_IDENTITIES:,} identities.", hint="Split them first.")
    return identities


async def _speaker(context: Context, given: SetConsentInput) -> list[Identity] | InputError:
    """The identities of the person who says something."""
    scope = context.scope
    one: Identity | None = scope.subject
    if scope.subject is not None:
        if given.user is not None or given.identity is not None:
            return _wrong("OTHER_IDENTITY", "This token speaks for its own user.", "Leave `user` out.")
        user = await context.subject_user()
    else:
        if (given.user is None) == (given.identity is None):
            return _wrong("NO_IDENTITY", "Whose consent is it?", "Name either `user` or `identity`.")
        if given.identity is not None:
            return _may_speak(context, [_identity(given.identity)])
        assert given.user is not None
        user, one = await user_id_by(context, given.user), identity_by(given.user)
        if user is None and one is None:
            return _wrong("UNKNOWN_USER", "Nobody is known under this.", None, "user")
    known = [] if user is None else await context.load.identities.load(user)
    return _may_speak(context, list(dict.fromkeys([*([] if one is None else [one]), *known])))


def _may_speak(context: Context, identities: list[Identity]) -> list[Identity] | InputError:
    suppressed, workspace = context.services.privacy.suppressed, context.scope.workspace
    if any(suppressed.has(workspace, one) for one in identities):
        return _wrong("SUPPRESSED", "This person's data was erased, and nothing of them is taken any more.", None)
    if any(one.blocked for one in identities):
        return _wrong("NOBODY", "All who send no real id share this one: it is no person.", None)
    return identities


def _said(given: PurposesInput) -> dict[str, bool]:
    states: Mapping[str, ConsentState | None] = {name: getattr(given, name) for name in PURPOSES}
    return {name: state is ConsentState.GRANTED for name, state in states.items() if state is not None}


def _identity(given: IdentityInput) -> Identity:
    return Identity("userId" if given.type is IdentityType.USER_ID else "anonymousId", given.value)


def _lines(counts: Mapping[str, int]) -> list[ErasedCount]:
    return [ErasedCount(collection=name, count=number) for name, number in sorted(counts.items()) if number]


def _not_erased(error: InputError) -> EraseUserPayload:
    return EraseUserPayload(erasure=None, collections=[], errors=[error])


def _wrong(code: str, message: str, hint: str | None, *path: str) -> InputError:
    return InputError(code=code, path=["input", *path], message=message, hint=hint)
