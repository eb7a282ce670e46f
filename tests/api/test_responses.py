"""Survey responses: read of their user, followed, resumed, and of one's own user only."""

from __future__ import annotations

from gateway.connectors.responses import as_message
from gateway.plugin import Identity, Response, SurveyAnswer
from tests.api.gateway_api import NOW, Gateway, Json, track
from tests.api.test_watching import silent, started

LIST = """query($user: UserBy!, $first: Int, $after: Cursor) { user(by: $user) {
  responses(first: $first, after: $after) {
  nodes { id survey source touchpoint complete at answers { question kind text value } }
  pageInfo { endCursor hasNextPage } } } }"""
FOLLOW = """subscription($survey: ID, $after: Cursor) { responseReceived(survey: $survey, after: $after) {
  cursor gap { reason } response { survey answers { question value } } } }"""


def message(number: int, survey: str = "nps-2026", user: str | None = "ada", value: int = 9) -> Json:
    identity = None if user is None else Identity("userId", user)
    answers = (SurveyAnswer("q1", value, "How likely?", "nps"), SurveyAnswer("q2", ["fast", "cheap"]))
    return as_message(
        Response("main", "forms", f"r{number}", survey, NOW + number, answers, identity, touchpoint="checkout")
    )


async def test_a_user_has_their_responses_newest_first(gateway: Gateway) -> None:
    await gateway.send(
        message(1), track("View", userId="ada"), message(2, value=3), message(3, user="lee"), message(4, user=None)
    )
    key, user = await gateway.api_key(), {"userId": "ada"}
    found = (await gateway.ask(LIST, key, user=user, first=1))["user"]["responses"]
    (newest,) = found["nodes"]
    assert newest | {"id": None} == {
        "id": None,
        "survey": "nps-2026",
        "source": "forms",
        "touchpoint": "checkout",
        "complete": True,
        "at": "2026-11-21T10:00:00.002Z",
        "answers": [
            {"question": "q1", "kind": "nps", "text": "How likely?", "value": 3},
            {"question": "q2", "kind": None, "text": None, "value": ["fast", "cheap"]},
        ],
    }
    rest = (await gateway.ask(LIST, key, user=user, after=found["pageInfo"]["endCursor"]))["user"]["responses"]
    assert [one["answers"][0]["value"] for one in rest["nodes"]] == [9]
    node = await gateway.ask(
        "query($id: ID!) { node(id: $id) { ... on SurveyResponse { survey } } }", key, id=newest["id"]
    )
    assert node["node"] == {"survey": "nps-2026"}


async def test_the_same_response_again_is_one(gateway: Gateway) -> None:
    await gateway.send(message(1))
    await gateway.send(message(1))
    found = await gateway.ask(LIST, await gateway.api_key(), user={"userId": "ada"})
    assert len(found["user"]["responses"]["nodes"]) == 1


async def test_what_anybody_may_send_under_the_name_is_read_as_far_as_it_goes(gateway: Gateway) -> None:
    odd = {"survey": 7, "answers": [1, {"question": 2}, {"value": 3}]}
    await gateway.send(track("Survey Response Submitted", userId="ada", properties=odd))
    (one,) = (await gateway.ask(LIST, await gateway.api_key(), user={"userId": "ada"}))["user"]["responses"]["nodes"]
    assert (one["survey"], one["answers"], one["complete"]) == ("", [], True)


async def test_one_s_own_survey_may_say_no_more_than_a_score(gateway: Gateway) -> None:
    said = {"survey": "csat", "score": 2, "comment": "slow"}
    await gateway.send(track("Survey Response Submitted", userId="ada", properties=said))
    (one,) = (await gateway.ask(LIST, await gateway.api_key(), user={"userId": "ada"}))["user"]["responses"]["nodes"]
    assert [(answer["question"], answer["value"]) for answer in one["answers"]] == [("score", 2), ("comment", "slow")]


async def test_responses_are_followed_by_survey_and_resumed(gateway: Gateway) -> None:
    key = await gateway.api_key()
    async with gateway.socket(key) as socket:
        await started(socket, FOLLOW, survey="nps-2026")
        await gateway.send(track("View", userId="ada"), message(1, survey="csat"), message(2))
        told = [(await socket.news())["responseReceived"] for _ in range(2)]
        # Another survey's moves the cursor on, and tells nothing.
        assert [one["response"] and one["response"]["survey"] for one in told] == [None, "nps-2026"]
        assert await silent(socket)
    await gateway.send(message(3, value=1))
    async with gateway.socket(key) as socket:
        await socket.subscribe(FOLLOW, after=told[-1]["cursor"])
        first = (await socket.news())["responseReceived"]
        assert (first["gap"], first["response"]["answers"][0]["value"]) == (None, 1)


async def test_a_users_own_token_sees_its_own_responses_only(gateway: Gateway) -> None:
    await gateway.send(message(1), message(2, user="lee"))
    mine = await gateway.ask("{ me { responses { nodes { id } } } }", gateway.token(userId="ada"))
    (own,) = mine["me"]["responses"]["nodes"]
    lees = (await gateway.ask(LIST, await gateway.api_key(), user={"userId": "lee"}))["user"]["responses"]["nodes"]
    ask = "query($id: ID!) { node(id: $id) { id } }"
    assert (await gateway.ask(ask, gateway.token(userId="ada"), id=own["id"]))["node"] == {"id": own["id"]}
    assert (await gateway.ask(ask, gateway.token(userId="ada"), id=lees[0]["id"]))["node"] is None
