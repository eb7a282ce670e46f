"""What an operator decides about who is who: worked out beforehand, then stored as a system event like any event.

The event passes the one ingest function; what it changes is derived from it, as from every other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.errors import TooLarge
from gateway.identity.graph import Graph
from gateway.identity.past import person_at
from gateway.journeys.fold import Folded, fold
from gateway.model.event import Event
from gateway.model.identity import Decision, Identity, user_id_of
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery, Intake
from gateway.store.events import Events
from gateway.store.identities import Identities

#: The source that an operator's decisions belong to.
SOURCE = "gateway"
#: More events than this are not folded while somebody waits.
MOST_EVENTS = 50_000
MOST_IDENTITIES = 1_000


@dataclass(frozen=True, slots=True)
class Share:
    """One user before or after a decision. The numbers are None when there are too many events to count beforehand."""

    user: str
    identities: tuple[Identity, ...]
    events: int | None
    sessions: int | None
    journeys: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a decision changes: the users it is about before and after, and for each id that identities left, where
    they are now. `event` and its consistency `token` are None as long as nothing is stored."""

    before: tuple[Share, ...]
    after: tuple[Share, ...]
    moves: Mapping[str, frozenset[str]]
    event: Event | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Then:
    """A user as of a moment: the identities that were one person then, folded from their events up to then."""

    identities: tuple[Identity, ...]
    folded: Folded
    moment: int


class Persons:
    """Decides for operators, and looks back."""

    def __init__(
        self, intake: Intake, identities: Identities, events: Events, contract: Contract, clock: Clock
    ) -> None:
        self._intake = intake
        self._identities = identities
        self._events = events
        self._contract = contract
        self._clock = clock

    async def decide(
        self,
        scope: Scope,
        kind: Literal["merge", "split"],
        one: Collection[Identity],
        other: Collection[Identity],
        *,
        reason: str,
        by: str | None,
        store: bool,
    ) -> Outcome:
        """What the decision changes; with `store` it is made. Raises TooLarge, and Unavailable: nothing was stored."""
        if (count := len(one) + len(other)) > MOST_IDENTITIES:
            raise TooLarge(
                f"These are {count:,} identities; one decision is about at most {MOST_IDENTITIES:,}.",
                hint="Split what belongs elsewhere away first.",
            )
        latest = (self._clock.now(), 2**63 - 1, b"")
        outcome = await self._outcome(scope, Decision(kind, frozenset(one), frozenset(other), latest))
        if not store:
            return outcome
        anchor = min(one)
        sides = {"one": sorted(each.sk for each in one), "other": sorted(each.sk for each in other)}
        message = {
            "type": kind,
            "name": f"gateway.{kind}",
            anchor.type: anchor.value,
            "properties": {**sides, "reason": reason, "by": by},
        }
        receipt = await self._intake.ingest(Delivery(scope.workspace, SOURCE, [message], system=True))
        (key,) = receipt.ids
        event = (await self._events.get(scope, [key]))[key]
        return replace(outcome, event=event, token=receipt.consistency_token)

    async def then(self, scope: Scope, identity: Identity, moment: int) -> Then | None:
        """The user behind an identity at a moment (ms); None when there was no event yet. Raises TooLarge."""
        members, (edges, decisions) = await self._identities.group(scope, identity)
        people = person_at(identity, moment, members, edges, decisions.values())
        events = await self._all_of(scope, people)
        if events is None:
            raise TooLarge(f"The user has more than {MOST_EVENTS:,} events.", hint="Ask for the user of now.")
        past = [event for event in events if event.at <= moment]
        if not past:
            return None
        user = user_id_of(scope.workspace, people[0])
        contract = self._contract
        folded = await asyncio.to_thread(fold, user, past, contract.journeys, as_of=moment, segments=contract.grouping)
        return Then(tuple(people), folded, moment)

    async def _outcome(self, scope: Scope, decision: Decision) -> Outcome:
        workspace = scope.workspace
        members = await self._identities.members(workspace, decision.identities)
        groups = {member.group for member in members.values()}
        members |= await self._identities.group_members(workspace, groups)
        edges, decisions = await self._identities.group_history(workspace, groups)
        before = {identity: member.user for identity, member in members.items()}
        graph = Graph(workspace, members, edges, decisions)
        graph.decide(b"", decision)
        moves = graph.settle().moves
        after = {identity: graph.user_of(identity) for identity in before}
        old = {before[identity] for identity in decision.identities if identity in before} | moves.keys()
        new = {after[identity] for identity in before if before[identity] in old}
        old |= {before[identity] for identity in before if after[identity] in new}
        then, now = _by_user(before, old), _by_user(after, new)
        events = await self._all_of(
            scope, [one for identities in (*then.values(), *now.values()) for one in identities]
        )
        shares = await asyncio.to_thread(lambda: [self._shares(users, events) for users in (then, now)])
        return Outcome(shares[0], shares[1], moves)

    def _shares(self, users: Mapping[str, list[Identity]], events: list[Event] | None) -> tuple[Share, ...]:
        return tuple(self._share(user, identities, events) for user, identities in sorted(users.items()))

    def _share(self, user: str, identities: list[Identity], events: list[Event] | None) -> Share:
        if events is None:
            return Share(user, tuple(identities), None, None, None)
        sks = {identity.sk for identity in identities}
        mine = [event for event in events if event.sk in sks]
        if not mine:
            return Share(user, tuple(identities), 0, 0, 0)
        state = fold(user, mine, self._contract.journeys, as_of=self._clock.now()).state
        journeys = sum(run.run for run in state.runs.values())
        return Share(user, tuple(identities), state.events, state.sessions, journeys)

    async def _all_of(self, scope: Scope, identities: Iterable[Identity]) -> list[Event] | None:
        """The events of these identities in order; None when there are too many."""
        sks = sorted({identity.sk for identity in identities})
        if await self._events.count_of(scope, sks, at_most=MOST_EVENTS + 1) > MOST_EVENTS:
            return None
        return await self._events.of_identities(scope.workspace, sks)


def _by_user(users: Mapping[Identity, str], wanted: Collection[str]) -> dict[str, list[Identity]]:
    found: dict[str, list[Identity]] = {}
    for identity, user in sorted(users.items()):
        if user in wanted:
            found.setdefault(user, []).append(identity)
    return found
