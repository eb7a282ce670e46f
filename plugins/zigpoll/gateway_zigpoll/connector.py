"""Responses to Zigpoll's polls. Its webhooks are not signed: they only say that a pull is worth while."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, model_validator

from gateway.plugin import (
    Answer,
    BaseUrl,
    Config,
    Denied,
    Health,
    HttpFailed,
    Identity,
    JsonObject,
    Manifest,
    Page,
    PluginError,
    PluginFailure,
    PullSource,
    RawRequest,
    Response,
    Secret,
    SurveyAnswer,
    Verified,
    WebhookSource,
)

_VERSION = "1.0.0"
#: So far back every round looks again, in milliseconds.
_OVERLAP = 600_000
_SCORES = frozenset({"nps", "csat", "ces"})
_LONGEST = 255


class ZigpollConfig(Config):
    """Which polls, and who answered them."""

    api_key: Secret = Field(description="A private key (Integrations, Private Keys).")
    account_id: str | None = Field(default=None, min_length=1, description="All polls of this account.")
    poll_id: str | None = Field(default=None, min_length=1, description="Only this poll.")
    base_url: BaseUrl = Field(default="https://v1.zigpoll.com", description="Where Zigpoll's API is.")
    webhook_key: Secret | None = Field(
        default=None, description="What the webhook's address ends with, as `?key=…`, or its header X-Webhook-Key has."
    )
    user_field: str = Field(default="user_id", description="The metadata that holds the userId.")
    anonymous_field: str = Field(default="anonymous_id", description="The metadata that holds the anonymousId.")
    touchpoint_field: str = Field(default="touchpoint", description="The metadata that says where it was asked.")
    metadata: list[str] = Field(default_factory=list, description="Other metadata that is kept with the response.")
    kinds: dict[str, str] = Field(
        default_factory=dict, description="What a question measures, by the id of its slide: nps, csat, ces."
    )
    page_size: int = Field(default=500, ge=1, le=5000, description="Responses a request.")

    @model_validator(mode="after")
    def _one_scope(self) -> ZigpollConfig:
        if (self.account_id is None) == (self.poll_id is None):
            raise ValueError("give either `account_id` or `poll_id`")
        return self


class Zigpoll(WebhookSource[ZigpollConfig], PullSource[ZigpollConfig]):
    """What a pull finds is the truth; what a webhook says is not read."""

    manifest: ClassVar[Manifest] = Manifest(
        name="zigpoll",
        version=_VERSION,
        brief="Responses to Zigpoll's polls.",
        test_level="D",
        docs="plugins/zigpoll/README.md",
    )
    Config = ZigpollConfig

    async def check(self) -> Health:
        """Ask whose key it is."""
        try:
            answer = await self._get("/me")
        except HttpFailed as failed:
            return Health(False, failed.reason, "Check base_url, and the way out to the internet.")
        if answer.status == 200:
            return Health(True, "The key is good.")
        failure = self._failed(answer, "check").failure
        return Health(False, failure.message, failure.fix)

    # -- webhook ----------------------------------------------------------------------------------------------------

    def verify(self, request: RawRequest) -> Verified | Denied:
        """By the key in the address or in a header: it keeps strangers from making the gateway pull."""
        if self.config.webhook_key is None:
            return Denied("webhook_key is not set")
        given = request.headers.get("x-webhook-key") or (parse_qs(urlsplit(request.url).query).get("key") or [""])[-1]
        good = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.config.webhook_key.reveal().encode())
        return Verified() if good else Denied("wrong key")

    def parse(self, request: RawRequest) -> Iterable[JsonObject | Response]:
        """Nothing: the pull that follows brings it."""
        return ()

    # -- pull -------------------------------------------------------------------------------------------------------

    async def read(self, state: Any) -> Page:
        """One page. State: `after` (ms: where the round began) and, within a round, `cursor` and `newest` (ms).

        Raises PluginError and HttpFailed.
        """
        known = dict(state) if isinstance(state, dict) else {}
        after, cursor = int(known.get("after") or 0), known.get("cursor")
        params = {"limit": str(self.config.page_size)}
        params |= {"accountId": self.config.account_id} if self.config.account_id else {}
        params |= {"pollId": self.config.poll_id} if self.config.poll_id else {}
        params |= {"createdAfter": str(max(0, after - _OVERLAP))} if after else {}
        params |= {"startCursor": cursor} if cursor else {}
        answer = await self._get("/responses", params)
        said = _object(answer)
        if answer.status != 200 or not isinstance(said.get("data"), list):
            raise self._failed(answer, "read")
        rows = [row for one in said["data"] if isinstance(one, dict) and (row := self._response(one)) is not None]
        newest = max([int(known.get("newest") or 0), after, *(row.at for row in rows)])
        onward = said.get("endCursor")
        # A cursor that stands still would be asked for for ever.
        if said.get("hasNextPage") is True and onward and onward != cursor:
            return Page(rows, {"after": after, "cursor": onward, "newest": newest}, more=True)
        return Page(rows, {"after": newest})

    def _response(self, one: Mapping[str, Any]) -> Response | None:
        """A row: one participant's answer to one question."""
        slide, value = one.get("slideId"), one.get("response")
        if not one.get("_id") or not slide or value in (None, ""):
            return None
        try:
            moment = datetime.fromisoformat(str(one["createdAt"]))
        except (KeyError, ValueError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        about = one.get("metadata")
        given: dict[str, Any] = about if isinstance(about, dict) else {}
        touchpoint = given.get(self.config.touchpoint_field)
        return Response(
            workspace=self.context.workspace,
            source="zigpoll",
            external_id=str(one["_id"]),
            survey=str(one.get("pollId") or self.config.poll_id or ""),
            at=round(moment.timestamp() * 1000),
            answers=(self._answer(str(slide), value, str(one.get("valueType", ""))),),
            identity=self._identity(given, one.get("participantId")),
            touchpoint=str(touchpoint) if touchpoint else None,
            metadata={name: str(given[name]) for name in self.config.metadata if given.get(name)},
        )

    def _answer(self, slide: str, value: Any, value_type: str) -> SurveyAnswer:
        """Typed text is `dynamic-response`, a choice is `vote`; a score's text becomes a number."""
        kind = self.config.kinds.get(slide) or ("text" if value_type == "dynamic-response" else "choice")
        text = str(value).strip()
        if kind in _SCORES and text.isascii() and text.isdigit():
            return SurveyAnswer(slide, int(text), kind=kind)
        return SurveyAnswer(slide, text, kind=kind)

    def _identity(self, given: Mapping[str, Any], participant: Any) -> Identity | None:
        for kind, name in (("userId", self.config.user_field), ("anonymousId", self.config.anonymous_field)):
            value = given.get(name)
            if isinstance(value, str | int) and 0 < len(str(value)) <= _LONGEST:
                return Identity(kind, str(value))  # type: ignore[arg-type]
        return Identity("anonymousId", f"zigpoll:{participant}") if participant else None

    # -- asking -----------------------------------------------------------------------------------------------------

    async def _get(self, path: str, params: dict[str, str] | None = None) -> Answer:
        # The key alone: with `Bearer` before it Zigpoll refuses it.
        headers = {"authorization": self.config.api_key.reveal(), "accept": "application/json"}
        return await self.context.http.request("GET", f"{self.config.base_url}{path}", headers=headers, params=params)

    def _failed(self, answer: Answer, operation: str) -> PluginError:
        category, fix = "remote", "It is asked again by itself."
        message = f"Zigpoll answers HTTP {answer.status}."
        if answer.status in (401, 403, 422):
            # 422 is its answer to a bad key, whatever is asked for.
            category, fix = "auth", "Set api_key to a private key (Integrations, Private Keys), without `Bearer`."
            message = f"Zigpoll refuses the key (HTTP {answer.status})."
        elif answer.status == 429:
            category, fix = "rate_limit", "It is asked again by itself, more slowly."
        elif answer.status == 404:
            category, fix = "config", "Check account_id or poll_id."
        return PluginError(
            PluginFailure(
                plugin="zigpoll",
                version=_VERSION,
                operation=operation,
                category=category,  # type: ignore[arg-type]
                message=message,
                fix=fix,
                retryable=category in ("remote", "rate_limit"),
            )
        )


def _object(answer: Answer) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
