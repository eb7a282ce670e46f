"""The OpenFeature Remote Evaluation Protocol, judged by its own document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from starlette.applications import Starlette

from gateway.api.ofrep import USER_BURST, ofrep_routes
from gateway.api.ofrep_events import TICKET_MS
from gateway.errors import Unavailable
from gateway.plugin import FlagReason, FlagResult
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, identify, load_shop, track
from tests.pace import PATIENCE
from tests.unit.flags.fakes import Made, always, attribute, end_threads, made_flags

DOCUMENT = Path(__file__).parents[3] / "shared" / "specs" / "ofrep" / "openapi.yaml"
PATH = "/ofrep/v1/evaluate/flags"


def validated(name: str, body: object) -> None:
    """Whether a body is what the document's schema of this name says; nothing where the document is not there."""
    if not DOCUMENT.exists():
        return
    document = yaml.safe_load(DOCUMENT.read_text())
    # `codeDefaultFlag` says nothing, so that with `oneOf` every other kind of value matches twice.
    kinds = document["components"]["schemas"]["evaluationSuccess"]["allOf"][1]
    kinds["anyOf"] = kinds.pop("oneOf")
    registry = Registry().with_resource("ofrep", Resource.from_contents(document, _dialect()))
    Draft202012Validator({"$ref": f"ofrep#/components/schemas/{name}"}, registry=registry).validate(body)


def _dialect() -> Any:
    from referencing.jsonschema import DRAFT202012

    return DRAFT202012


@pytest.fixture
def made() -> Made:
    return Made(
        banner=attribute("traits.banner"),
        device=attribute("device"),
        stage=attribute("journey.purchase.stage"),
        theme=always("dark"),
    )


class Ofrep:
    """A client without a socket."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        app = Starlette(routes=list(ofrep_routes(gateway.services, gateway.tokens)))
        self.client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway")

    async def ask(self, key: str = "", body: Any = None, token: str | None = None, **headers: str) -> httpx2.Response:
        """POST; without a body an empty context."""
        content = body if isinstance(body, bytes) else json.dumps({"context": {}} if body is None else body).encode()
        named = {} if token is None else {"authorization": token}
        path = f"{PATH}/{key}" if key else PATH
        return await self.client.post(path, content=content, headers={**named, **headers})


@pytest.fixture
async def ofrep(database: Database, made: Made) -> AsyncIterator[Ofrep]:
    gateway = Gateway(database, load_shop(), flags=made_flags(made))
    await gateway.prepare()
    await gateway.hub.start()
    client = Ofrep(gateway)
    async with gateway.flags.following():
        yield client
    await client.client.aclose()
    await gateway.hub.stop()
    await end_threads()


async def ann(ofrep: Ofrep) -> str:
    await ofrep.gateway.send(
        identify(9, userId="ann", anonymousId="a1", traits={"banner": True}), track("Product Added", 8, userId="ann")
    )
    return ofrep.gateway.token(userId="ann")


def about(key: str, **more: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": key, **more}}


def values(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    validated("bulkEvaluationSuccess", answer.json())
    return {one["key"]: one.get("value") for one in answer.json()["flags"]}


async def test_all_flags_of_a_users_own_token(ofrep: Ofrep) -> None:
    token = await ann(ofrep)
    expected = {"banner": True, "device": "phone", "stage": "cart", "theme": "dark"}
    assert values(await ofrep.ask(body={"context": {"device": "phone"}}, token=token)) == expected
    # Whatever context it sends, it is its own user.
    await ofrep.gateway.send(identify(7, userId="bob", traits={"banner": False}))
    stranger = about("bob", device="phone", userId="bob", **{"traits.banner": False, "journey.purchase.stage": "done"})
    assert values(await ofrep.ask(body=stranger, token=token)) == expected


async def test_an_api_key_names_the_user_by_any_id(ofrep: Ofrep) -> None:
    await ann(ofrep)
    key = await ofrep.gateway.api_key("journeys:read")
    me = await ofrep.gateway.ask('{ user(by: {userId: "ann"}) { id } }', key)
    for name in ("ann", "a1", me["user"]["id"], me["user"]["id"].removeprefix("user_")):
        assert values(await ofrep.ask(body=about(name), token=key))["banner"] is True, name
    by_header = await ofrep.ask(body=about("ann"), **{"x-api-key": key.removeprefix("Bearer ")})
    assert values(by_header)["stage"] == "cart"
    for unknown in ("nobody", "anonymous", "0" * 32):
        assert values(await ofrep.ask(body=about(unknown, device="tv"), token=key)) == {
            "banner": None,
            "device": "tv",
            "stage": None,
            "theme": "dark",
        }


async def test_somebody_who_comes_later_keeps_their_key(ofrep: Ofrep, made: Made) -> None:
    key = await ofrep.gateway.api_key()
    await ofrep.ask(body=about("late"), token=key)
    await ofrep.gateway.send(identify(1, userId="late"))
    await ofrep.ask(body=about("late"), token=key)
    before, after = (context.targeting_key for _, context in made.asked[-2:])
    assert before == after


async def test_one_flag(ofrep: Ofrep) -> None:
    token = await ann(ofrep)
    answer = await ofrep.ask("theme", token=token)
    assert answer.status_code == 200
    validated("serverEvaluationSuccess", answer.json())
    assert answer.json() == {
        "key": "theme",
        "value": "dark",
        "variant": "v",
        "reason": "TARGETING_MATCH",
        "metadata": {"because": "A rule is meant for this user. Says made."},
    }
    assert "value" not in (await ofrep.ask("device", token=token)).json()  # the code's own default counts


@pytest.mark.parametrize(("reason", "told"), [("DEFAULT", "STATIC"), ("SPLIT", "SPLIT"), ("UNKNOWN", "UNKNOWN")])
async def test_reasons_are_those_of_the_document(ofrep: Ofrep, made: Made, reason: str, told: str) -> None:
    made.rules["a/b c"] = always(FlagResult("a/b c", 1.5, None, FlagReason(reason), metadata={"n": 1, "no": [1]}))
    answer = await ofrep.ask("a/b%20c", token=await ann(ofrep))
    validated("serverEvaluationSuccess", answer.json())
    assert (answer.json()["key"], answer.json()["reason"]) == ("a/b c", told)
    assert answer.json()["metadata"].keys() == {"n", "because"}


async def test_an_etag_spares_what_is_known(ofrep: Ofrep, made: Made) -> None:
    token = await ann(ofrep)
    first = await ofrep.ask(token=token)
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await ofrep.ask(token=token, **{"if-none-match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    made.rules["theme"] = always("light")
    changed = await ofrep.ask(token=token, **{"if-none-match": tag})
    assert values(changed)["theme"] == "light"
    assert changed.headers["etag"] != tag
    # The address of the stream is the same for an hour; with a new one the answer comes again.
    assert changed.json()["eventStreams"] == first.json()["eventStreams"]
    ofrep.gateway.clock.at += TICKET_MS
    later = await ofrep.ask(token=await ann(ofrep), **{"if-none-match": changed.headers["etag"]})
    assert later.status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        ([], "INVALID_CONTEXT"),
        ({}, "INVALID_CONTEXT"),
        ({"context": []}, "INVALID_CONTEXT"),
        ({"context": {}}, "TARGETING_KEY_MISSING"),
        ({"context": {"targetingKey": ""}}, "TARGETING_KEY_MISSING"),
        ({"context": {"targetingKey": 7}}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": "k" * 256}}, "INVALID_CONTEXT"),
        ({"context": dict.fromkeys((str(number) for number in range(201)), 1)}, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": "k", "more": "x" * 70_000}}, "GENERAL"),
    ],
)
async def test_requests_that_are_none(ofrep: Ofrep, body: Any, code: str) -> None:
    key = await ofrep.gateway.api_key()
    for name, schema in (("", "bulkEvaluationFailure"), ("theme", "evaluationFailure")):
        answer = await ofrep.ask(name, body, key)
        assert (answer.status_code, answer.json()["errorCode"]) == (400, code), answer.text
        validated(schema, answer.json())


async def test_flags_that_are_none_or_fail(ofrep: Ofrep, made: Made) -> None:
    token = await ann(ofrep)
    answer = await ofrep.ask("nothing", token=token)
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    validated("flagNotFound", answer.json())
    assert (await ofrep.ask("k" * 256, token=token)).status_code == 400
    made.rules["odd"] = always(FlagResult("odd", error="TYPE_MISMATCH", message="It is no text"))
    answer = await ofrep.ask("odd", token=token)
    assert (answer.status_code, answer.json()) == (500, {"errorDetails": "TYPE_MISMATCH: It is no text. Says made."})
    validated("generalErrorResponse", answer.json())
    everything = await ofrep.ask(token=token)
    assert values(everything)["odd"] is None
    (odd,) = [one for one in everything.json()["flags"] if one["key"] == "odd"]
    assert odd["errorCode"] == "GENERAL"


async def test_who_may_not_is_told(ofrep: Ofrep, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "theme"):
        nobody = await ofrep.ask(name, about("ann"))
        assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
        assert (await ofrep.ask(name, about("ann"), "Bearer sk_wrong")).status_code == 401
        other = await ofrep.gateway.api_key("events:read")
        assert (await ofrep.ask(name, about("ann"), other)).status_code == 403
    token = await ann(ofrep)

    async def away(*_: object) -> None:
        raise Unavailable("MongoDB is away.", retry_after=7)

    monkeypatch.setattr(ofrep.gateway.services.callers, "grant_of", away)
    answer = await ofrep.ask(token=token)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")


async def test_a_users_own_token_has_a_rate(ofrep: Ofrep) -> None:
    token = await ann(ofrep)
    for _ in range(int(USER_BURST)):
        assert (await ofrep.ask("theme", token=token)).status_code == 200
    answer = await ofrep.ask("theme", token=token)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert "write key" not in answer.text
    assert (await ofrep.ask("theme", about("ann"), await ofrep.gateway.api_key())).status_code == 200
    ofrep.gateway.clock.at += 1_000
    assert (await ofrep.ask("theme", token=token)).status_code == 200


async def test_there_is_no_configuration_endpoint_any_more(ofrep: Ofrep) -> None:
    assert (await ofrep.client.get("/ofrep/v1/configuration")).status_code == 404


# -- the stream -----------------------------------------------------------------------------------------------------


class Listening:
    """A browser's EventSource: an address, no header."""

    def __init__(self, ofrep: Ofrep, path: str) -> None:
        self._app = Starlette(routes=list(ofrep_routes(ofrep.gateway.services, ofrep.gateway.tokens)))
        self._path, _, self._query = path.partition("?")
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        self.status = 0

    async def __aenter__(self) -> Listening:
        scope = {
            "type": "http",
            "method": "GET",
            "path": self._path,
            "query_string": self._query.encode(),
            "headers": [],
        }
        self._task = asyncio.create_task(self._app(scope, self._receive, self._said.put))  # type: ignore[arg-type]
        self.status = (await self._next())["status"]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        async with asyncio.timeout(PATIENCE):
            await self._task

    async def event(self) -> dict[str, Any] | None:
        """The next event's data; None when the stream has ended."""
        while True:
            message = await self._next()
            text = message.get("body", b"").decode()
            if not message.get("more_body"):
                return None
            if text.startswith("event: message\ndata: "):
                data: dict[str, Any] = json.loads(text.removeprefix("event: message\ndata: "))
                validated("sseEventData", data)
                return data

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self._said.get()


def address(answer: httpx2.Response) -> str:
    (stream,) = answer.json()["eventStreams"]
    validated("eventStream", stream)
    path: str = stream["endpoint"]["requestUri"]
    return path


async def test_the_stream_says_when_to_ask_again(ofrep: Ofrep, made: Made) -> None:
    path = address(await ofrep.ask(token=await ann(ofrep)))
    assert "ann" not in path
    async with Listening(ofrep, path) as listening:
        assert listening.status == 200
        # At once, as nobody has told what changed since the flags were asked for.
        assert (await listening.event() or {})["type"] == "refetchEvaluation"
        made.change("theme", always("light"))
        assert await listening.event()
        await ofrep.gateway.send(track("Checkout Started", 5, userId="ann"))
        assert await listening.event()
        # What leaves the flags as they are is no news; the next rule is.
        await ofrep.gateway.send(track("Product Viewed", 4, userId="ann"), track("Product Added", 4, userId="bob"))
        made.change("theme", always("blue"))
        assert await listening.event()
        assert listening._said.empty()


async def test_a_ticket_opens_its_stream_alone_and_ends(ofrep: Ofrep, made: Made) -> None:
    token = await ann(ofrep)
    path = address(await ofrep.ask(token=token))
    ticket = path.partition("ticket=")[2]
    assert (await ofrep.ask(body=about("ann"), token=f"Bearer {ticket}")).status_code == 401
    for wrong in ("", "nothing", ticket[:-2], token.removeprefix("Bearer ")):
        assert (await ofrep.client.get(f"/ofrep/v1/events?ticket={wrong}")).status_code == 401
    async with Listening(ofrep, path) as listening:
        await listening.event()
        ofrep.gateway.clock.at += 2 * TICKET_MS
        made.change("theme", always("light"))
        assert await listening.event() is None
    assert (await ofrep.client.get(path)).status_code == 401
