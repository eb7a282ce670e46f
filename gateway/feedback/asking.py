"""What a process asks of surveys: how things stand with a user, and what comes next for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

from gateway.clock import Clock
from gateway.contract import Contract, Survey
from gateway.contract.surveys import OnEvent
from gateway.feedback.anonymous import Anonymous
from gateway.feedback.choosing import CAP, Cap, Choice, choose
from gateway.feedback.eligibility import FRESH_MS, Moment, Verdict
from gateway.feedback.offers import Offer, Offers
from gateway.feedback.reacting import Reacting
from gateway.feedback.standing import Standing, heard
from gateway.journeys.segments import members
from gateway.model.consent import Consent, Purpose
from gateway.model.event import Event
from gateway.model.identity import Identity
from gateway.model.journey import UserState
from gateway.model.response import SURVEYED
from gateway.model.scope import Scope
from gateway.privacy import Privacy
from gateway.store.alerts import Alerts
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.survey_counts import SurveyCounts
from gateway.store.users import Journeys

#: Of one user's survey events the newest so many count: more than a person answers in a life.
MOST_HEARD = 500
_MOST_RECENT = 200
_MOST_RUNS = 20
#: For so long (s) a quota is taken to be what it was: it may be exceeded by the answers of that time.
QUOTA_SECONDS = 5.0
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


class Feedback:
    """Surveys of all workspaces; one per process."""

    def __init__(
        self, database: Database, events: Events, privacy: Privacy, clock: Clock, secret: str, cap: Cap = CAP
    ) -> None:
        self._events, self._privacy, self._clock = events, privacy, clock
        self._journeys = Journeys(database)
        self.counts = SurveyCounts(database)
        self.offers = Offers(secret)
        self.anonymous = Anonymous(database, clock)
        self.reacting = Reacting(database, Alerts(database))
        self.cap = cap
        self._quotas: dict[tuple[str, str, int], tuple[float, int]] = {}

    async def standing(
        self,
        workspace: str,
        contract: Contract,
        user: str,
        identities: Sequence[Identity],
        state: UserState | None,
        consent: Consent,
    ) -> Standing:
        """How things stand with a user now, read from the log: what was stored a moment ago counts."""
        now, sks = self._clock.now(), [one.sk for one in identities]
        scope = Scope.system(workspace)
        said = await self._events.page(scope, limit=MOST_HEARD, names=SURVEYED, sks=sks)
        asked, displays = heard(said)
        recent: Sequence[Event] = ()
        if names := event_names(contract.surveys.values()):
            between = (now - FRESH_MS, now + 1)
            recent = await self._events.page(scope, limit=_MOST_RECENT, names=names, sks=sks, between=between)
        runs = [] if state is None else await self._journeys.page(scope, limit=_MOST_RUNS, user=state.user)
        return Standing(
            user,
            state,
            segments_of(contract, state, consent, now),
            consent,
            self._privacy.unsaid,
            asked,
            displays,
            recent,
            runs,
        )

    async def choice(self, workspace: str, contract: Contract, standing: Standing, moment: Moment) -> Choice:
        """What to ask a user now."""
        full = await self.full(workspace, contract)
        return choose(contract.surveys, standing, moment, full=full, cap=self.cap)

    async def full(self, workspace: str, contract: Contract) -> frozenset[str]:
        """Keys of the surveys that have the answers that were wanted."""
        with_quota = [one for one in contract.surveys.values() if one.quota is not None]
        return frozenset([one.key for one in with_quota if await self._is_full(workspace, one)])

    def offer(self, workspace: str, standing: Standing, verdict: Verdict) -> Offer:
        """The offer of the survey that was chosen."""
        survey, variant = verdict.survey, verdict.variant
        known = standing.asked.get(survey.key)
        after = 0 if known is None else known.at
        return Offer(
            workspace, survey.key, standing.user, survey.asks_hash, None if variant is None else variant.key, after
        )

    async def _is_full(self, workspace: str, survey: Survey) -> bool:
        quota = survey.quota
        assert quota is not None
        since = period_start(self._clock.now(), quota.per)
        place, asked_at = (workspace, survey.key, since), self._clock.monotonic()
        known = self._quotas.get(place)
        if known is None or not 0 <= asked_at - known[0] < QUOTA_SECONDS:
            if survey.anonymous:  # without times of their own all of them count
                count = await self.anonymous.stored.count(workspace, survey.key, at_most=quota.answers)
            else:
                count = await self.counts.answered(workspace, survey.key, since, at_most=quota.answers)
            self._quotas = {key: one for key, one in self._quotas.items() if key[:2] != place[:2]}
            known = self._quotas[place] = (asked_at, count)
        return known[1] >= quota.answers


def event_names(surveys: Collection[Survey]) -> list[str]:
    """The names of the events that are occasions to ask."""
    found = (trigger.rule.event for one in surveys for trigger in one.triggers if isinstance(trigger, OnEvent))
    return list(dict.fromkeys(found))


def segments_of(contract: Contract, state: UserState | None, consent: Consent, as_of: int) -> frozenset[str]:
    """The segments that a user is in at `as_of` (ms); who denies analytics is in none."""
    if state is None or consent.get("analytics") is False:
        return frozenset()
    return frozenset(members(state, contract.grouping, as_of))


def period_start(now: int, per: str | None) -> int:
    """When the day, week (from Monday) or month (UTC) of `now` began, in ms; 0 without one."""
    if per is None:
        return 0
    day = datetime.fromtimestamp(now / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "week":
        day -= timedelta(days=day.weekday())
    elif per == "month":
        day = day.replace(day=1)
    return int(day.timestamp() * 1000)
