"""Data requests: asked for, agreed, shipped, and verified by themselves when the first valid event has come."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gateway.clock import Clock
from gateway.contract import Contract
from gateway.contract import DataRequest as RequestFile
from gateway.contract.examples import misfits
from gateway.errors import NotFound
from gateway.model.actor import Actor
from gateway.model.alert import Severity
from gateway.model.scope import Scope
from gateway.quality.refusing import Refused, checked_text
from gateway.store.alerts import Alerts
from gateway.store.database import Document
from gateway.store.proposals import Remark
from gateway.store.requests import Request, Status, Step, request_id
from gateway.store.requests import Requests as Stored

MOST_REQUESTS = 2_000
_MOST_PROPERTIES = 50
_LONGEST_TITLE, _LONGEST_TEXT, _LONGEST_NAME = 200, 4_000, 200
_CANDIDATES = 20
_TRIES = 5
_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
#: Nobody: what the gateway finds out by itself.
_ITSELF = Actor(None)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody asks for. `key` None: one is made of the title."""

    title: str
    what: str
    why: str
    key: str | None = None
    event: str | None = None
    properties: Sequence[str] = ()


class DataRequests:
    """Data requests of all workspaces; one per process."""

    def __init__(self, stored: Stored, alerts: Alerts, clock: Clock) -> None:
        self.stored = stored
        self._alerts = alerts
        self._clock = clock
        self._filed: dict[str, str] = {}

    async def file(self, workspace: str, contract: Contract) -> None:
        """Take over what stands in the contract's files; nothing when this process has done so."""
        if self._filed.get(workspace) == contract.hash:
            return
        now = self._clock.now()
        await self.stored.file([_from_file(workspace, one, now) for one in contract.requests.values()])
        self._filed[workspace] = contract.hash

    async def request(self, scope: Scope, by: Actor, draft: Draft) -> Request:
        """Ask for data. Raises Refused."""
        title = checked_text("title", draft.title, _LONGEST_TITLE)
        key = draft.key if draft.key is not None else _key_of(title)
        if _KEY.fullmatch(key) is None:
            raise Refused(
                "KEY", "A key has small letters, digits and _, at most 64.", hint="Such as search_refined.", path="key"
            )
        event, properties = _checked_wish(draft.event, draft.properties)
        if await self.stored.count(scope, at_most=MOST_REQUESTS) >= MOST_REQUESTS:
            raise Refused("TOO_MANY", f"The workspace has {MOST_REQUESTS:,} requests.")
        now = self._clock.now()
        request = Request(
            id=request_id(scope.workspace, key),
            workspace=scope.workspace,
            key=key,
            title=title,
            what=checked_text("what", draft.what, _LONGEST_TEXT),
            why=checked_text("why", draft.why, _LONGEST_TEXT),
            asked_by=", ".join(by.teams) or "somebody",
            event=event,
            properties=properties,
            status="requested",
            by=by,
            filed=False,
            created_at=now,
            steps=(Step("requested", Remark(by, now, "")),),
        )
        if not await self.stored.add(request):
            raise Refused("KEY_TAKEN", f"There is a request {key!r} already.", hint="Give it another key.", path="key")
        await self._tell(request)
        return request

    async def get(self, scope: Scope, key: str) -> Request:
        """By its key. Raises NotFound."""
        found = await self.stored.get(scope, request_id(scope.workspace, key))
        if found is None:
            raise NotFound("There is no such data request.", hint="`dataRequests` lists those there are.")
        return found

    async def agree(self, scope: Scope, by: Actor, key: str, note: str) -> Request:
        """Promise to send it; not by who asked. Raises NotFound, Refused."""

        def agreed(request: Request) -> Request:
            asked = {one.strip() for one in request.asked_by.split(",")}
            if (request.by is not None and request.by.key == by.key) or asked & {*by.teams}:
                raise Refused("SELF_APPROVAL", "Who asks cannot agree.", hint="Ask the team that would send it.")
            return request

        return await self._step(scope, by, key, "agreed", note, ("requested",), agreed)

    async def refuse(self, scope: Scope, by: Actor, key: str, reason: str) -> Request:
        """Say why not. Raises NotFound, Refused."""
        reason = checked_text("reason", reason, _LONGEST_TEXT)
        return await self._step(scope, by, key, "refused", reason, ("requested", "agreed"), lambda one: one)

    async def ship(
        self, scope: Scope, by: Actor, key: str, note: str, event: str | None, properties: Sequence[str] | None
    ) -> Request:
        """It is sent from now on; the first event that has all of it verifies it. Raises NotFound, Refused."""

        def shipped(request: Request) -> Request:
            wish = _checked_wish(event or request.event, request.properties if properties is None else properties)
            if wish[0] is None:
                raise Refused("EVENT", "Which event carries it?", hint="Name the event.", path="event")
            return replace(request, event=wish[0], properties=wish[1], shipped_at=self._clock.now())

        return await self._step(scope, by, key, "shipped", note, ("agreed",), shipped)

    async def verify(self, contract: Contract, request: Request) -> Request | None:
        """Whether a valid event of a shipped request is there: then it is verified, and what it became is returned."""
        for event, message in await self.stored.candidates(request, limit=_CANDIDATES):
            if not _is_valid(contract, request.event or "", message):
                continue
            said = Remark(_ITSELF, self._clock.now(), "")
            steps = (*request.steps, Step("verified", said))
            changed = await self.stored.change(replace(request, status="verified", verified_by=event, steps=steps))
            if changed is not None:
                await self._tell(changed)
            return changed
        return None

    async def _step(
        self,
        scope: Scope,
        by: Actor,
        key: str,
        status: Status,
        note: str,
        wanted: tuple[Status, ...],
        change: Callable[[Request], Request],
    ) -> Request:
        note = checked_text("note", note, _LONGEST_TEXT, least=0)
        for _ in range(_TRIES):
            request = await self.get(scope, key)
            if request.status not in wanted:
                raise Refused("STATUS", f"The request is {request.status}.", hint=f"It must be {' or '.join(wanted)}.")
            steps = (*request.steps, Step(status, Remark(by, self._clock.now(), note)))
            changed = await self.stored.change(replace(change(request), status=status, steps=steps))
            if changed is not None:
                await self._tell(changed)
                return changed
        raise Refused("BUSY", "Others are at it at the same time.", hint="Try again.")

    async def _tell(self, request: Request) -> None:
        """To whoever hears alerts: one as long as the request is under way, resolved when it is verified or refused."""
        key, last = f"data request {request.key}", request.steps[-1].said.text if request.steps else ""
        wanted = " with ".join(filter(None, (request.event, ", ".join(request.properties)))) or "not said yet"
        await self._alerts.raise_alert(
            request.workspace,
            key,
            self._clock,
            severity=Severity.INFO,
            title=f"Data request {request.key} is {request.status}: {request.title}",
            text=f"{request.what}\nWhy: {request.why}\nEvent: {wanted}\nAsked by: {request.asked_by}"
            + (f"\nSaid: {last}" if last else ""),
            hint=_NEXT[request.status],
            about=("request", request.key),
        )
        if request.status in ("verified", "refused"):
            await self._alerts.resolve(request.workspace, key, self._clock)


_NEXT: dict[Status, str] = {
    "requested": "Agree or refuse: agreeDataRequest, refuseDataRequest.",
    "agreed": "Send it, then say so: shipDataRequest.",
    "shipped": "Nothing: the first valid event verifies it.",
    "verified": "Use it.",
    "refused": "Ask otherwise, or talk about it.",
}


def _is_valid(contract: Contract, name: str, message: Document) -> bool:
    """Whether it fits the plan of one of the event's majors; what is not planned fits."""
    planned = [event for event in contract.events.values() if event.name == name]
    return not planned or any(not misfits(event, message) for event in planned)


def _checked_wish(event: str | None, properties: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    if event is not None:
        event = checked_text("event", event, _LONGEST_NAME)
    if len(properties) > _MOST_PROPERTIES:
        raise Refused("PROPERTIES", f"Name at most {_MOST_PROPERTIES} properties.", path="properties")
    named = tuple(dict.fromkeys(checked_text("properties", one, _LONGEST_NAME) for one in properties))
    if any("" in one.split(".") or "\x00" in one for one in named):
        raise Refused(
            "PROPERTIES", "A property is a dotted path of names.", hint="Such as order.total.", path="properties"
        )
    return event, named


def _key_of(title: str) -> str:
    words = re.findall(r"[a-z0-9]+", title.casefold())
    key = "_".join(words)[:64].strip("_")
    return key if key[:1].isalpha() else f"request_{key}"[:64].strip("_")


def _from_file(workspace: str, file: RequestFile, now: int) -> Request:
    return Request(
        id=request_id(workspace, file.key),
        workspace=workspace,
        key=file.key,
        title=file.title,
        what=file.what,
        why=file.why,
        asked_by=file.asked_by,
        event=file.event,
        properties=file.properties,
        status="requested",
        by=None,
        filed=True,
        created_at=now,
        steps=(Step("requested", Remark(_ITSELF, now, "")),),
    )
