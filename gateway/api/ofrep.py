"""OpenFeature Remote Evaluation Protocol 0.3: every OpenFeature client gets flags decided with traits and journey.

    POST /ofrep/v1/evaluate/flags           all flags of one user, with an ETag
    POST /ofrep/v1/evaluate/flags/{key}     one flag
    GET  /ofrep/v1/events?ticket=…          that flags may have changed (ofrep_events.py)

A user's own token gets that user's flags, whatever context is sent; with an API key `targetingKey` names the user.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access.rates import Rates
from gateway.access.tokens import Tokens
from gateway.api.answers import answer, status_of
from gateway.api.context import Context, Services
from gateway.api.flags import LONGEST_KEY, decided, subject_behind
from gateway.api.ofrep_events import stream, ticket_of
from gateway.api.requests import read_bytes, read_json
from gateway.errors import Forbidden, GatewayError, InvalidInput, OperatorError, RateLimited, Unauthenticated
from gateway.flags import Decision, Subject, unknown_subject
from gateway.model.identity import MAX_ID_CHARS, SURROGATE, Identity
from gateway.plugin import FlagReason

MAX_BODY_BYTES = 64 * 1024
MOST_ATTRIBUTES = 200
#: A user's own token is in a browser, where anybody may ask on and on: requests a second, after a burst.
USER_RATE, USER_BURST = 10.0, 100.0

_PATH = "/ofrep/v1/evaluate/flags"
_HINT = 'Send {"context": {"targetingKey": "…"}} as JSON.'
#: Reasons as the protocol's document lists them: it knows no DEFAULT.
_REASONS = {FlagReason.DEFAULT: "STATIC"}
_ABOUT_THE_REQUEST = frozenset({"PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT"})
_CODES = _ABOUT_THE_REQUEST | {"GENERAL"}


class _Wrong(InvalidInput):
    """A request that is refused with a code of the protocol."""

    def __init__(self, code: str, message: str, hint: str = _HINT) -> None:
        super().__init__(message, hint=hint)
        self.said = code


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks, for whom, and the id of the user it is for."""

    context: Context
    subject: Subject


def ofrep_routes(services: Services, tokens: Tokens) -> list[Route]:
    """The protocol's paths."""
    door = _Door(services, tokens, Rates(services.clock))
    one = Route(_PATH + "/{key}", door.one, methods=["POST"], name="ofrep_one")
    one.path_regex = re.compile(re.escape(_PATH) + r"/(?P<key>.+)\Z")  # with slashes, as some providers' keys have
    return [
        Route(_PATH, door.all, methods=["POST"], name="ofrep_all"),
        one,
        Route("/ofrep/v1/events", door.events, methods=["GET"], name="ofrep_events"),
    ]


@dataclass(frozen=True, slots=True)
class _Door:
    services: Services
    tokens: Tokens
    rates: Rates

    async def all(self, request: Request) -> Response:
        try:
            asked = await self._asked(request)
        except GatewayError as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)
        decisions = await decided(asked.context, None, asked.subject)
        now, workspace = self.services.clock.now(), asked.context.scope.workspace
        ticket, ends = ticket_of(self.tokens, now, workspace, asked.subject.context.targeting_key)
        # With a new ticket the answer counts as another one, so that a client that holds the old one gets it.
        tag = tag_of(decisions, ends)
        headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "Authorization, X-API-Key"}
        if tag in (one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        uri = f"/ofrep/v1/events?ticket={ticket}"
        body = {
            "flags": [_body(one) for one in decisions],
            "eventStreams": [{"type": "sse", "endpoint": {"requestUri": uri}, "inactivityDelaySec": 120}],
        }
        return answer(body, headers=headers)

    async def one(self, request: Request) -> Response:
        key = request.path_params["key"]
        try:
            if not 0 < len(key) <= LONGEST_KEY:
                raise _Wrong(
                    "GENERAL", "The flag's key is empty or too long.", f"It has 1 to {LONGEST_KEY} characters."
                )
            asked = await self._asked(request)
        except GatewayError as error:
            return _refusal(error, key)
        except ClientDisconnect:
            return Response(status_code=400)
        (decision,) = await decided(asked.context, [key], asked.subject)
        if decision.error == "FLAG_NOT_FOUND":
            return answer({"key": key, "errorCode": decision.error, "errorDetails": decision.because}, status=404)
        if decision.error is None:
            return answer(_body(decision))
        if decision.error in _ABOUT_THE_REQUEST:
            return answer(_body(decision), status=400)
        return answer({"errorDetails": _details(decision)}, status=500)

    async def events(self, request: Request) -> Response:
        try:
            workspace, user, ends = self.tokens.ticket(request.query_params.get("ticket", ""))
        except Unauthenticated:
            error = Unauthenticated("The ticket has ended.", hint="Evaluate all flags: the answer has a new one.")
            return _refusal(error)
        return stream(self.services, workspace, user, ends)

    async def _asked(self, request: Request) -> _Asked:
        """Raises Denied, InvalidInput, RateLimited, Unavailable."""
        context = Context(self.services)
        key = request.headers.get("x-api-key")
        given = request.headers.get("authorization")
        await context.admit(given if given is not None or key is None else f"Bearer {key}")
        self._spend(context)
        return _Asked(context, await _subject(context, await _read(request)))

    def _spend(self, context: Context) -> None:
        subject = context.scope.subject
        if subject is None:
            if not context.scope.may("journeys:read"):
                raise Forbidden("This credential may not evaluate flags.", hint="It needs `journeys:read`.")
            return
        try:
            self.rates.spend(f"{context.scope.workspace} {subject.sk}", 1, USER_RATE, USER_BURST)
        except RateLimited as error:
            raise RateLimited(
                f"A user's own token evaluates {USER_RATE:g} times a second.", retry_after=error.retry_after
            ) from None


async def _read(request: Request) -> dict[str, Any]:
    """The context of a request. Raises InvalidInput."""
    body = await read_bytes(request, MAX_BODY_BYTES, "A context is small.")
    try:
        data = read_json(body)
    except orjson.JSONDecodeError:
        raise _Wrong("PARSE_ERROR", "The body is not JSON in UTF-8, or nested too deeply.") from None
    context = data.get("context") if isinstance(data, dict) else None
    if not isinstance(context, dict):
        raise _Wrong("INVALID_CONTEXT", "There is no `context`, or it is no object.")
    if len(context) > MOST_ATTRIBUTES:
        raise _Wrong("INVALID_CONTEXT", f"The context has more than {MOST_ATTRIBUTES} attributes.")
    return context


async def _subject(context: Context, asked: dict[str, Any]) -> Subject:
    """Whom the flags are for. Raises InvalidInput."""
    if context.scope.subject is not None:
        return await subject_behind(context, context.scope.subject, await context.subject_user(), asked)
    key = asked.get("targetingKey")
    if key is None or key == "":
        raise _Wrong("TARGETING_KEY_MISSING", "The context has no `targetingKey`.")
    if not isinstance(key, str) or len(key) > MAX_ID_CHARS or SURROGATE.search(key):
        raise _Wrong("INVALID_CONTEXT", f"`targetingKey` must be a text of at most {MAX_ID_CHARS} characters.")
    user = await context.services.users.follow(context.scope, key.removeprefix("user_"))
    if user is not None:
        (first, *_) = await context.load.identities.load(user)
        return await subject_behind(context, first, user, asked)
    for identity in (Identity("userId", key), Identity("anonymousId", key)):
        user = None if identity.blocked else await context.load.user_ids.load(identity)
        if user is not None:
            return await subject_behind(context, identity, user, asked)
    if identity.blocked:
        return unknown_subject(key, [], {}, asked)
    return await subject_behind(context, Identity("userId", key), None, asked)


def tag_of(decisions: Sequence[Decision], *more: object) -> str:
    """An ETag of what was decided."""
    said = [(one.key, one.value, one.variant, one.reason.value, one.error) for one in decisions]
    return f'"{blake2b(orjson.dumps([said, *more], option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()}"'


def _body(decision: Decision) -> dict[str, Any]:
    """One flag as the protocol has it; without `value` the client's own default counts."""
    metadata: dict[str, Any] = {}
    for name, one in decision.metadata.items():
        if isinstance(one, bool | int | float | str):
            metadata[name] = one
    metadata["because"] = decision.because
    body: dict[str, Any] = {"key": decision.key, "metadata": metadata}
    if decision.error is not None:
        code = decision.error if decision.error in _CODES else "GENERAL"
        return {**body, "errorCode": code, "errorDetails": _details(decision)}
    body["reason"] = _REASONS.get(decision.reason, decision.reason.value)
    if decision.reason is FlagReason.ERROR:
        body["reason"] = FlagReason.UNKNOWN.value
    if decision.variant is not None:
        body["variant"] = decision.variant
    return body if decision.value is None else {**body, "value": decision.value}


def _details(decision: Decision) -> str:
    return decision.because if decision.error in (*_CODES, None) else f"{decision.error}: {decision.because}"


def _refusal(error: GatewayError, key: str | None = None) -> Response:
    """A refusal with the protocol's body, and the code of the gateway's own errors beside it."""
    status, headers = (500, {}) if isinstance(error, OperatorError) else status_of(error)
    said = "The gateway cannot do it now; its log says why." if isinstance(error, OperatorError) else str(error)
    body = {"errorDetails": said}
    if status in (400, 413):
        body |= {"errorCode": error.said if isinstance(error, _Wrong) else "GENERAL"}
        body |= {} if key is None else {"key": key}
        status = 400
    return answer({**body, "code": error.code}, status=status, headers=headers)
