"""Whom flags are decided for: what the gateway knows of a user, under the names that rules use.

README.md lists the attributes. What the gateway knows stands under names that no request can set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.journeys.fold import settled
from gateway.model.consent import Consent, Purpose
from gateway.model.identity import Identity
from gateway.model.journey import UserState
from gateway.plugin import FlagContext

PURPOSE: Purpose = "personalization"
LONGEST_NAME = 255
#: Names, or beginnings of names, that only the gateway gives a value.
OWN = frozenset(
    {"anonymous", "consent", "events", "firstSeen", "journey", "lastSeen", "sessions", "targetingKey", "traits"}
    | {"userId"}
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One user as providers are told of them; `withheld`: they denied personalization, so that nothing is told."""

    context: FlagContext
    withheld: bool = False


def known_subject(
    state: UserState, identities: Sequence[Identity], consent: Consent, now: int, asked: Mapping[str, Any] | None = None
) -> Subject:
    """A user with events. `consent` is what they said; `now` is ms since 1970 UTC; `asked` comes with the request."""
    if consent.get(PURPOSE) is False:
        return _withheld(state.user)
    # A trait also stands under its bare name, as vendors' rules have it; there the gateway's own names are not for it.
    attributes = _foreign(asked) | _foreign(state.traits)
    attributes |= {f"traits.{name}": value for name, value in state.traits.items()}
    attributes |= _of_identities(identities) | {f"consent.{purpose}": said for purpose, said in consent.items()}
    attributes |= {
        "firstSeen": state.first_seen,
        "lastSeen": state.last_seen,
        "events": state.events,
        "sessions": state.sessions,
    }
    for key, last in state.runs.items():
        run = settled(last, now)
        attributes |= {f"journey.{key}.status": run.status.value, f"journey.{key}.run": run.run}
        if run.stage is not None:
            attributes[f"journey.{key}.stage"] = run.stage
    return Subject(FlagContext(state.user, attributes))


def unknown_subject(
    key: str, identities: Sequence[Identity], consent: Consent, asked: Mapping[str, Any] | None = None
) -> Subject:
    """Somebody without events, under the key they would have as a user."""
    if consent.get(PURPOSE) is False:
        return _withheld(key)
    said = {f"consent.{purpose}": granted for purpose, granted in consent.items()}
    return Subject(FlagContext(key, _foreign(asked) | _of_identities(identities) | said))


def _withheld(key: str) -> Subject:
    return Subject(FlagContext(key, {f"consent.{PURPOSE}": False}), withheld=True)


def _of_identities(identities: Sequence[Identity]) -> dict[str, Any]:
    known = next((one.value for one in identities if one.type == "userId"), None)
    return {"anonymous": known is None} | ({} if known is None else {"userId": known})


def _foreign(given: Mapping[str, Any] | None) -> dict[str, Any]:
    named = {name: value for name, value in (given or {}).items() if len(name) <= LONGEST_NAME}
    return {name: value for name, value in named.items() if name.partition(".")[0] not in OWN}
