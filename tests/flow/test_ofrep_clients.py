"""Published OpenFeature clients, unchanged, against a gateway on a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, FlagNotFoundError, OpenFeatureError, TargetingKeyMissingError
from openfeature.flag_evaluation import Reason

from tests.flow.people import person
from tests.flow.projects import PEERS, Program, finished, needs_node, running_program
from tests.flow.served import Served, serve
from tests.pace import PATIENCE
from tests.unit.flags.fakes import Made, always, attribute, end_threads, made_flags

TRAITS = {"theme": "dark", "banner": True}


@pytest.fixture
def made() -> Made:
    return Made(
        theme=attribute("traits.theme"),
        banner=attribute("traits.banner"),
        device=attribute("device"),
        limit=always(30),
        layout=always({"columns": [1, 2]}),
    )


@pytest.fixture
async def served(mongo_uri: str, made: Made) -> AsyncIterator[Served]:
    async with serve(mongo_uri, flags=made_flags(made)) as one:
        body = {"userId": "ada", "traits": TRAITS}
        assert (await one.client.post("/v1/identify", json=body, headers=one.write)).status_code == 200
        await person(one, "ada", 1)
        yield one
    await end_threads()


async def token(served: Served) -> str:
    answer = await served.client.post("/v1/token", json={"userId": "ada"}, headers=served.api)
    minted: str = answer.json()["token"]
    return minted


async def test_python(served: Served) -> None:
    url = f"http://127.0.0.1:{served.port}"
    provider = OFREPProvider(url, headers_factory=lambda: served.api, timeout=PATIENCE)
    ada = EvaluationContext("ada", {"device": "phone"})

    def ask() -> None:
        theme = provider.resolve_string_details("theme", "none", ada)
        assert (theme.value, theme.variant, theme.reason) == ("dark", "v", Reason.TARGETING_MATCH)
        assert theme.flag_metadata["because"] == "A rule is meant for this user. Says made."
        assert provider.resolve_boolean_details("banner", False, ada).value is True
        assert provider.resolve_integer_details("limit", 0, ada).value == 30
        assert provider.resolve_object_details("layout", {}, ada).value == {"columns": [1, 2]}
        assert provider.resolve_string_details("device", "none", ada).value == "phone"
        with pytest.raises(FlagNotFoundError):
            provider.resolve_string_details("nothing", "mine", ada)
        with pytest.raises(TargetingKeyMissingError):
            provider.resolve_string_details("theme", "none", EvaluationContext())
        with pytest.raises(OpenFeatureError) as mismatch:
            provider.resolve_boolean_details("theme", True, ada)
        assert mismatch.value.error_code is ErrorCode.TYPE_MISMATCH
        stranger = OFREPProvider(url, headers_factory=lambda: {"authorization": "Bearer sk_wrong"})
        with pytest.raises(OpenFeatureError, match="unauthorized"):
            stranger.resolve_string_details("theme", "none", ada)

    await asyncio.to_thread(ask)


@pytest.mark.peers
@needs_node[1]
async def test_node(served: Served) -> None:
    url = f"http://127.0.0.1:{served.port}"
    code, printed = await finished("node", str(PEERS / "ofrep_server.mjs"), url, served.api_key, "ada", folder=PEERS)
    assert code == 0, printed
    answers: dict[str, Any] = json.loads(printed.splitlines()[-1])
    assert {key: one["value"] for key, one in answers.items()} == {
        "theme": "dark",
        "banner": True,
        "limit": 30,
        "layout": {"columns": [1, 2]},
        "device": "phone",
        "nothing": "mine",
        "mismatch": True,
        "keyless": "none",
    }
    codes = {key: one.get("errorCode") for key, one in answers.items() if one.get("errorCode")}
    assert codes == {
        "nothing": "FLAG_NOT_FOUND",
        "mismatch": "TYPE_MISMATCH",
        "keyless": "TARGETING_KEY_MISSING",
    }
    assert (answers["theme"]["reason"], answers["theme"]["variant"]) == ("TARGETING_MATCH", "v")


async def said(program: Program, word: str, number: int = 0) -> dict[str, Any]:
    """The line with this number that begins with this word."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while len(program.those(word)) <= number:
        assert asyncio.get_running_loop().time() < deadline, program.lines
        await asyncio.sleep(0.05)
    answer: dict[str, Any] = json.loads(program.those(word)[number])
    return answer


@pytest.mark.peers
@needs_node[1]
async def test_the_web_client_hears_of_changes_by_the_stream(served: Served, made: Made) -> None:
    url = f"http://127.0.0.1:{served.port}"
    command = ("node", str(PEERS / "ofrep_web.mjs"), url, await token(served))
    async with running_program(*command, folder=PEERS, environment={}) as program:
        first = await said(program, "ready")
        assert (first["theme"]["value"], first["banner"], first["device"]) == ("dark", True, "phone")
        assert first["nothing"]["errorCode"] == "FLAG_NOT_FOUND"
        made.change("theme", always("light"))
        assert (await said(program, "changed"))["theme"]["value"] == "light"
        body = {"userId": "ada", "traits": {"banner": False}}
        assert (await served.client.post("/v1/identify", json=body, headers=served.write)).status_code == 200
        number = 1
        while (await said(program, "changed", number))["banner"]:
            number += 1


@pytest.mark.peers
@needs_node[1]
async def test_the_web_client_polls_with_etags(served: Served, made: Made) -> None:
    url = f"http://127.0.0.1:{served.port}"
    command = ("node", str(PEERS / "ofrep_web.mjs"), url, await token(served), "polls")
    async with running_program(*command, folder=PEERS, environment={}) as program:
        assert (await said(program, "ready"))["statuses"] == [200]
        await asyncio.sleep(1)
        made.rules["theme"] = always("light")
        changed = await said(program, "changed")
        assert changed["theme"]["value"] == "light"
        assert 304 in changed["statuses"]
        assert changed["statuses"].count(200) == 2
