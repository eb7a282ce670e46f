"""Anonymous surveys: each person answers once, and nobody, with all of the database, can say who said what.

An answer is kept under a random number, without person, session, address or browser, and without a time of its own: it
waits until K wait, and they all become known with the same hour. That somebody answered is kept apart, under a secret
of the survey which is destroyed when the survey is over. Between the two nothing leads back.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from gateway.clock import Clock, random_id, random_secret
from gateway.contract import Contract, Survey
from gateway.errors import Unavailable
from gateway.feedback.answers import Answered, score_of
from gateway.feedback.eligibility import day_of
from gateway.store.anonymous_answers import AnonymousAnswers
from gateway.store.database import Database

log = logging.getLogger("gateway.feedback")

#: How often it is asked which surveys are over.
CLOSE_SECONDS = 600.0
#: So many answers become known together, and groups of fewer are not shown.
K = 5
HOUR_MS = 3_600_000


class Anonymous:
    """Anonymous answers of all workspaces; one per process."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.stored = AnonymousAnswers(database)
        self._clock = clock

    async def take(self, workspace: str, survey: Survey, offer: str, answered: Answered) -> bool:
        """Keep the answers to an offer (its id); False when it was answered before. Durable when it returns.

        Raises Unavailable; the same may then be sent again. Should it have been kept although nothing could be said, it
        is kept twice: to know which it was would be to know whose.
        """
        secret = await self.stored.secret(workspace, survey.key, random_secret())
        mark = hmac.digest(secret.encode(), offer.encode(), "sha256")
        if not await self.stored.begin(workspace, survey.key, mark):
            return False
        answers = [{"question": key, "value": value} for key, value in answered.answers]
        number = UUID(random_id(), version=4).bytes
        await self.stored.keep(workspace, survey.key, number, score_of(survey, answered.answers), answers)
        await self.stored.end(workspace, mark)
        hour = self._clock.now() // HOUR_MS * HOUR_MS
        await self.stored.release(workspace, survey.key, hour, at_least=K)
        return True

    async def run(
        self,
        contract: Callable[[], Contract],
        workspaces: Callable[[], Awaitable[list[str]]],
        owns: Callable[[str, str], bool],
    ) -> None:
        """Close what is over, every now and then, until cancelled."""
        while True:
            try:
                for workspace in await workspaces():
                    if owns(workspace, "anonymous surveys"):
                        await self.close_ended(workspace, contract().surveys)
            except Unavailable:
                pass  # the next look may reach it
            except Exception as error:
                log.warning("closing anonymous surveys failed", extra={"error": type(error).__name__})
            await asyncio.sleep(CLOSE_SECONDS)

    async def close_ended(self, workspace: str, surveys: Mapping[str, Survey]) -> int:
        """Destroy the secrets of surveys that are over, gone, or anonymous no more; how many."""
        today, closed = day_of(self._clock.now()), 0
        for key in await self.stored.open_surveys(workspace):
            survey = surveys.get(key)
            over = survey is None or not survey.anonymous or (survey.ends is not None and survey.ends < today)
            if over:
                await self.stored.close(workspace, key)
                closed += 1
        return closed
