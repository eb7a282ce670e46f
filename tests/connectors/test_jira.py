"""Jira: what the `jira` client sends, what a small Jira answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gateway_jira.connector import Jira, JiraConfig
from jira import JIRA

from gateway.connectors.http import GuardedHttp
from gateway.plugin import AuthFailed, Delivered, Duplicate, Rejected, Retry, Throttled
from tests.connectors.alerting import RAISED, RESOLVED, Remembered
from tests.connectors.delivering import context
from tests.connectors.sink import Asked, Sink, Told

LABEL = f"gateway-alert-{RAISED.id}"


class SmallJira:
    """One project with issues, found by label, with two transitions."""

    def __init__(self, sink: Sink) -> None:
        self.issues: dict[str, dict[str, Any]] = {}
        self.searched: list[str] = []
        self.transitions = [("11", "Start", "indeterminate"), ("31", "Close", "done")]
        #: A label is found only some time after its issue was made.
        self.indexed = True
        sink.answer = self.answer

    def answer(self, asked: Asked) -> Told:
        path = asked.path.split("/")[4:]
        if path[0] == "search":
            return self._search(asked.json["jql"] if asked.method == "POST" else asked.query["jql"])
        if path == ["issue"]:
            key = f"OPS-{len(self.issues) + 1}"
            self.issues[key] = {**asked.json["fields"], "status": "new", "comments": []}
            return Told({"id": "1", "key": key, "self": asked.path}, 201)
        if len(path) == 1:
            return Told([])  # what the client asks for itself
        issue = self.issues[path[1]]
        if path[2:] == ["comment"]:
            issue["comments"].append(asked.json["body"])
            return Told({"id": "1", "body": asked.json["body"]}, 201)
        if path[2:] == ["transitions"]:
            if asked.method == "POST":
                chosen = str(asked.json["transition"]["id"])  # the client sends a number
                issue["status"] = next(to for number, _, to in self.transitions if number == chosen)
                return Told(status=204)
            offered = [
                {"id": number, "name": name, "to": {"name": to, "statusCategory": {"key": to}}}
                for number, name, to in self.transitions
            ]
            return Told({"transitions": offered})
        fields = {"summary": issue["summary"], "status": {"name": "s", "statusCategory": {"key": issue["status"]}}}
        return Told({"id": "1", "key": path[1], "self": asked.path, "fields": fields})

    def _search(self, jql: str) -> Told:
        self.searched.append(jql)
        keys = [key for key, one in self.issues.items() if self.indexed and any(each in jql for each in one["labels"])]
        found = [{"id": "1", "key": key, "fields": {}} for key in keys]
        return Told({"issues": found, "total": len(found), "startAt": 0, "maxResults": 1, "isLast": True})


@pytest.fixture
def jira(sink: Sink) -> SmallJira:
    return SmallJira(sink)


@pytest.fixture
def state() -> Remembered:
    return Remembered()


@pytest.fixture
def connector(sink: Sink, http: GuardedHttp, state: Remembered, monkeypatch: pytest.MonkeyPatch) -> Jira:
    monkeypatch.setenv("JIRA_TOKEN", "canary")
    return made(sink, http, state)


def made(sink: Sink, http: GuardedHttp, state: Remembered, **settings: Any) -> Jira:
    given = {"url": sink.url, "email": "gateway@acme.example", "token": "env:JIRA_TOKEN", "project": "OPS"}
    config = JiraConfig.model_validate({**given, **settings})
    return Jira(config, replace(context("jira", http=http), state=state))


async def test_an_issue_is_created_found_and_closed_as_the_client_does(
    sink: Sink, http: GuardedHttp, jira: SmallJira, state: Remembered, connector: Jira
) -> None:
    ours = made(sink, http, state, api="2", labels=["gateway"], priorities={"critical": "Highest"})
    assert await ours.notify(RAISED) == Delivered("OPS-1")
    assert await ours.notify(RESOLVED) == Delivered("OPS-1")
    mine = list(sink.asked)
    created = next(asked for asked in mine if asked.path.endswith("/issue"))
    comment = next(asked for asked in mine if asked.path.endswith("/comment"))

    sink.asked.clear()
    client = JIRA(server=sink.url, basic_auth=("gateway@acme.example", "canary"), get_server_info=False, max_retries=0)
    client.search_issues(jira.searched[0], maxResults=1, fields="status")
    issue = client.create_issue(fields=created.json["fields"])
    client.add_comment(issue, comment.json["body"])
    client.transition_issue(issue, "31")
    client.close()  # type: ignore[no-untyped-call]

    def shape(asked: Asked) -> tuple[Any, ...]:
        body = asked.json if asked.body else {}
        if asked.path.endswith("/transitions"):  # the client sends a number, and fields that do not change
            body = {"transition": {"id": str(body["transition"]["id"])}} if body else {}
        return asked.method, asked.path.replace("OPS-2", "OPS-1"), body, asked.basic

    theirs = [shape(asked) for asked in sink.asked]
    for asked in mine:
        if asked.method == "POST":
            assert shape(asked) in theirs
    search, library = (next(one for one in asked if "/search" in one.path) for asked in (mine, sink.asked))
    assert search.path == library.path == "/rest/api/2/search"
    for name in ("jql", "maxResults", "fields"):
        assert search.query[name] == library.query[name]


async def test_an_issue_says_what_is_wrong_and_what_to_do(sink: Sink, connector: Jira, jira: SmallJira) -> None:
    assert await connector.notify(replace(RAISED, title="two\nlines " + "x" * 300)) == Delivered("OPS-1")
    issue = jira.issues["OPS-1"]
    assert issue["summary"].startswith("two lines x")
    assert len(issue["summary"]) == 255
    assert issue["labels"] == [LABEL]
    assert "priority" not in issue
    description = issue["description"]
    assert (description["type"], description["version"]) == ("doc", 1)
    assert [one["content"][0]["text"] for one in description["content"]] == [
        "HTTP 401 <since> & before",
        "What to do: Set a new token.",
        "connector: crm; severity: critical; workspace: main; since 2026-11-21 10:00:00 UTC",
    ]
    assert sink.asked[0].path == "/rest/api/3/search/jql"
    assert f'labels = "{LABEL}"' in jira.searched[0]


async def test_an_alert_has_one_issue_whether_jira_finds_it_or_not(
    connector: Jira, jira: SmallJira, state: Remembered
) -> None:
    assert await connector.notify(RAISED) == Delivered("OPS-1")
    jira.indexed = False  # it is remembered
    assert await connector.notify(RAISED) == Duplicate("OPS-1")
    jira.indexed = True
    state.values.clear()  # it is found
    assert await connector.notify(RAISED) == Duplicate("OPS-1")
    assert list(jira.issues) == ["OPS-1"]
    assert await connector.notify(replace(RAISED, id="another")) == Delivered("OPS-2")


async def test_a_resolved_alert_comments_and_closes_once(connector: Jira, jira: SmallJira, state: Remembered) -> None:
    await connector.notify(RAISED)
    assert await connector.notify(RESOLVED) == Delivered("OPS-1")
    issue = jira.issues["OPS-1"]
    (comment,) = issue["comments"]
    assert comment["content"][0]["content"][0]["text"] == (
        "Resolved by itself at 2026-11-21 10:01:00 UTC; it was met 3 times since 2026-11-21 10:00:00 UTC."
    )
    assert issue["status"] == "done"
    assert await connector.notify(RESOLVED) == Duplicate("OPS-1")
    assert len(issue["comments"]) == 1
    assert state.values == {}


async def test_a_comment_is_not_repeated_when_closing_fails(sink: Sink, connector: Jira, jira: SmallJira) -> None:
    await connector.notify(RAISED)
    closing = jira.answer
    sink.answer = lambda asked: Told(b"", 502) if asked.path.endswith("/transitions") else closing(asked)
    assert await connector.notify(RESOLVED) == Retry("HTTP 502")
    sink.answer = closing
    assert await connector.notify(RESOLVED) == Delivered("OPS-1")
    assert len(jira.issues["OPS-1"]["comments"]) == 1


async def test_what_closes_can_be_named_or_left_to_people(
    sink: Sink, http: GuardedHttp, jira: SmallJira, connector: Jira
) -> None:
    named = made(sink, http, Remembered(), transition="Start")
    await named.notify(RAISED)
    await named.notify(RESOLVED)
    assert jira.issues["OPS-1"]["status"] == "indeterminate"
    missing = made(sink, http, Remembered(), transition="Finish")
    result = await missing.notify(RESOLVED)
    assert isinstance(result, Rejected)
    assert result.reason == "OPS-1 offers no Finish; it has: Start, Close. Set `transition`."
    jira.issues.clear()
    talking = made(sink, http, Remembered(), on_resolve="comment")
    await talking.notify(RAISED)
    await talking.notify(RESOLVED)
    assert (jira.issues["OPS-1"]["status"], len(jira.issues["OPS-1"]["comments"])) == ("new", 1)


async def test_an_alert_that_never_had_an_issue_is_resolved_without_one(connector: Jira, jira: SmallJira) -> None:
    assert await connector.notify(RESOLVED) == Delivered()
    assert jira.issues == {}


@pytest.mark.parametrize(
    ("told", "result"),
    [
        (Told({"errorMessages": ["no"]}, 401), AuthFailed("HTTP 401")),
        (Told(b"", 403), AuthFailed("HTTP 403")),
        (Told(b"", 429, {"Retry-After": "12"}), Throttled("HTTP 429", 12.0)),
        (Told(b"", 500), Retry("HTTP 500")),
        (
            Told({"errorMessages": [], "errors": {"customfield_1": "Team is required."}}, 400),
            Rejected("Team is required.", code="http_400", field="customfield_1"),
        ),
        (Told(b"<html>Log in</html>"), Rejected("HTTP 200, but not Jira's answer: check `url`", "not_jira", "url")),
    ],
)
async def test_answers(sink: Sink, connector: Jira, jira: SmallJira, told: Told, result: Any) -> None:
    sink.answers = [Told({"issues": []}), told]
    assert await connector.notify(RAISED) == result


async def test_the_check_asks_for_the_project(
    sink: Sink, http: GuardedHttp, connector: Jira, state: Remembered
) -> None:
    sink.answers = [Told({"key": "OPS"}), Told({}, 404), Told({}, 401), Told(b"", 500)]
    found = [await connector.check() for _ in range(4)]
    assert [one.ok for one in found] == [True, False, False, False]
    assert sink.last.path == "/rest/api/3/project/OPS"
    assert sink.last.basic == "gateway@acme.example:canary"
    await made(sink, http, state, email=None, api="2").check()
    assert sink.last.headers["authorization"] == "Bearer canary"
    assert sink.last.path == "/rest/api/2/project/OPS"


@pytest.mark.parametrize("settings", [{"labels": ["a b"]}, {"project": "ops"}, {"url": "a.example"}])
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    given = {"url": "https://a.example", "token": "env:T", "project": "OPS"}
    with pytest.raises(ValueError, match=next(iter(settings)).removesuffix("s")):
        JiraConfig.model_validate({**given, **settings})
