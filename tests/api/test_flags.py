"""Flags in the API: decided for one user, live, and what a frontend has used."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.store.database import Database
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, identify, load_shop, track
from tests.pace import PATIENCE
from tests.unit.flags.fakes import Made, always, attribute, end_threads, made_flags

FLAGS = "query($keys: [ID!]) { me { flags(keys: $keys) { key value variant reason because errorCode } } }"
CHANGED = """subscription($keys: [ID!], $user: UserBy, $after: Cursor) {
  flagChanged(keys: $keys, user: $user, after: $after) { cursor gap { reason missed } keys flags { key value } } }"""
RECORD = """mutation($input: RecordExposureInput!) { recordExposure(input: $input) {
  recorded known consistencyToken errors { code path } } }"""


@pytest.fixture
def made() -> Made:
    return Made(plan=attribute("traits.plan"), stage=attribute("journey.purchase.stage"), theme=always("dark"))


@pytest.fixture
async def flagged(database: Database, made: Made) -> AsyncIterator[Gateway]:
    gateway = Gateway(database, load_shop(), flags=made_flags(made))
    await gateway.prepare()
    await gateway.hub.start()
    async with gateway.flags.following():
        yield gateway
    await gateway.hub.stop()
    await end_threads()


async def ann(gateway: Gateway, plan: str = "pro") -> str:
    """A user in the cart; their token."""
    await gateway.send(identify(9, userId="ann", traits={"plan": plan}), track("Product Added", 8, userId="ann"))
    return gateway.token(userId="ann")


async def test_a_user_gets_their_own_flags_by_traits_and_journey(flagged: Gateway) -> None:
    token = await ann(flagged)
    flags = (await flagged.ask(FLAGS, token))["me"]["flags"]
    assert {one["key"]: one["value"] for one in flags} == {"plan": "pro", "stage": "cart", "theme": "dark"}
    (nothing, theme) = (await flagged.ask(FLAGS, token, keys=["nothing", "theme"]))["me"]["flags"]
    assert nothing == {
        "key": "nothing",
        "value": None,
        "variant": None,
        "reason": "ERROR",
        "because": "No flag provider knows this key.",
        "errorCode": "FLAG_NOT_FOUND",
    }
    assert theme == {
        "key": "theme",
        "value": "dark",
        "variant": "v",
        "reason": "TARGETING_MATCH",
        "because": "A rule is meant for this user. Says made.",
        "errorCode": None,
    }


async def test_a_server_gets_the_flags_of_many_users_and_needs_its_permission(flagged: Gateway, made: Made) -> None:
    await ann(flagged)
    await flagged.send(identify(7, userId="bob", traits={"plan": "free"}))
    users = '{ users { nodes { flags(keys: ["plan"]) { value } } } }'
    nodes = (await flagged.ask(users, await flagged.api_key("journeys:read")))["users"]["nodes"]
    assert [node["flags"][0]["value"] for node in nodes] == ["free", "pro"]
    refused = (await flagged.answer(users, await flagged.api_key("events:read")))["errors"]
    assert {error["extensions"]["code"] for error in refused} == {"FORBIDDEN"}


async def test_keys_have_limits(flagged: Gateway) -> None:
    token = await ann(flagged)
    for keys in (["k"] * 101, [""], ["k" * 256]):
        assert (await flagged.refusal(FLAGS, token, keys=keys))["extensions"]["code"] == "INVALID_INPUT"


async def test_without_providers_there_are_no_flags(gateway: Gateway) -> None:
    assert (await gateway.ask(FLAGS, await ann(gateway)))["me"]["flags"] == []


async def test_who_denied_personalization_gets_defaults_and_is_told_why(flagged: Gateway, made: Made) -> None:
    token = await ann(flagged)
    consent = (
        'mutation { setConsent(input: {purposes: {personalization: DENIED}, source: "test"}) { errors { code } } }'
    )
    await flagged.ask(consent, token)
    await flagged.derive()
    flags = (await flagged.ask(FLAGS, token))["me"]["flags"]
    assert {one["key"]: one["value"] for one in flags} == {"plan": None, "stage": None, "theme": "dark"}
    assert all("denied personalization" in one["because"] for one in flags)
    assert made.asked[-1][1].attributes == {"consent.personalization": False}


async def test_a_provider_that_fails_does_not_fail_the_query(flagged: Gateway, made: Made) -> None:
    token = await ann(flagged)

    async def fails() -> None:
        raise RuntimeError

    made.before = fails
    (found,) = (await flagged.ask(FLAGS, token, keys=["theme"]))["me"]["flags"]
    assert (found["value"], found["errorCode"]) == (None, "GENERAL")
    assert found["because"] == "Not decided: made failed (RuntimeError)."


async def test_a_provider_that_blocks_holds_up_nobody_else(flagged: Gateway, made: Made) -> None:
    token, freed = await ann(flagged), threading.Event()
    longest = 0.0

    async def blocks() -> None:
        freed.wait(20)

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    made.before, watching = blocks, asyncio.create_task(watch())
    try:
        asked = asyncio.create_task(flagged.ask(FLAGS, token, keys=["theme", "plan"]))
        await asyncio.sleep(0)
        await flagged.send(track("Product Viewed", 7, userId="ann"))
        assert (await flagged.ask("{ me { traits } }", token))["me"]["traits"]["plan"] == "pro"
        found = (await asked)["me"]["flags"]
        assert [(one["value"], one["errorCode"]) for one in found] == [(None, "GENERAL")] * 2
        assert found[0]["because"] == "Not decided: made did not answer within 0.25 s."
        async with asyncio.timeout(PATIENCE):
            while "made" not in flagged.flags.trouble("main"):  # noqa: ASYNC110 - a thread tells nobody
                await asyncio.sleep(0.05)
        (again,) = (await flagged.ask(FLAGS, token, keys=["theme"]))["me"]["flags"]
        assert again["because"] == "Not decided: made blocks its thread."
        assert not freed.is_set()
    finally:
        freed.set()
        watching.cancel()
    assert longest < 10, "the loop stood still meanwhile"


# -- live -----------------------------------------------------------------------------------------------------------


def told(news: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in news["flagChanged"]["flags"]}


async def test_a_user_hears_of_their_flags_as_rules_traits_and_journey_change(flagged: Gateway, made: Made) -> None:
    token = await ann(flagged)
    async with flagged.socket(token) as socket:
        await socket.subscribe(CHANGED, keys=["plan", "stage", "theme"])
        first = await socket.news()
        assert told(first) == {"plan": "pro", "stage": "cart", "theme": "dark"}
        assert first["flagChanged"]["keys"] == []
        made.change("theme", always("light"))
        news = await socket.news()
        assert (told(news), news["flagChanged"]["keys"]) == ({"theme": "light"}, ["theme"])
        await flagged.send(track("Checkout Started", 5, userId="ann"))
        assert told(await socket.news()) == {"stage": "checkout"}
        await flagged.send(identify(4, userId="ann", traits={"plan": "team"}))
        news = await socket.news()
        assert (told(news), news["flagChanged"]["keys"]) == ({"plan": "team"}, [])
        # Somebody else's steps, and flags that are not asked for, are no news.
        await flagged.send(track("Product Added", 3, userId="bob"))
        made.change("other", always(1))
        del made.rules["plan"]
        made.change("theme", always("dark"))
        assert told(await socket.news()) == {"plan": None, "theme": "dark"}


async def test_time_alone_may_change_flags(flagged: Gateway, made: Made) -> None:
    await ann(flagged)
    made.rules["status"] = attribute("journey.purchase.status")
    async with flagged.socket(await flagged.api_key()) as socket:
        await socket.subscribe(CHANGED, keys=["status"], user={"userId": "ann"})
        assert told(await socket.news()) == {"status": "active"}
        flagged.clock.at += 8 * 24 * 3_600_000
        assert flagged._lease is not None
        await flagged.deriver._sweep(flagged._lease)
        assert told(await socket.news()) == {"status": "abandoned"}


async def test_a_user_may_watch_before_the_first_event(flagged: Gateway) -> None:
    async with flagged.socket(flagged.token(userId="new")) as socket:
        await socket.subscribe(CHANGED, keys=["plan"])
        assert told(await socket.news()) == {"plan": None}
        await flagged.send(identify(4, userId="new", traits={"plan": "pro"}))
        assert told(await socket.news()) == {"plan": "pro"}


async def test_a_tool_watches_one_user_or_only_the_rules(flagged: Gateway, made: Made) -> None:
    await ann(flagged)
    key = await flagged.api_key("journeys:read")
    async with flagged.socket(key) as socket:
        await socket.subscribe(CHANGED, keys=["plan"], user={"userId": "ann"})
        assert told(await socket.news()) == {"plan": "pro"}
    async with flagged.socket(key) as socket:
        await socket.subscribe(CHANGED, keys=["theme"])
        first = (await socket.news())["flagChanged"]
        assert (first["keys"], first["flags"], first["gap"]) == ([], None, None)
        made.change("plan", always(1))
        made.change("theme", always(2))
        assert (await socket.news())["flagChanged"]["keys"] == ["theme"]
    async with flagged.socket(key) as socket:  # resumed, nothing is missing
        await socket.subscribe(CHANGED, after=first["cursor"])
        await socket.news()
        heard: set[str] = set()
        while heard != {"plan", "theme"}:  # one by one, or together
            heard |= set((await socket.news())["flagChanged"]["keys"])


async def test_a_cursor_of_another_process_is_a_gap_and_no_cursor_is_refused(flagged: Gateway) -> None:
    foreign = f"flags-{'0' * 32}-5"
    key = await flagged.api_key("journeys:read")
    async with flagged.socket(key) as socket:
        await socket.subscribe(CHANGED, after=foreign)
        assert (await socket.news())["flagChanged"]["gap"] == {"reason": "OTHER_PROCESS", "missed": None}
        await socket.subscribe(CHANGED, id="2", after="nothing")
        message = await socket.receive()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


async def test_a_users_own_token_watches_nobody_else(flagged: Gateway) -> None:
    async with flagged.socket(await ann(flagged)) as socket:
        await socket.subscribe(CHANGED, user={"userId": "bob"})
        message = await socket.receive()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"


# -- exposures ------------------------------------------------------------------------------------------------------


async def test_exposures_become_events_once_in_half_an_hour(flagged: Gateway) -> None:
    token = await ann(flagged)
    shown = {"key": "theme", "variant": "v", "value": "dark", "reason": "TARGETING_MATCH"}
    given = {"exposures": [shown, shown, {"key": "plan", "value": {"a": 1}}]}
    answer = (await flagged.ask(RECORD, token, input=given))["recordExposure"]
    assert (answer["recorded"], answer["known"], answer["errors"]) == (2, 1, [])
    assert answer["consistencyToken"]
    again = (await flagged.ask(RECORD, token, input=given))["recordExposure"]
    assert (again["recorded"], again["known"]) == (0, 3)
    await flagged.derive()
    events = '{ me { events(names: ["Flag Exposed"]) { nodes { properties } } } }'
    nodes = (await flagged.ask(events, token))["me"]["events"]["nodes"]
    assert sorted((node["properties"] for node in nodes), key=lambda one: one["key"]) == [
        {"key": "plan", "value": {"a": 1}},
        {"key": "theme", "variant": "v", "value": "dark", "reason": "TARGETING_MATCH"},
    ]
    other = {"exposures": [{**shown, "variant": "w"}]}
    assert (await flagged.ask(RECORD, token, input=other))["recordExposure"]["recorded"] == 1
    flagged.clock.at = NOW + 30 * 60_000
    assert (await flagged.ask(RECORD, token, input=given))["recordExposure"]["recorded"] == 2


async def test_exposures_are_of_whom_the_caller_may_speak_for(flagged: Gateway) -> None:
    given = {"exposures": [{"key": "theme"}]}
    wrong = (await flagged.ask(RECORD, await ann(flagged), input={**given, "userId": "bob"}))["recordExposure"]
    assert wrong["errors"][0]["code"] == "OTHER_IDENTITY"
    server = await flagged.api_key("events:write")
    assert (await flagged.ask(RECORD, server, input=given))["recordExposure"]["errors"][0]["code"] == "NO_IDENTITY"
    for_bob = {**given, "userId": "bob"}
    assert (await flagged.ask(RECORD, server, input=for_bob))["recordExposure"]["recorded"] == 1
    for_eve = {**given, "anonymousId": "eve"}
    assert (await flagged.ask(RECORD, server, input=for_eve))["recordExposure"]["recorded"] == 1
    many = {"exposures": [{"key": str(number)} for number in range(101)], "userId": "bob"}
    assert (await flagged.ask(RECORD, server, input=many))["recordExposure"]["errors"][0]["code"] == "TOO_MANY"
    empty = {"exposures": [], "userId": "bob"}
    assert (await flagged.ask(RECORD, server, input=empty))["recordExposure"]["recorded"] == 0
    refusal = await flagged.refusal(RECORD, await flagged.api_key("journeys:read"), input=for_bob)
    assert refusal["extensions"]["code"] == "FORBIDDEN"


async def test_asking_for_flags_records_nothing(flagged: Gateway) -> None:
    await flagged.ask(FLAGS, await ann(flagged))
    await flagged.derive()
    events = f'{{ events(filter: {{names: ["Flag Exposed"]}}) {{ nodes {{ id }} }} }}  # {WORKSPACE}'
    assert (await flagged.ask(events, await flagged.api_key()))["events"]["nodes"] == []
