"""What is to be delivered: rows of the feed and of what did not go through, with what they announce."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from gateway.model.alert import Alert
from gateway.model.consent import Purpose
from gateway.model.event import SYSTEM_TYPES, Event
from gateway.model.identity import digest, lane_of, user_id_of
from gateway.model.journey import JourneyStatus, JourneyStep
from gateway.model.scope import Scope
from gateway.plugin import Message
from gateway.privacy import Privacy
from gateway.store.alerts import Alerts
from gateway.store.database import Database, Document
from gateway.store.events import Events
from gateway.store.identities import Identities
from gateway.store.lane_items import LaneItem

#: Of a feed row what it announces, by kind: all that is kept of it.
_ABOUT = {
    "event": ("event", "name", "at"),
    "journey": ("journey", "map", "run", "from", "to", "status", "event", "at"),
    "alert": ("alert", "raised", "at"),
}
#: Below every position in a lane, so that what is read from the log comes before what the feed still has.
_BEFORE_FEED = 1 << 50


#: Of a piece within one turn: its key, and the replay that sends it once more.
Id: TypeAlias = tuple[str, str | None]


@dataclass(slots=True)
class Piece:
    """One thing to deliver. `stored`: it has a row already. `payload` is None until it is mapped."""

    item: LaneItem
    stored: bool = False
    message: Message | None = None
    alert: Alert | None = None
    payload: dict[str, Any] | None = None
    size: int = 0

    @property
    def id(self) -> Id:
        return self.item.key, self.item.replay

    @property
    def queue(self) -> str:
        return self.item.queue


def of_feed(row: Document, *, ordered: bool, now: int) -> Piece:
    """A feed row as it is first met."""
    kind = row["kind"]
    about = {name: row[name] for name in _ABOUT[kind]}
    key = _key(row["workspace"], kind, about)
    user = row.get("user") or ""
    queue = (user or str(row.get("key", ""))) if ordered else key
    return Piece(LaneItem(key, row["lane"], queue, user, row["seq"], kind, about, now))


def of_log(event: Event, user: str, *, ordered: bool, now: int) -> Piece:
    """A stored event whose feed row is gone."""
    about = {"event": event.id, "name": event.name, "at": event.at}
    key = event.id.hex()
    seq = event.received_at - _BEFORE_FEED
    return Piece(
        LaneItem(key, lane_of(event.workspace, user), user if ordered else key, user, seq, "event", about, now)
    )


def _key(workspace: str, kind: str, about: Document) -> str:
    """The idempotency key: of what happened, not of the row that tells it."""
    if kind == "event":
        return bytes(about["event"]).hex()
    if kind == "alert":
        return f"{about['alert']}-{'raised' if about['raised'] else 'resolved'}"
    event = b"" if about["event"] is None else bytes(about["event"])
    said = (about["journey"], *(str(about[name]) for name in ("from", "to", "status", "at")))
    return digest(workspace, kind, *said, event).hex()


class Loader:
    """Reads what pieces announce, and whether it may be sent."""

    def __init__(self, database: Database, privacy: Privacy, alerts: Alerts) -> None:
        self._events = Events(database)
        self._identities = Identities(database)
        self._privacy = privacy
        self._alerts = alerts

    async def load(self, workspace: str, pieces: Sequence[Piece]) -> None:
        """Give each piece its message or alert; those whose event was erased get none."""
        scope = Scope.system(workspace)
        ids = {bytes(one.item.about["event"]) for one in pieces if one.item.kind == "event"}
        events = await self._events.get(scope, ids) if ids else {}
        wanted = {one.item.about["alert"] for one in pieces if one.item.kind == "alert"}
        alerts = await self._alerts.get(workspace, wanted) if wanted else {}
        for one in pieces:
            item = one.item
            if item.kind == "alert":
                one.alert = _as_told(alerts.get(item.about["alert"]), raised=item.about["raised"])
            elif item.kind == "event":
                event = events.get(bytes(item.about["event"]))
                if event is not None:
                    one.message = Message(item.key, "event", workspace, item.user, event.at, event=event)
            elif item.kind == "journey":
                step = _step(item.user, item.about)
                one.message = Message(item.key, "journey", workspace, item.user, step.at, journey=step)

    async def users_of(self, events: Sequence[Event]) -> list[str]:
        """The user of now behind each of these events of one workspace."""
        workspace = events[0].workspace
        known = await self._identities.users_of(Scope.system(workspace), {one.identity for one in events})
        return [known.get(one.identity) or user_id_of(workspace, one.identity) for one in events]

    async def withheld(self, workspace: str, pieces: Sequence[Piece], purpose: Purpose | None) -> set[Id]:
        """The ids of those that may not be sent now: erased, or without the consent that it needs."""
        asked = [(one.message.event, one.message.user) for one in pieces if one.message is not None]
        if not asked:
            return set()
        allowed = await self._privacy.allowed(workspace, asked, purpose)
        ids = [one.id for one in pieces if one.message is not None]
        return {one for one, may in zip(ids, allowed, strict=True) if not may}


def told_in_feed(event: Event) -> bool:
    """Whether an event is announced, and so delivered."""
    return event.type not in SYSTEM_TYPES


def _step(user: str, about: Document) -> JourneyStep:
    status = about["status"]
    event = about["event"]
    return JourneyStep(
        journey=about["journey"],
        user=user,
        map=about["map"],
        run=about["run"],
        from_stage=about["from"],
        to_stage=about["to"],
        status=None if status is None else JourneyStatus(status),
        at=about["at"],
        event=None if event is None else bytes(event),
    )


def _as_told(alert: Alert | None, *, raised: bool) -> Alert | None:
    """What was raised is told as such, also when it is over by now: that is told next."""
    return replace(alert, resolved_at=None) if alert is not None and raised else alert
