"""Whether there is what a question names: events, their properties, traits of users; else what was probably meant."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.contract import Contract, EventRule
from gateway.contract.shape import closest
from gateway.errors import InvalidInput
from gateway.model.scope import Scope
from gateway.store.known import Known
from gateway.store.users import Users


class Vocabulary:
    """The names of one contract and of what is stored."""

    def __init__(self, known: Known, users: Users) -> None:
        self._known = known
        self._users = users

    async def check(
        self,
        scope: Scope,
        contract: Contract,
        rules: Sequence[tuple[str, EventRule]],
        properties: Collection[tuple[str, str]] = (),
    ) -> None:
        """Whether there are such events and such properties of them: planned, or stored. `rules` come with the path of
        their argument; `properties`, as (argument, path), must be known of one of these events.

        Raises InvalidInput with what was probably meant.
        """
        names = await self._known.names(scope.workspace)
        planned = {one.name for one in contract.events.values()}
        for argument, rule in rules:
            if rule.event not in planned and rule.event not in names:
                raise _unknown(f"There is no event {rule.event!r}.", rule.event, {*planned, *names}, argument)
        for argument, rule in rules:
            for condition in rule.where:
                await self.check_property(scope, contract, [rule.event], condition.property, f"{argument}.where")
        events = list(dict.fromkeys(rule.event for _, rule in rules)) or names
        for argument, path in properties:
            await self.check_property(scope, contract, events, path, argument)

    async def check_property(
        self, scope: Scope, contract: Contract, events: Sequence[str], path: str, argument: str
    ) -> None:
        """Whether one of these events (none named: of all) has the property. Raises InvalidInput as `check` does."""
        events = events or await self._known.names(scope.workspace)
        known = {one.key for event in contract.events.values() if event.name in events for one in event.properties}
        if path.partition(".")[0] in known:
            return
        for event in events:
            known |= await self._known.properties(scope.workspace, event)
            if path in known:
                return
        for event in events:
            if await self._known.occurs(scope.workspace, event, path):
                return
        said = f"{events[0]!r} has" if len(events) == 1 else "None of the events has"
        no = "no" if len(events) == 1 else "a"
        raise _unknown(f"{said} {no} property {path!r}.", path, known, argument)

    async def check_trait(self, scope: Scope, contract: Contract, path: str, argument: str) -> None:
        """Whether users have the trait, or are meant to: it is planned of `identify`, or a persona has it. Raises
        InvalidInput as `check` does."""
        planned = {
            one.key for event in contract.events.values() if event.type == "identify" for one in event.properties
        }
        planned |= {key for persona in contract.personas.values() for key, _ in persona.traits}
        if path.partition(".")[0] in planned:
            return
        known = planned | await self._users.trait_paths(scope)
        if path not in known and not await self._users.any_with_trait(scope, path):
            raise _unknown(f"No user has a trait {path!r}.", path, known, argument)


def _unknown(message: str, word: str, known: Collection[str], argument: str) -> InvalidInput:
    meant = closest(word, sorted(known))
    some = ", ".join(sorted(known)[:20]) or "none yet"
    hint = f"Did you mean {meant!r}?" if meant else f"Known: {some}."
    return InvalidInput(message, hint=hint, path=argument)
