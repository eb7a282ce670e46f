"""Changing the contract together: one team proposes, the owners of the files agree, and then it counts.

Whoever proposes never approves. Every team that owns one of the files, but for the proposer's own, has to; when no
other team owns any, somebody else with the right to approve. What is applied is worked out anew on top of the version
that counts then; where others changed the same files meanwhile nothing is applied.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from gateway.clock import Clock, random_id
from gateway.contract.changes import Grade
from gateway.errors import ContractError, NotFound
from gateway.model.actor import Actor
from gateway.model.scope import Scope
from gateway.quality.history import History
from gateway.quality.proposed import Check, Files, Outcome, check_files, outcome
from gateway.quality.refusing import Refused, checked_text
from gateway.store.contracts import Version, VersionMoved
from gateway.store.proposals import Proposal, Remark, Status
from gateway.store.proposals import Proposals as Stored

MOST_OPEN = 200
MOST_COMMENTS = 200
LONGEST_NOTE = 2_000

_REMEMBERED = 16  # each holds a contract
_TRIES = 5


class Proposals:
    """Proposals of all workspaces; one per process."""

    def __init__(self, stored: Stored, history: History, clock: Clock, check: Check | None = None) -> None:
        """What `check` refuses is never applied: whether the API can be built with it."""
        self.stored = stored
        self._check = check
        self._history = history
        self._clock = clock
        self._outcomes: OrderedDict[tuple[str, int], Outcome] = OrderedDict()

    async def propose(self, scope: Scope, by: Actor, files: Files, note: str) -> tuple[Proposal, Outcome]:
        """Ask for a change. Raises Refused, or ContractError with every mistake that the whole would have."""
        _check_key(by)
        note = checked_text("note", note, LONGEST_NOTE)
        current = await self._current()
        check_files(files, current.files)
        proposal = Proposal(random_id(), scope.workspace, "open", current.number, files, note, by, self._clock.now())
        found = await self.outcome(proposal)
        self._check_outcome(found)
        if await self.stored.count_open(scope, at_most=MOST_OPEN) >= MOST_OPEN:
            raise Refused("TOO_MANY", f"{MOST_OPEN} proposals are open.", hint="Apply, reject or withdraw some first.")
        await self.stored.add(proposal)
        return proposal, found

    async def get(self, scope: Scope, key: str) -> Proposal:
        """Raises NotFound."""
        found = await self.stored.get(scope, key)
        if found is None:
            raise NotFound("There is no such proposal.", hint="`proposals` lists those there are.")
        return found

    async def outcome(self, proposal: Proposal) -> Outcome:
        """What it would make of the contract now; of one that has ended, what it made of the one it was based on."""
        ended = proposal.status not in ("open", "approved")
        current = await self._history.versions.get(proposal.base) if ended else await self._current()
        if current is None:
            return Outcome(proposal.base)
        place = (proposal.id, current.number)
        found = self._outcomes.get(place)
        if found is None:
            base = current if current.number == proposal.base else await self._history.versions.get(proposal.base)
            before = await self._history.contract(current)
            base_files: Mapping[str, str] = {} if base is None else base.files
            found = await asyncio.to_thread(outcome, proposal.files, base_files, current, before, self._check)
            self._outcomes[place] = found
            if len(self._outcomes) > _REMEMBERED:
                self._outcomes.popitem(last=False)
        return found

    async def before(self, proposal: Proposal) -> Mapping[str, str]:
        """The files it was made on top of."""
        base = await self._history.versions.get(proposal.base)
        return {} if base is None else base.files

    def waits_for(self, proposal: Proposal, found: Outcome) -> tuple[str, ...]:
        """The teams that have yet to approve; `*` is anybody else who may. Nobody, once it is approved."""
        if proposal.status != "open":
            return ()
        given = {team for one in proposal.approvals for team in one.by.teams}
        others = found.owners - {*proposal.by.teams}
        waits = others - given
        return tuple(sorted(waits)) if others else () if proposal.approvals else ("*",)

    async def comment(self, scope: Scope, by: Actor, key: str, text: str) -> Proposal:
        """Say something about it, at any time. Raises NotFound, Refused."""
        text = checked_text("text", text, LONGEST_NOTE)
        for _ in range(_TRIES):
            proposal = await self.get(scope, key)
            if len(proposal.comments) >= MOST_COMMENTS:
                raise Refused("TOO_MANY", f"It has {MOST_COMMENTS} comments.", hint="Propose it anew.")
            said = (*proposal.comments, Remark(by, self._clock.now(), text))
            if (changed := await self.stored.change(replace(proposal, comments=said))) is not None:
                return changed
        raise _busy()

    async def approve(
        self, scope: Scope, by: Actor, key: str, note: str, *, apply: bool, allow_breaking: bool
    ) -> Proposal:
        """Agree; the last approval that is needed applies it at once if `apply`. Raises NotFound, Refused,
        ContractError."""
        _check_key(by)
        note = checked_text("note", note, LONGEST_NOTE, least=0)
        for _ in range(_TRIES):
            proposal = await self.get(scope, key)
            _check_status(proposal, "open")
            found = await self.outcome(proposal)
            self._check_outcome(found)
            self._check_approver(proposal, found, by)
            _check_breaking(found, allow_breaking)
            said = (*proposal.approvals, Remark(by, self._clock.now(), note))
            approved = replace(proposal, approvals=said)
            if not self.waits_for(approved, found):
                approved = replace(approved, status="approved")
            changed = await self.stored.change(approved)
            if changed is None:
                continue
            if changed.status == "approved" and apply:
                return await self.apply(scope, key, allow_breaking=allow_breaking)
            return changed
        raise _busy()

    async def apply(self, scope: Scope, key: str, *, allow_breaking: bool) -> Proposal:
        """Make an approved one count, on top of what counts now. Twice is once. Raises NotFound, Refused,
        ContractError."""
        for _ in range(_TRIES):
            proposal = await self.get(scope, key)
            if proposal.status == "applied":
                return proposal
            _check_status(proposal, "approved")
            found = await self.outcome(proposal)
            self._check_outcome(found)
            _check_breaking(found, allow_breaking)
            assert found.contract is not None
            try:
                version, _ = await self._history.versions.apply(
                    found.contract,
                    now=self._clock.now(),
                    by=f"proposal {proposal.id}",
                    note=proposal.note,
                    onto=found.number,
                )
            except VersionMoved:
                continue
            # Where the process ends here, whoever applies it again finds the same texts, and writes this.
            applied = replace(proposal, status="applied", version=version.number, base=found.number)
            if (changed := await self.stored.change(applied)) is not None:
                return changed
        raise _busy()

    async def end(self, scope: Scope, by: Actor, key: str, status: Status, why: str) -> Proposal:
        """Reject it, or withdraw one's own. Raises NotFound, Refused."""
        _check_key(by)
        why = checked_text("reason", why, LONGEST_NOTE, least=1 if status == "rejected" else 0)
        for _ in range(_TRIES):
            proposal = await self.get(scope, key)
            _check_status(proposal, "open", "approved")
            if status == "withdrawn" and by.key != proposal.by.key and not {*by.teams} & {*proposal.by.teams}:
                raise Refused("NOT_YOURS", "Only who proposed it withdraws it.", hint="Reject it instead.")
            ended = replace(proposal, status=status, ended=Remark(by, self._clock.now(), why))
            if (changed := await self.stored.change(ended)) is not None:
                return changed
        raise _busy()

    async def _current(self) -> Version:
        current = await self._history.versions.newest()
        if current is None:
            raise Refused("NO_CONTRACT", "No contract is stored yet.", hint="`journey-gateway contract apply`.")
        return current

    @staticmethod
    def _check_outcome(found: Outcome) -> None:
        if found.conflicts:
            raise Refused(
                "STALE",
                f"Since then others have changed {', '.join(found.conflicts)}.",
                hint=f"Withdraw it and propose it anew on top of version {found.number}.",
            )
        if found.problems:
            raise ContractError(list(found.problems))
        if found.refused:
            raise Refused(
                "KPI_READS",
                "; ".join(found.refused),
                hint="Change or remove the KPI in the same proposal, or leave what it reads.",
                path="files",
            )

    @staticmethod
    def _check_approver(proposal: Proposal, found: Outcome, by: Actor) -> None:
        if by.key == proposal.by.key:
            raise Refused("SELF_APPROVAL", "Who proposed it cannot approve it.", hint="Ask the owners of the files.")
        others = found.owners - {*proposal.by.teams}
        if not others:
            return
        if not others & {*by.teams}:
            owners = ", ".join(sorted(others))
            if {*by.teams} & {*proposal.by.teams}:
                raise Refused("SELF_APPROVAL", "Your team proposed it.", hint=f"It needs the approval of: {owners}.")
            raise Refused(
                "NOT_AN_OWNER",
                "Your key speaks for no team that owns these files.",
                hint=f"It needs the approval of: {owners}. `keys create api --team` makes a key of a team.",
            )


def _check_key(by: Actor) -> None:
    if by.key is None:
        raise Refused("NO_KEY", "This is done with an API key, so that it is known who did it.")


def _check_status(proposal: Proposal, *wanted: Status) -> None:
    if proposal.status not in wanted:
        raise Refused("STATUS", f"The proposal is {proposal.status}.", hint=f"It must be {' or '.join(wanted)}.")


def _check_breaking(found: Outcome, allowed: bool) -> None:
    if found.grade is Grade.BREAKING and not allowed:
        words = "; ".join(str(one) for one in found.changes if one.grade is Grade.BREAKING)
        raise Refused(
            "BREAKING", words, hint="Mend the senders and clients first, or say allowBreaking.", path="allowBreaking"
        )


def _busy() -> Refused:
    return Refused("BUSY", "Others are at it at the same time.", hint="Try again.")
