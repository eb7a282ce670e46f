"""Every hostile request gets its verdict: no 5xx, little CPU, and nothing that only we should know."""

from __future__ import annotations

import logging
from typing import Any

import httpx2
import pytest

from tests.hostile import door_cases, graphql_cases, intake_cases, page_cases, stream_cases, vendor_cases
from tests.hostile.cases import Case
from tests.hostile.conftest import Whole
from tests.hostile.verdicts import check_cpu, check_leaks, least_cpu

ROOMS = (intake_cases, vendor_cases, door_cases, graphql_cases, stream_cases, page_cases)
CASES = [case for room in ROOMS for case in room.CASES]


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_hostile_request_gets_its_verdict(whole: Whole, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    headers = [(name.encode(), value.format(**whole.credentials).encode()) for name, value in case.headers.items()]
    request = whole.client.build_request(case.method, case.path, content=case.body, headers=headers)
    with caplog.at_level(logging.INFO, "gateway"):
        spent, answer = await least_cpu(whole, request)
    assert answer.status_code in case.status, answer.text[:500]
    check_cpu(spent)
    check_leaks(answer.text)
    for record in caplog.records:
        assert not record.name.startswith("gateway") or record.levelno < logging.ERROR, caplog.text[:500]
    if answer.status_code >= 400:
        _says_what_to_do(case, answer)


@pytest.mark.parametrize("caller", ["other", "user", "visitor", "page"])
async def test_a_stream_is_its_callers_alone(whole: Whole, caller: str) -> None:
    client = whole.client
    own, others = ({"authorization": f"Bearer {whole.credentials[name]}"} for name in ("api", caller))
    ticket = (await client.put("/graphql", headers=own)).text
    asked = {"query": "subscription { eventStored { cursor } }", "extensions": {"operationId": "1"}}
    behind = {"x-graphql-event-stream-token": ticket}
    events = {"accept": "text/event-stream"}

    async def refused(method: str, **request: Any) -> None:
        answer = await client.request(method, "/graphql", **request)
        assert answer.status_code == 404, answer.text
        assert answer.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"

    await refused("GET", headers=others | behind | events)
    await refused("POST", headers=others | behind, json=asked)
    assert (await client.post("/graphql", headers=own | behind, json=asked)).status_code == 202
    await refused("DELETE", headers=others | behind, params={"operationId": "1"})
    # It was not ended: nobody but its caller has a second operation of this id refused.
    assert (await client.post("/graphql", headers=own | behind, json=asked)).status_code == 409
    ended = await client.delete("/graphql", headers=own | behind, params={"operationId": "1"})
    assert ended.status_code == 200


def _says_what_to_do(case: Case, answer: httpx2.Response) -> None:
    """A refusal is JSON: our own form, or GraphQL's."""
    if answer.headers["content-type"].startswith("text/html"):
        assert "make graphiql" in answer.text  # the page, where its files are missing
    elif case.path.startswith("/graphql"):
        error = answer.json()["errors"][0]
        assert error["message"]
        assert error["extensions"]["code"] != "INTERNAL"
    elif not case.name.startswith("page:"):
        content = answer.json()
        assert content["code"] not in ("", "INTERNAL")
        assert content["message"]
        if case.code is not None:
            assert content["code"] == case.code
