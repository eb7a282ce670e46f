"""The suite for alert channels on those whose own tests speak to the vendors' clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gateway_jira.connector import Jira
from gateway_slack.connector import Slack

from gateway.testing import AlertChannelContract, Received, Reply


class TestSlackApp(AlertChannelContract):
    connector = Slack
    settings: ClassVar[Mapping[str, Any]] = {"token": "env:SLACK_TOKEN", "channel": "C1"}

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"ok": True, "ts": "1795255200.000100"})

    def lies(self, request: Received) -> Reply:
        return Reply(200, {"ok": False, "error": "channel_not_found"})

    def harmless(self, request: Received) -> bool:
        return request.url == "https://slack.com/api/auth.test"


class TestSlackWebhook(AlertChannelContract):
    """Its address is its secret."""

    connector = Slack
    settings: ClassVar[Mapping[str, Any]] = {"webhook_url": "env:SLACK_WEBHOOK"}
    secrets: ClassVar[Mapping[str, str]] = {"SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/B0/planted-8c1f5e7a"}

    def answer(self, request: Received) -> Reply:
        """A message without anything in it is what Slack refuses so."""
        return Reply(400, b"no_text") if request.json() == {} else Reply(200, b"ok")

    def lies(self, request: Received) -> Reply:
        return Reply(200, b"not ok")

    def harmless(self, request: Received) -> bool:
        return bool(request.json() == {})


class JiraSuite(AlertChannelContract):
    connector = Jira
    settings: ClassVar[Mapping[str, Any]] = {
        "url": "https://acme.atlassian.net",
        "email": "gateway@acme.example",
        "token": "env:JIRA_TOKEN",
        "project": "OPS",
    }

    def answer(self, request: Received) -> Reply:
        """A project without issues; what an alert that is over does to its issue is tried in test_jira.py."""
        path = request.url.partition("?")[0].partition("/rest/api/")[2][2:]
        if path.startswith("search"):
            return Reply(200, {"issues": []})
        if path == "issue":
            return Reply(201, {"id": "1", "key": "OPS-1"})
        return Reply(200, {"key": "OPS"})

    def told(self, request: Received) -> bool:
        return super().told(request) and "/search" not in request.url


class TestJiraCloud(JiraSuite):
    pass


class TestJiraDataCenter(JiraSuite):
    settings: ClassVar[Mapping[str, Any]] = {
        "url": "https://jira.acme.example",
        "token": "env:JIRA_TOKEN",
        "project": "OPS",
        "api": "2",
    }
