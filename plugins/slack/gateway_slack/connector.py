"""Alerts to a Slack channel, by an incoming webhook or as an app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, model_validator

from gateway.plugin import (
    Alert,
    AlertChannel,
    Answer,
    AuthFailed,
    BaseUrl,
    Config,
    Delivered,
    Duplicate,
    Health,
    HttpFailed,
    ItemResult,
    Manifest,
    Rejected,
    Retry,
    Secret,
    Throttled,
    result_of,
    retry_after,
)
from gateway_slack.blocks import blocks_of, text_of

_REFUSED = frozenset(
    {
        "access_denied",
        "account_inactive",
        "invalid_auth",
        "missing_scope",
        "no_permission",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
    }
)
_PASSING = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable"})
_FIXES: Mapping[str, str] = {
    "channel_not_found": "check `channel`, and invite the app to it",
    "not_in_channel": "invite the app to the channel",
    "is_archived": "name another `channel`",
}
#: What a webhook that has been taken away answers: its address is its credential.
_GONE = frozenset({"invalid_token", "no_active_hooks", "no_service", "no_service_id", "no_team", "team_disabled"})
_EXCERPT = 100


class SlackConfig(Config):
    """Either an incoming webhook, or an app's token and a channel."""

    webhook_url: Secret | None = Field(default=None, description="The address of an incoming webhook; it is a secret.")
    token: Secret | None = Field(default=None, description="An app's bot token, with the scope chat:write.")
    channel: str | None = Field(default=None, min_length=1, description="The channel's id or name, with `token`.")
    api_url: BaseUrl = Field(default="https://slack.com/api", description="Where Slack's Web API is.")

    @model_validator(mode="after")
    def _one_way(self) -> SlackConfig:
        if (self.webhook_url is None) == (self.token is None):
            raise ValueError("give either `webhook_url` or `token`")
        if (self.token is None) != (self.channel is None):
            raise ValueError("`token` and `channel` go together")
        return self


class Slack(AlertChannel[SlackConfig]):
    """Tells a channel about alerts. As an app it answers in the thread of the alert when that is resolved."""

    manifest: ClassVar[Manifest] = Manifest(
        name="slack",
        version="1.0.0",
        brief="Alerts to a Slack channel.",
        test_level="B",
        docs="plugins/slack/README.md",
    )
    Config = SlackConfig

    async def check(self) -> Health:
        """Ask whom the token belongs to; send a webhook what it must refuse."""
        try:
            return await self._checked()
        except HttpFailed as failed:
            return Health(False, failed.reason, "Check the address, and the way out to the internet.")

    async def _checked(self) -> Health:
        if self.config.webhook_url is not None:
            answer = await self.context.http.request("POST", self.config.webhook_url.reveal(), json={})
            if answer.status == 400:
                return Health(True, "The webhook is there.")
            return Health(False, f"The webhook answers HTTP {answer.status}.", "Make a new one, and set webhook_url.")
        answer = await self._call("auth.test", {})
        said = _read(answer)
        if said.get("ok") is True:
            return Health(True, "The token is good.")
        return Health(False, f"Slack answers {said.get('error', answer.status)}.", "Install the app anew, set token.")

    async def notify(self, alert: Alert) -> ItemResult:
        """Post it once; a resolved one into the thread of the raised."""
        message: dict[str, Any] = {"text": text_of(alert), "blocks": blocks_of(alert)}
        if self.config.webhook_url is not None:
            answer = await self.context.http.request("POST", self.config.webhook_url.reveal(), json=message)
            return self._of_webhook(answer)
        state, key = self.context.state, f"thread:{alert.id}"
        thread = await state.get(key)
        if thread is not None and alert.resolved_at is None:
            return Duplicate(str(thread))
        message["channel"] = self.config.channel or ""
        if thread is not None:
            # Those who do not follow the thread want to know as well.
            message |= {"thread_ts": str(thread), "reply_broadcast": True}
        answer = await self._call("chat.postMessage", message)
        result = self._of_app(answer)
        if isinstance(result, Delivered):
            await state.put(key, None if alert.resolved_at is not None else result.reference)
        return result

    async def _call(self, method: str, body: dict[str, Any]) -> Answer:
        assert self.config.token is not None
        headers = {"authorization": f"Bearer {self.config.token.reveal()}"}
        return await self.context.http.request("POST", f"{self.config.api_url}/{method}", headers=headers, json=body)

    def _of_webhook(self, answer: Answer) -> ItemResult:
        said = answer.text.strip()[:_EXCERPT]
        if answer.status == 200:
            return Delivered() if said == "ok" else Retry("HTTP 200, but not Slack's answer")
        if said in _GONE:
            return AuthFailed(f"the webhook is not there any more ({said}): make a new one, and set webhook_url")
        return result_of(answer, self.context.clock.now())

    def _of_app(self, answer: Answer) -> ItemResult:
        """Slack says 200 to nearly everything; whether it worked stands inside."""
        if answer.status != 200:
            return result_of(answer, self.context.clock.now())
        said = _read(answer)
        if said.get("ok") is True:
            return Delivered(str(said.get("ts") or "") or None)
        error = str(said.get("error") or "")[:_EXCERPT]
        if not error or error in _PASSING:
            return Retry(error or "HTTP 200, but not Slack's answer")
        if error in ("ratelimited", "rate_limited"):
            return Throttled(error, retry_after(answer.headers, self.context.clock.now()))
        if error in _REFUSED:
            return AuthFailed(error)
        fix = _FIXES.get(error)
        return Rejected(f"{error}: {fix}" if fix else error, code=error)


def _read(answer: Answer) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
