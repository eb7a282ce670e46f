"""Alerts as Jira issues: found before they are created, as Jira knows no idempotency keys, and closed when resolved."""

from __future__ import annotations

import base64
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from gateway.plugin import (
    Alert,
    AlertChannel,
    Answer,
    BaseUrl,
    Config,
    Delivered,
    Duplicate,
    Health,
    HttpFailed,
    ItemResult,
    Manifest,
    Rejected,
    Secret,
    Severity,
    result_of,
)
from gateway_jira.texts import document, raised, resolved, summary

#: An issue is found again by this label, with the alert's id behind it.
_LABEL = "gateway-alert-"
_EXCERPT = 200


class JiraConfig(Config):
    """Which Jira, who asks, and where issues go."""

    url: BaseUrl = Field(description="Jira's address, such as `https://acme.atlassian.net`.")
    email: str | None = Field(default=None, min_length=3, description="Jira Cloud: whose API token it is.")
    token: Secret = Field(description="An API token (with `email`), or a personal access token of Jira Data Center.")
    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]{1,39}$", description="The key of the project, such as OPS.")
    issue_type: str = Field(default="Task", min_length=1, description="The type of the issues.")
    api: Literal["3", "2"] = Field(default="3", description="3: Jira Cloud; 2: Jira Data Center.")
    labels: list[str] = Field(default_factory=list, description="Labels that every issue gets.")
    priorities: dict[Severity, str] = Field(
        default_factory=dict, description="The name of a priority by severity; the others get the project's own."
    )
    on_resolve: Literal["transition", "comment"] = Field(
        default="transition", description="Whether a resolved alert closes its issue, or only says so there."
    )
    transition: str | None = Field(
        default=None, description="The transition that closes; by itself the first that leads to a status that is done."
    )

    @model_validator(mode="after")
    def _labels_are_words(self) -> JiraConfig:
        if any(not label or any(sign.isspace() for sign in label) for label in self.labels):
            raise ValueError("a label of Jira's holds no blanks")
        return self


class _Refused(Exception):
    """An answer that ends it, as the result for the alert."""

    def __init__(self, result: ItemResult) -> None:
        super().__init__()
        self.result = result


class Jira(AlertChannel[JiraConfig]):
    """One issue per alert."""

    manifest: ClassVar[Manifest] = Manifest(
        name="jira",
        version="1.0.0",
        brief="Alerts as Jira issues.",
        test_level="B",
        docs="plugins/jira/README.md",
    )
    Config = JiraConfig

    async def check(self) -> Health:
        """Ask whether the project opens to the token."""
        try:
            answer = await self._ask("GET", f"project/{self.config.project}")
        except HttpFailed as failed:
            return Health(False, failed.reason, "Check url; a private address is reached only if allow_hosts names it.")
        if answer.status == 200:
            return Health(True, f"The project {self.config.project} is open.")
        if answer.status == 404:
            return Health(False, "There is no such project for this token.", "Check project and who may browse it.")
        if answer.status in (401, 403):
            return Health(False, "The token is refused.", "Check url, email and token.")
        return Health(False, f"Jira answers HTTP {answer.status}.", "Check url; try again later.")

    async def notify(self, alert: Alert) -> ItemResult:
        """Create the issue of a raised alert, unless it is there; close that of a resolved one."""
        try:
            issue = await self._find(alert)
            if alert.resolved_at is not None:
                return Delivered() if issue is None else await self._resolve(alert, issue)
            if issue is not None:
                return Duplicate(issue)
            return Delivered(await self._create(alert))
        except _Refused as refused:
            return refused.result

    async def _find(self, alert: Alert) -> str | None:
        """The key of the alert's issue. Jira finds a new one only after a while: what was created is remembered too."""
        remembered = await self.context.state.get(f"issue:{alert.id}")
        if isinstance(remembered, str):
            return remembered
        jql = f'project = "{self.config.project}" AND labels = "{_LABEL}{alert.id}" ORDER BY created ASC'
        if self.config.api == "3":
            body = {"jql": jql, "fields": ["status"], "maxResults": 1}
            said = await self._json("POST", "search/jql", body)
        else:
            said = await self._json("GET", "search", params={"jql": jql, "fields": "status", "maxResults": "1"})
        issues = said.get("issues") or []
        return str(issues[0]["key"]) if issues else None

    async def _create(self, alert: Alert) -> str:
        fields: dict[str, Any] = {
            "project": {"key": self.config.project},
            "issuetype": {"name": self.config.issue_type},
            "summary": summary(alert),
            "description": self._text(raised(alert)),
            "labels": [*self.config.labels, f"{_LABEL}{alert.id}"],
        }
        if (priority := self.config.priorities.get(alert.severity)) is not None:
            fields["priority"] = {"name": priority}
        key = str((await self._json("POST", "issue", {"fields": fields})).get("key") or "")
        await self.context.state.put(f"issue:{alert.id}", key)
        return key

    async def _resolve(self, alert: Alert, issue: str) -> ItemResult:
        found = await self._json("GET", f"issue/{issue}", params={"fields": "status"})
        done = _category(found.get("fields", {}).get("status")) == "done"
        said = f"told:{alert.id}"
        if not done and await self.context.state.get(said) is None:
            await self._json("POST", f"issue/{issue}/comment", {"body": self._text(resolved(alert))})
            await self.context.state.put(said, True)
        if not done and self.config.on_resolve == "transition":
            await self._close(issue)
        await self.context.state.put(said, None)
        await self.context.state.put(f"issue:{alert.id}", None)
        return Duplicate(issue) if done else Delivered(issue)

    async def _close(self, issue: str) -> None:
        offered = (await self._json("GET", f"issue/{issue}/transitions")).get("transitions") or []
        for one in offered:
            if one.get("name") == self.config.transition or (
                self.config.transition is None and _category(one.get("to")) == "done"
            ):
                await self._json("POST", f"issue/{issue}/transitions", {"transition": {"id": str(one["id"])}})
                return
        wanted = self.config.transition or "a transition to a status that is done"
        names = ", ".join(str(one.get("name")) for one in offered) or "none"
        raise _Refused(
            Rejected(f"{issue} offers no {wanted}; it has: {names}. Set `transition`.", "no_transition", "transition")
        )

    def _text(self, paragraphs: list[str]) -> Any:
        return document(paragraphs) if self.config.api == "3" else "\n\n".join(paragraphs)

    async def _json(
        self, method: str, path: str, body: dict[str, Any] | None = None, params: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """What Jira answers. Raises _Refused with the result when it is no success."""
        answer = await self._ask(method, path, body, params)
        if not 200 <= answer.status < 300:
            raise _Refused(_result(answer, self.context.clock.now()))
        if not answer.body:
            return {}
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            # A sign-in page answers 200 as well.
            raise _Refused(Rejected("HTTP 200, but not Jira's answer: check `url`", "not_jira", "url"))
        return said

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, params: dict[str, str] | None = None
    ) -> Answer:
        token = self.config.token.reveal()
        given = f"Bearer {token}"
        if self.config.email is not None:
            given = f"Basic {base64.b64encode(f'{self.config.email}:{token}'.encode()).decode()}"
        url = f"{self.config.url}/rest/api/{self.config.api}/{path}"
        headers = {"authorization": given, "accept": "application/json"}
        return await self.context.http.request(method, url, headers=headers, params=params, json=body)


def _category(status: Any) -> str:
    return str((status or {}).get("statusCategory", {}).get("key", ""))


def _result(answer: Answer, now: int) -> ItemResult:
    """What Jira says of a field that it refuses goes into the dead letter."""
    result = result_of(answer, now)
    if not isinstance(result, Rejected):
        return result
    try:
        said = answer.json()
        errors = dict(said.get("errors") or {})
        words = [*(str(one) for one in said.get("errorMessages") or []), *(str(one) for one in errors.values())]
    except (ValueError, AttributeError, TypeError):
        return result
    reason = " ".join(words)[:_EXCERPT] or f"HTTP {answer.status}"
    return Rejected(reason, code=f"http_{answer.status}", field=next(iter(errors), None))
