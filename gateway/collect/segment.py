"""The HTTP calls of the Segment specification, as the official Segment and RudderStack SDKs make them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from gateway.access.keys import KeyRing
from gateway.collect.answers import REFUSED, Get, Post, answer, door
from gateway.collect.bodies import Bodies, read_plain_object
from gateway.collect.elements import Elements
from gateway.collect.peers import Peers
from gateway.collect.senders import Senders, query_value
from gateway.errors import InvalidInput, NotFound, Unauthenticated
from gateway.model.event import CALLS, EventType, JsonObject, Problem, Receipt
from gateway.pipeline.contracts import Contracts
from gateway.pipeline.intake import Intake
from gateway.pipeline.times import parse_time
from gateway.settings import Settings

_SHARED = ("context", "integrations")


def routes(intake: Intake, keyring: KeyRing, settings: Settings, contracts: Contracts | None = None) -> list[Route]:
    """POST /v1/batch and one path per call, by name (/v1/track, /v1/identify, …) and by first letter (/v1/t, /v1/i, …).

    Also /v1/import and /v1/b (batches), /v1/m (the browser SDK's metrics about itself: accepted and forgotten) and
    GET /v1/projects/{writeKey}/settings, which browser and mobile SDKs read first.
    """
    bodies, senders = Bodies.of_events(intake, settings), Senders(keyring, settings)
    calls: dict[str, EventType | None] = {"batch": None, **{kind.value: kind for kind in CALLS}}
    calls |= {"import": None, "b": None, **{kind.value[0]: kind for kind in CALLS}}
    found = {path: Post(bodies, Call(intake, senders, kind), refused=REFUSED) for path, kind in calls.items()}
    return [
        *(door(f"/v1/{path}", endpoint, f"segment.{path}") for path, endpoint in found.items()),
        door("/v1/m", Post(bodies, _discard), "segment.m"),
        door("/v1/projects/{key}/settings", Get(_ProjectSettings(senders, settings, contracts)), "segment.settings"),
    ]


class Call:
    """One call: a batch, or for a `kind` one message of that type."""

    def __init__(self, intake: Intake, senders: Senders, kind: EventType | None) -> None:
        self._intake = intake
        self._senders = senders
        self._kind = kind

    async def __call__(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        # Asked before the body is parsed: strangers shall not cost much.
        key = await self._senders.of_headers(headers)
        content, plain = read_plain_object(body)
        if key is None:
            key = await self._senders.of_value(content.get("writeKey") or query_value(scope), headers)
        messages = self._batch(content) if self._kind is None else [_message(content, self._kind)]
        sent_at = parse_time(content.get("sentAt"))
        raw = Elements(body, "batch").of if messages is content.get("batch") else None
        delivery = self._senders.delivery(
            key, messages, scope, headers, body=body, sent_at=sent_at, raw=raw, plain=plain
        )
        return answer(_reply(await self._intake.ingest(delivery)))

    def _batch(self, content: JsonObject) -> list[Any]:
        batch = content.get("batch")
        if not isinstance(batch, list):
            raise InvalidInput(
                "`batch` must be a list of messages.",
                hint='Send {"batch": [{"type": "track", "userId": "…", "event": "…"}], "sentAt": "…"}.',
            )
        self._intake.check_size(len(batch))  # before anything is counted against the key's rate
        shared = {key: content[key] for key in _SHARED if content.get(key) is not None}
        return [_with_shared(message, shared) for message in batch] if shared else batch


class _ProjectSettings:
    """What analytics.js and the mobile SDKs ask for before they send: where to, and the tracking plan.

    The plan lists the event types that the contract's maps and KPIs use; events outside of it are sent as well.
    """

    def __init__(self, senders: Senders, settings: Settings, contracts: Contracts | None) -> None:
        self._senders = senders
        self._peers = Peers(settings)
        self._contracts = contracts

    async def __call__(self, scope: Scope, headers: Headers) -> Response:
        value = scope["path_params"]["key"]
        try:
            await self._senders.of_value(value, headers)
        except Unauthenticated as unknown:
            raise NotFound("There is no source with this write key.", hint=unknown.hint) from None
        scheme, _, host = self._peers.base_url(scope, headers).partition("://")
        destination = {"apiKey": value, "apiHost": f"{host}/v1", "protocol": scheme, "retryQueue": True}
        return answer(
            {
                "integrations": {"Segment.io": destination},
                "plan": self._plan(),
                "edgeFunction": {},
                "analyticsNextEnabled": True,
                "middlewareSettings": {},
                "enabledMiddleware": {},
                # The browser SDK would send metrics about itself to its maker's host.
                "metrics": {"sampleRate": 0, "host": f"{host}/v1"},
                "legacyVideoPluginsEnabled": False,
                "remotePlugins": [],
            }
        )

    def _plan(self) -> dict[str, object]:
        everything = {"enabled": True, "integrations": {}}
        known = [] if self._contracts is None else sorted(self._contracts.current.event_names)
        return {"track": dict.fromkeys([*known, "__default"], everything)}


async def _discard(scope: Scope, headers: Headers, body: bytes) -> Response:
    return answer({"success": True})


def _with_shared(message: Any, shared: JsonObject) -> Any:
    """The message with what the batch says for all; where both say something, the message wins."""
    if not isinstance(message, dict):
        return message
    merged = dict(message)
    for key, value in shared.items():
        own = message.get(key)
        if own is None:
            merged[key] = value
        elif isinstance(own, dict) and isinstance(value, dict):
            merged[key] = value | own
    return merged


def _message(content: JsonObject, kind: EventType) -> JsonObject:
    return {key: value for key, value in content.items() if key != "writeKey"} | {"type": kind.value}


def _reply(receipt: Receipt) -> dict[str, Any]:
    reply: dict[str, Any] = {"success": not receipt.problems, **receipt.counts()}
    if receipt.consistency_token is not None:
        reply["consistencyToken"] = receipt.consistency_token
    if receipt.problems:
        reply["problems"] = [_problem(problem) for problem in receipt.problems]
    if receipt.warnings:
        reply["warnings"] = [_problem(warning) for warning in receipt.warnings]
    return reply


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "index": problem.index,
        "messageId": problem.message_id,
        "verdict": problem.verdict.value,
        "code": problem.code,
        "message": problem.message,
        **({"misfits": [asdict(one) for one in problem.misfits]} if problem.misfits else {}),
    }
