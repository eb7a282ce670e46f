"""Consent as somebody gives or takes it: an event for each identity, through the same intake as every event."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.persons import SOURCE
from gateway.privacy import Privacy
from gateway.store.consents import Word, latest, words_of
from gateway.store.events import Events


async def set_consent(
    intake: Intake,
    events: Events,
    privacy: Privacy,
    scope: Scope,
    identities: Collection[Identity],
    purposes: Mapping[str, bool],
    *,
    source: str,
    by: str | None,
) -> tuple[dict[str, Word], str | None]:
    """Store what these identities, all of one person, consent to from now on; what holds then, and a consistency token.

    Events that this process takes from here on are stamped with it, those of others within seconds. Raises
    Unavailable: nothing may have been stored, and the same may be said again.
    """
    said = {"purposes": dict(purposes), "source": source, "by": by}
    messages = [
        {"type": "consent", "name": "gateway.consent", one.type: one.value, "properties": said} for one in identities
    ]
    receipt = await intake.ingest(Delivery(scope.workspace, SOURCE, messages, system=True))
    words = [await privacy.words_of(scope.workspace, identities)]
    for event in (await events.get(scope, receipt.ids)).values():
        words.append(words_of(event))
        privacy.consented.said(scope.workspace, event.identity.sk, words[-1])
    return latest(words), receipt.consistency_token
