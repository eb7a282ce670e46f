"""Responses to Typeform's forms: by signed webhook at once, and by pulling those that no webhook brought."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.plugin import (
    Answer,
    BaseUrl,
    Config,
    Context,
    Denied,
    Health,
    HttpFailed,
    JsonObject,
    Manifest,
    Page,
    PluginError,
    PluginFailure,
    PullSource,
    RawRequest,
    Response,
    Secret,
    Verified,
    WebhookSource,
)
from gateway_typeform.mapping import Mapped, questions_of

Region = Literal["us", "eu", "eu2"]

_VERSION = "1.0.0"
_HOSTS: Mapping[Region, str] = {
    "us": "https://api.typeform.com",
    "eu": "https://api.eu.typeform.com",
    "eu2": "https://api.typeform.eu",
}
#: Two requests a second are allowed.
_BETWEEN_SECONDS = 0.5
#: Typeform shows a response some while after it was given: so far back every pull looks again, in milliseconds.
_OVERLAP = 3_600_000


class TypeformConfig(Config):
    """Which forms, and who answered them."""

    forms: list[str] = Field(min_length=1, max_length=100, description="The ids of the forms, from their addresses.")
    token: Secret = Field(description="A personal access token, with the scopes forms:read and responses:read.")
    webhook_secret: Secret | None = Field(default=None, description="The secret that webhooks are signed with.")
    old_webhook_secret: Secret | None = Field(default=None, description="The one before, while it is being changed.")
    region: Region = Field(default="us", description="Where the account's data lives: us, eu, or eu2 (typeform.eu).")
    base_url: BaseUrl | None = Field(default=None, description="Another address in place of the region's.")
    user_field: str = Field(default="user_id", description="The hidden field that holds the userId.")
    anonymous_field: str = Field(default="anonymous_id", description="The hidden field that holds the anonymousId.")
    touchpoint_field: str = Field(default="touchpoint", description="The hidden field that says where it was asked.")
    hidden: list[str] = Field(default_factory=list, description="Other hidden fields that are kept with the response.")
    kinds: dict[str, str] = Field(
        default_factory=dict, description="What a question measures, by its ref: nps, csat, ces; by itself its type."
    )
    leave_out: list[str] = Field(
        default=["email", "phone_number", "contact_info", "address", "file_upload", "payment"],
        description="Types of questions whose answers stay at Typeform.",
    )
    page_size: int = Field(default=200, ge=1, le=1000, description="Responses a request.")


class Typeform(WebhookSource[TypeformConfig], PullSource[TypeformConfig]):
    """Both ways lead to the same response, so that it counts once."""

    manifest: ClassVar[Manifest] = Manifest(
        name="typeform",
        version=_VERSION,
        brief="Responses to Typeform's forms.",
        test_level="C",
        docs="plugins/typeform/README.md",
    )
    Config = TypeformConfig

    def __init__(self, config: TypeformConfig, context: Context) -> None:
        super().__init__(config, context)
        self._mapped = Mapped(config, context.workspace)
        self._next = 0.0

    async def check(self) -> Health:
        """Ask for each form."""
        for form in self.config.forms:
            try:
                answer = await self._get(f"/forms/{form}")
            except HttpFailed as failed:
                return Health(False, failed.reason, "Check region or base_url, and the way out to the internet.")
            if answer.status in (401, 403):
                return Health(False, "The token is refused.", "Check token, its scopes and region.")
            if answer.status == 404:
                return Health(False, f"There is no form {form} for this token.", "Check forms, and region.")
            if answer.status != 200:
                return Health(False, f"Typeform answers HTTP {answer.status}.", "Try again later.")
        return Health(True, f"{len(self.config.forms)} forms can be read.")

    # -- webhook ----------------------------------------------------------------------------------------------------

    def verify(self, request: RawRequest) -> Verified | Denied:
        """`sha256=` and the base64 of the body's HMAC. It carries no time: a response counts once however often."""
        if self.config.webhook_secret is None:
            return Denied("webhook_secret is not set")
        given = request.headers.get("typeform-signature", "").encode("utf-8", "surrogateescape")
        for secret in (self.config.webhook_secret, self.config.old_webhook_secret):
            if secret is not None:
                made = hmac.new(secret.reveal().encode(), request.body, hashlib.sha256).digest()
                if hmac.compare_digest(b"sha256=" + base64.b64encode(made), given):
                    return Verified()
        return Denied("wrong signature" if given else "no signature")

    def parse(self, request: RawRequest) -> Iterable[JsonObject | Response]:
        """The response of one of the forms; a request about another is left out. ValueError."""
        said = json.loads(request.body)
        if not isinstance(said, dict):
            raise ValueError("an object is expected")
        given = said.get("form_response")
        if said.get("event_type") != "form_response" or not isinstance(given, dict):
            return []
        form = str(given.get("form_id"))
        if form not in self.config.forms:
            return []
        return [self._mapped.response(form, given, questions_of(given.get("definition") or {}))]

    # -- pull -------------------------------------------------------------------------------------------------------

    async def read(self, state: Any) -> Page:
        """One page of one form. A round walks each form from its newest response back to where the last round was.

        State: `form`, the place of the form in its turn; `forms`, by id `since` (ms) and, within a walk, `before` (the
        token of the last response seen) and `newest` (ms). Raises PluginError and HttpFailed.
        """
        turn, known = _state(state)
        if turn >= len(self.config.forms):
            turn = 0
        form = self.config.forms[turn]
        walk = dict(known.get(form) or {})
        params = {"page_size": str(self.config.page_size)}
        if walk.get("since"):
            params["since"] = _iso(walk["since"] - _OVERLAP)
        if walk.get("before"):
            params["before"] = walk["before"]
        found = self._read(await self._get(f"/forms/{form}/responses", params))
        given = [one for one in found.get("items") or [] if isinstance(one, dict) and one.get("token")]
        rows: list[JsonObject | Response] = []
        if given:
            questions = questions_of(self._read(await self._get(f"/forms/{form}")))
            rows = [self._mapped.response(form, one, questions) for one in given if one.get("submitted_at")]
        newest = max([walk.get("newest") or 0, *(one.at for one in rows if isinstance(one, Response))])
        if len(given) < self.config.page_size:
            walk, turn = {"since": max(newest, walk.get("since") or 0)}, turn + 1
        else:
            walk |= {"before": given[-1]["token"], "newest": newest}
        last = turn >= len(self.config.forms)
        # Forms that are no longer read are forgotten.
        forms = {**{one: known[one] for one in self.config.forms if one in known}, form: walk}
        return Page(rows, {"form": 0 if last else turn, "forms": forms}, more=not last)

    def _read(self, answer: Answer) -> dict[str, Any]:
        if answer.status == 200:
            try:
                said = answer.json()
            except ValueError:
                said = None
            if isinstance(said, dict):
                return said
        raise self._failed(answer)

    async def _get(self, path: str, params: dict[str, str] | None = None) -> Answer:
        clock = self.context.clock
        wait, self._next = self._next - clock.monotonic(), max(clock.monotonic(), self._next) + _BETWEEN_SECONDS
        if wait > 0:
            await asyncio.sleep(wait)
        base = self.config.base_url or _HOSTS[self.config.region]
        headers = {"authorization": f"Bearer {self.config.token.reveal()}", "accept": "application/json"}
        return await self.context.http.request("GET", f"{base}{path}", headers=headers, params=params)

    def _failed(self, answer: Answer) -> PluginError:
        category, fix = "remote", "It is asked again by itself."
        if answer.status in (401, 403):
            category, fix = "auth", "Check token, its scopes forms:read and responses:read, and region."
        elif answer.status == 404:
            category, fix = "config", "Check forms, and region."
        elif answer.status == 429:
            category, fix = "rate_limit", "Others use the account's two requests a second; it is asked again by itself."
        return PluginError(
            PluginFailure(
                plugin="typeform",
                version=_VERSION,
                operation="read",
                category=category,  # type: ignore[arg-type]
                message=f"Typeform answers HTTP {answer.status}.",
                fix=fix,
                retryable=category in ("remote", "rate_limit"),
            )
        )


def _state(state: Any) -> tuple[int, dict[str, Any]]:
    if not isinstance(state, dict):
        return 0, {}
    return int(state.get("form") or 0), dict(state.get("forms") or {})


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(max(0, milliseconds) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
