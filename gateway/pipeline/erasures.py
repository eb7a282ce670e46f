"""An erasure as it is asked for: suppress first, then have the owners of lanes delete (erasing.py).

When `erase` returns, the identities are suppressed durably: this process refuses their events at once, every other
within `NOTICE_SECONDS`, and what slips past those until then is never derived and goes with the second round.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gateway.clock import Clock, random_id
from gateway.model.identity import Identity, key_of
from gateway.model.scope import Scope
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.persons import SOURCE
from gateway.privacy import Privacy
from gateway.store.database import Database, Session
from gateway.store.erasures import DONE, Erasure, Erasures
from gateway.store.events import Events
from gateway.store.users import Users

#: Far more than an intake may take from its look at who is suppressed to MongoDB's answer.
AGAIN_SECONDS = 60.0
_MOST_COUNTED = 1_000_000


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases for operators."""

    database: Database
    events: Events
    users: Users
    erasures: Erasures
    privacy: Privacy
    clock: Clock
    again_seconds: float = AGAIN_SECONDS

    async def erase(
        self, intake: Intake, scope: Scope, identities: Collection[Identity], *, reason: str, by: str | None
    ) -> Erasure:
        """Suppress these identities and begin to erase them; asked for several times at once it is one erasure.

        Raises Unavailable: ask again, which is harmless.
        """
        key, workspace, now = random_id(), scope.workspace, self.clock.now()
        due_at = now + int(self.again_seconds * 1000)

        async def transact(session: Session) -> str:
            keys = [key_of(workspace, identity.sk) for identity in identities]
            # Two at once both count up the changes, so that one of them comes here again and finds the other's.
            found = await self.privacy.suppressions.among(workspace, keys, session)
            if len(found) == len(set(keys)):
                return max(found.values())
            await self.privacy.suppressions.add(workspace, keys, key, session)
            await self.erasures.add(
                key, workspace, identities, reason=reason, by=by, now=now, due_at=due_at, session=session
            )
            return key

        theirs = await self.database.with_transaction(transact)
        await self.privacy.suppressed.look()
        self.privacy.consented.forget()
        if theirs == key:
            message = {"type": "erase", "name": "gateway.erase", "anonymousId": key, "messageId": key}
            await intake.ingest(Delivery(workspace, SOURCE, [message], system=True))
        found = await self.erasures.get(scope, theirs)
        assert found is not None
        return found

    async def get(self, scope: Scope, key: str) -> Erasure | None:
        return await self.erasures.get(scope, key)

    async def before(self, scope: Scope, keys: Collection[bytes]) -> Erasure | None:
        """The erasure that these identities were suppressed for already; None when one of them was not."""
        found = await self.privacy.suppressions.among(scope.workspace, keys)
        if len(found) < len(set(keys)):
            return None
        return await self.erasures.get(scope, max(found.values()))

    async def lift(self, scope: Scope, identities: Collection[Identity]) -> int | None:
        """Take events of these identities again; how many were suppressed, None while one of them is being erased."""
        keys = self.privacy.keys(scope.workspace, identities)
        found = await self.privacy.suppressions.among(scope.workspace, keys)
        for key in set(found.values()):
            erasure = await self.erasures.get(scope, key)
            if erasure is not None and erasure.status != DONE:
                return None
        lifted = await self.privacy.suppressions.lift(scope.workspace, keys)
        await self.privacy.suppressed.look()
        return lifted

    async def count(self, scope: Scope, identities: Collection[Identity]) -> dict[str, int]:
        """What an erasure would delete of what can be counted beforehand."""
        sks = [identity.sk for identity in identities]
        events = await self.events.count_of(scope, sks, at_most=_MOST_COUNTED)
        users = [key_of(scope.workspace, sk).hex() for sk in sks]
        left = await self.users.left_of(scope.workspace, users)
        return {"events": events, "identities": len(sks), **left}
