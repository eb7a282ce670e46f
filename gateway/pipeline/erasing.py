"""Erasing as owners of lanes do it: identities and links at once, events in the lanes that they came in.

Three transactions may take part, each fenced. *Begin* forgets the identities, what links and decisions say of them,
and asks for their users to be folded again, which by then have no events: so all that was derived of them goes by
difference, as after a split. *Delete*, in the lane of each identity, takes away its events with their rows of work and
what they added to rollups: whatever resolves an event of it writes the row of that lane too, so that none is counted
and gone. And *resolve* drops events of suppressed identities that slipped past an intake: nothing is derived of them.

What no lane owns (quarantine, redirects, the text of feed rows) is swept at the end of each of two rounds; the second
begins when no intake can be under way that did not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gateway.identity.graph import Graph
from gateway.model.event import DECISIONS, SYSTEM_SK, SYSTEM_TYPES, Event, EventType, OrderKey, without
from gateway.model.identity import Decision, Edge, Identity, Member, Pair, key_of, lane_of
from gateway.model.scope import Scope
from gateway.pipeline.batch import Batch
from gateway.store.accounting import HOUR_MS, Accounting
from gateway.store.catalog import Catalog
from gateway.store.columnar import Manifests
from gateway.store.consents import Consents
from gateway.store.database import Document, Session
from gateway.store.erasures import Erasure, Erasures, lane_of_erasure
from gateway.store.events import Events
from gateway.store.feed import Feed
from gateway.store.follow_ups import FollowUps
from gateway.store.identities import Identities
from gateway.store.lane_items import LaneItems
from gateway.store.observations import Observations
from gateway.store.quarantine import Quarantine
from gateway.store.rollups import Cells, Rollups, cells_of_event
from gateway.store.suppressions import Suppressions
from gateway.store.users import Users
from gateway.store.work import Again, ToErase, Work

#: Events that one transaction deletes.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Erasing:
    """The repositories that erasing touches."""

    suppressions: Suppressions
    erasures: Erasures
    consents: Consents
    events: Events
    identities: Identities
    work: Work
    users: Users
    rollups: Rollups
    accounting: Accounting
    feed: Feed
    quarantine: Quarantine
    items: LaneItems
    columnar: Manifests
    observations: Observations
    follow_ups: FollowUps
    catalog: Catalog

    # -- resolve ------------------------------------------------------------------------------------------------

    async def leave_out_suppressed(self, batch: Batch) -> None:
        """Drop events of suppressed identities, stored or not, and take such identities out of decisions.

        One look-up a batch as long as nobody has ever been erased.
        """
        if not batch.events or not await self.suppressions.number(batch.session):
            return
        keys = {key_of(batch.workspace, one.sk): one for event in batch.events for one in _named(event)}
        found = await self.suppressions.among(batch.workspace, keys, batch.session)
        if not found:
            return
        batch.suppressed = {keys[key] for key in found}
        erasure_of = {keys[key]: erasure for key, erasure in found.items()}
        dropped: dict[str, list[Event]] = {}
        kept = []
        for event in batch.events:
            if event.type in DECISIONS:
                kept += await self._mended(event, batch.suppressed, batch.session)
            elif event.identity in batch.suppressed:
                dropped.setdefault(erasure_of[event.identity], []).append(event)
            else:
                kept.append(event)
        batch.events = kept
        for erasure, events in dropped.items():
            rows = await self.events.to_erase(batch.workspace, ids=[one.id for one in events], session=batch.session)
            await self._delete(batch, erasure, rows)

    async def _mended(self, event: Event, gone: Collection[Identity], session: Session) -> list[Event]:
        """A decision without these identities; none if it decides nothing any more."""
        decision = event.decision()
        if decision is None or decision.identities.isdisjoint(gone):
            return [event]
        mended = without(event, gone)
        if mended is None:
            await self.events.remove(event.workspace, [event.id], session)
            return []
        await self.events.mend_decision(mended, session)
        return [mended]

    # -- begin --------------------------------------------------------------------------------------------------

    async def begin(self, batch: Batch, key: str) -> None:
        """Forget the identities of an erasure; its events are left to the owners of the lanes they came in."""
        workspace, session = batch.workspace, batch.session
        erasure = await self.erasures.get(Scope.system(workspace), key, session)
        if erasure is None or not erasure.sks or erasure.begun >= erasure.round:
            return
        batch.lanes.add(lane_of_erasure(workspace, key))
        members = await self.identities.members(workspace, erasure.identities, session=session)
        counts: Counter[str] = Counter()
        if members:
            counts.update(await self.users.left_of(workspace, erasure.users, session))
            counts.update(await self._forget(batch, members))
        for one in await self.work.ask_to_erase(workspace, erasure.sks, key, session):
            if batch.lease.owns(workspace, one.sk):
                batch.waiting.erase.append(one.row)
        await self.erasures.note(workspace, key, counts, begun=erasure.round, session=session)

    async def _forget(self, batch: Batch, members: dict[Identity, Member]) -> Mapping[str, int]:
        """Who was in a group with them is resolved anew, as if they had never been there."""
        workspace, session = batch.workspace, batch.session
        groups = {member.group for member in members.values()}
        whole = members | await self.identities.group_members(workspace, groups, session)
        edges, decisions = await self.identities.group_history(workspace, groups, session)
        kept = {key: one for key, one in decisions.items() if one.identities.isdisjoint(members)}
        mended = await self._mend_stored(workspace, decisions.keys() - kept.keys(), members, session)
        links = {pair: edge for pair, edge in edges.items() if members.keys().isdisjoint(pair)}
        rest = [identity for identity in whole if identity not in members]
        firsts = await self._firsts(workspace, rest, links, (kept | mended).values(), session)
        graph = Graph(workspace, whole, edges, decisions)
        gone = {identity for identity in whole if identity not in firsts}
        lost = decisions.keys() - kept.keys() - mended.keys()
        dead = edges.keys() - links.keys()
        graph.forget(gone, firsts, {**kept, **mended})
        resolution = graph.settle()
        await self.identities.write(
            workspace, resolution.members, resolution.edges, session, decisions={**mended, **resolution.decisions}
        )
        for user, to in resolution.moves.items():
            batch.ask_again(Again(user, to - {user}, resolution.gone.get(user)))
        return await self.identities.remove(workspace, gone, dead, lost, session)

    async def _mend_stored(
        self, workspace: str, keys: Collection[bytes], gone: Collection[Identity], session: Session
    ) -> dict[bytes, Decision]:
        """Take identities out of stored decisions; what is still decided, by event."""
        events = await self.events.get(Scope.system(workspace), keys, session=session) if keys else {}
        found: dict[bytes, Decision] = {}
        for key, event in events.items():
            for mended in await self._mended(event, gone, session):
                decision = mended.decision()
                assert decision is not None
                found[key] = decision
        await self.work.remove(workspace, [key for key in keys if key not in found], session)
        return found

    async def _firsts(
        self,
        workspace: str,
        identities: Iterable[Identity],
        links: Mapping[Pair, Edge],
        decisions: Iterable[Decision],
        session: Session,
    ) -> dict[Identity, OrderKey]:
        """The first mention of each identity; of those that nothing mentions any more, none."""
        mentions: dict[Identity, list[OrderKey]] = {identity: [] for identity in identities}
        said = [*((pair, edge.order) for pair, edge in links.items()), *((d.identities, d.order) for d in decisions)]
        for named, order in said:
            for identity in named:
                if identity in mentions:
                    mentions[identity].append(order)
        for identity, orders in mentions.items():
            own = await self.events.first_of(workspace, identity.sk, session)
            orders += [] if own is None else [own]
        return {identity: min(orders) for identity, orders in mentions.items() if orders}

    # -- delete -------------------------------------------------------------------------------------------------

    async def delete_events(self, batch: Batch) -> None:
        """Delete events of the identities that wait in our lanes, so many of each; those of others wait on."""
        if not batch.waiting.erase:
            return
        for one in await self.work.to_erase(batch.workspace, batch.waiting.erase, batch.session):
            if batch.lease.owns(batch.workspace, one.sk):
                batch.lanes.add(lane_of(batch.workspace, one.sk))
                await self._delete_some(batch, one)

    async def _delete_some(self, batch: Batch, one: ToErase) -> None:
        workspace, session = batch.workspace, batch.session
        rows = await self.events.to_erase(workspace, sk=one.sk, limit=CHUNK, session=session)
        whole = len(rows) < CHUNK
        if whole:  # what was said of consent lies beside
            beside = await self.events.to_erase(workspace, sk=SYSTEM_SK + one.sk, session=session)
            rows += [row for row in beside if row["type"] == EventType.CONSENT]
        await self._delete(batch, one.erasure, rows)
        if whole:
            gone = await self.consents.remove(workspace, [key_of(workspace, one.sk)], session)
            await self.work.remove(workspace, [one.row], session)
            await self.erasures.note(workspace, one.erasure, {"consents": gone}, session=session)

    async def _delete(self, batch: Batch, key: str, rows: list[Document]) -> None:
        """Delete events with what says that they were derived, and what they added to rollups."""
        if not rows:
            return
        workspace, session = batch.workspace, batch.session
        ids = [bytes(row["_id"]) for row in rows]
        users = await self.work.users_of(workspace, ids, session)
        cells: Cells = Counter()
        for row in rows:
            # Those of long ago are known to be resolved without a row of work.
            resolved = row["receivedAt"] < batch.horizon or bytes(row["_id"]) in users
            if resolved and row["type"] not in SYSTEM_TYPES:
                cells.subtract(cells_of_event(row["name"], row["at"], row.get("consent")))
        if cells:
            await self.rollups.add(workspace, cells, lane=min(batch.lanes), session=session)
            await self.rollups.drop_empty(workspace, cells, session)
        await self.accounting.forgotten(workspace, _by_page(rows), session)
        counts = {
            "events": await self.events.remove(workspace, ids, session),
            "work": await self.work.remove(workspace, list(users), session),
        }
        erasure = await self.erasures.get(Scope.system(workspace), key, session)
        # Rows of the feed are found by the users that are erased; only others' are looked up by event: there are few,
        # and of somebody with very many events no document could hold them all.
        mine = frozenset(() if erasure is None else erasure.users)
        told = [(user, event) for event, user in users.items() if user not in mine]
        await self.erasures.note(workspace, key, counts, told=told, session=session)

    # -- sweep --------------------------------------------------------------------------------------------------

    async def sweep(self, erasure: Erasure, now: int) -> bool:
        """The rest of a round, as soon as its events are deleted and its users folded; whether it was time."""
        workspace, users = erasure.workspace, erasure.users
        if await self.work.erasing(workspace, erasure.id) or any((await self.users.left_of(workspace, users)).values()):
            return False
        # The writer of parts takes it from here; what it writes later of them, it no longer finds among the events.
        rewriting = await self.columnar.ask_to_rewrite(workspace, erasure.id, erasure.round, erasure.sks)
        if rewriting is not None and not rewriting.done:
            return False
        rows, letters = await self.items.erase(workspace, users)
        counts = {
            "columnar": 0 if rewriting is None else rewriting.rows,
            "lane_items": rows,
            "dead_letters": letters,
            # Whoever erases at its destination is asked to, in both rounds: something may have been on its way there.
            "destinations": await self.items.ask_to_erase(workspace, erasure.id, erasure.round, users, now),
            "feed": await self.feed.empty(workspace, users, [one for one in erasure.told if one[0] not in users]),
            "quarantine": await self.quarantine.erase(workspace, erasure.keys),
            "consents": await self.consents.remove(workspace, erasure.keys),
            "observations": await self.observations.erase(workspace, users),
            "follow_ups": await self.follow_ups.erase(workspace, users),
            "catalog": await self._forget_names(workspace),
            "redirects": await self.users.forget_redirects(workspace, users),
        }
        await self.erasures.note(workspace, erasure.id, counts)
        await self.erasures.finish_round(erasure, now)
        await self.columnar.forget_rewrite(workspace, erasure.id, erasure.round)
        return True

    async def _forget_names(self, workspace: str) -> int:
        """Names that no stored event bears any more may be what an erased user wrote. What was seen in quarantine alone
        goes with them, and is catalogued again when it comes again."""
        catalogued = await self.catalog.names(workspace)  # first, so that what comes meanwhile is in both or neither
        return await self.catalog.forget(workspace, catalogued - await self.events.names(workspace))


def _named(event: Event) -> set[Identity]:
    """The identities that deriving an event would note."""
    decision = event.decision()
    return {event.identity, *(event.link() or ()), *(() if decision is None else decision.identities)}


def _by_page(rows: Iterable[Document]) -> dict[tuple[str, int, int], int]:
    """Events that were accepted by the process they name, by source, process and hour."""
    pages: Counter[tuple[str, int, int]] = Counter()
    for row in rows:
        if "run" in row:
            pages[row["source"], row["run"], row["receivedAt"] - row["receivedAt"] % HOUR_MS] += 1
    return dict(pages)
