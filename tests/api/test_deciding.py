"""Merges and splits by an operator: said beforehand, logged, reversible; and users as they were."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api import deciding, following
from gateway.api.context import Context
from gateway.api.users import UserBy, user_id_by
from gateway.model.event import Verdict
from gateway.model.identity import Identity, user_id_of
from gateway.pipeline.intake import Delivery
from tests.api.gateway_api import WORKSPACE, Gateway, Json, at, identify, track
from tests.api.test_watching import EVENTS, event_names, silent, started

SHARES = "user eventCount sessionCount journeyCount identities { type value }"
PAYLOAD = f"""decision {{ kind at reason by one {{ value }} other {{ value }} }}
  before {{ {SHARES} }} after {{ {SHARES} }} moves {{ from to }} consistencyToken errors {{ code path message hint }}"""
MERGE = f"mutation($input: MergeUsersInput!) {{ mergeUsers(input: $input) {{ {PAYLOAD} }} }}"
SPLIT = f"mutation($input: SplitUserInput!) {{ splitUser(input: $input) {{ {PAYLOAD} }} }}"
USER = """query($by: UserBy!, $asOf: DateTime) { user(by: $by, asOf: $asOf) { id eventCount sessionCount traits
  firstSeen identities { value } events { nodes { name } }
  sessions { nodes { start eventCount } pageInfo { hasNextPage } }
  journeys { nodes { id run status } } journey(map: "purchase") { run status stage { key } }
  refusedLinks { reason anonymous { value } known { value } at } } }"""
LOG = """query($user: UserBy, $first: Int, $after: Cursor) { identityLog(user: $user, first: $first, after: $after) {
  nodes { kind reason by one { value } other { value } } pageInfo { endCursor hasNextPage } } }"""


def user_of(**identity: str) -> str:
    """The id of a user whose first identity this is."""
    ((kind, value),) = identity.items()
    return "user_" + user_id_of(WORKSPACE, Identity(kind, value))  # type: ignore[arg-type]


async def merge(gateway: Gateway, key: str, *users: Json, dry: bool = False) -> Json:
    wanted = {"users": list(users), "reason": "one person", "dryRun": dry}
    payload: Json = (await gateway.ask(MERGE, key, input=wanted))["mergeUsers"]
    await gateway.derive()
    return payload


async def split(gateway: Gateway, key: str, user: Json, *identities: tuple[str, str], dry: bool = False) -> Json:
    given = [{"type": kind, "value": value} for kind, value in identities]
    wanted = {"user": user, "identities": given, "reason": "a shared kiosk", "dryRun": dry}
    payload: Json = (await gateway.ask(SPLIT, key, input=wanted))["splitUser"]
    await gateway.derive()
    return payload


async def ask_user(gateway: Gateway, key: str, as_of: str | None = None, **by: str) -> Any:
    return (await gateway.ask(USER, key, by=by, asOf=as_of))["user"]


def values(user: Json) -> list[str]:
    return [identity["value"] for identity in user["identities"]]


async def two_people(gateway: Gateway) -> None:
    """ann with a phone, and lee with a laptop, who looked at something and bought it."""
    await gateway.send(
        track("Product Viewed", 200, anonymousId="phone"),
        identify(190, anonymousId="phone", userId="ann"),
        track("Product Added", 100, anonymousId="laptop"),
        identify(90, anonymousId="laptop", userId="lee"),
        track("Order Completed", 5, userId="lee"),
    )


async def test_a_dry_run_says_what_moves_and_stores_nothing(gateway: Gateway) -> None:
    await two_people(gateway)
    key = await gateway.api_key()
    payload = await merge(gateway, key, {"userId": "lee"}, {"userId": "ann"}, dry=True)
    assert payload["decision"] is None
    assert payload["errors"] == []
    ann, lee = user_of(anonymousId="phone"), user_of(anonymousId="laptop")
    before = {share["user"]: share for share in payload["before"]}
    assert {key: share["eventCount"] for key, share in before.items()} == {ann: 2, lee: 3}
    (after,) = payload["after"]
    assert (after["user"], after["eventCount"]) == (ann, 5)
    assert sorted(values(after)) == ["ann", "laptop", "lee", "phone"]
    assert payload["moves"] == [{"from": lee, "to": [ann]}]
    assert values(await ask_user(gateway, key, userId="lee")) == ["laptop", "lee"]
    assert (await gateway.ask(LOG, key))["identityLog"]["nodes"] == []


async def test_what_was_foretold_comes_true_and_can_be_undone(gateway: Gateway) -> None:
    await two_people(gateway)
    key = await gateway.api_key()
    lee_before = await ask_user(gateway, key, userId="lee")
    foretold = await merge(gateway, key, {"userId": "lee"}, {"userId": "ann"}, dry=True)
    done = await merge(gateway, key, {"userId": "lee"}, {"userId": "ann"})
    assert {name: done[name] for name in ("before", "after", "moves")} == {
        name: foretold[name] for name in ("before", "after", "moves")
    }
    assert done["decision"]["kind"] == "MERGE"
    assert done["decision"]["reason"] == "one person"
    merged = await ask_user(gateway, key, userId="ann")
    (share,) = done["after"]
    assert (merged["id"], merged["eventCount"], merged["sessionCount"], len(merged["journeys"]["nodes"])) == (
        share["user"],
        share["eventCount"],
        share["sessionCount"],
        share["journeyCount"],
    )
    assert await ask_user(gateway, key, id=lee_before["id"]) == merged  # the id of before leads there
    foretold = await split(gateway, key, {"userId": "ann"}, ("USER_ID", "lee"), ("ANONYMOUS_ID", "laptop"), dry=True)
    undone = await split(gateway, key, {"userId": "ann"}, ("USER_ID", "lee"), ("ANONYMOUS_ID", "laptop"))
    assert undone["after"] == foretold["after"]
    assert await ask_user(gateway, key, userId="lee") == lee_before
    assert await ask_user(gateway, key, id=lee_before["id"]) == lee_before  # and back
    log = (await gateway.ask(LOG, key))["identityLog"]["nodes"]
    assert [entry["kind"] for entry in log] == ["SPLIT", "MERGE"]
    assert [one["value"] for one in log[0]["one"]] == ["laptop", "lee"]


async def test_a_token_lets_a_query_see_the_decision(gateway: Gateway) -> None:
    await two_people(gateway)
    key = await gateway.api_key()
    ann, lee = {"userId": "ann"}, {"userId": "lee"}
    assert (await merge(gateway, key, ann, lee, dry=True))["consistencyToken"] is None
    assert (await merge(gateway, key, ann, {"userId": "nobody"}))["consistencyToken"] is None
    ask = 'query($token: String!) { user(by: {userId: "ann"}, atLeast: $token) { identities { value } } }'
    for decide, count in ((merge(gateway, key, ann, lee), 4), (split(gateway, key, ann, ("USER_ID", "lee")), 3)):
        answer = await gateway.ask(ask, key, token=(await decide)["consistencyToken"])
        assert len(answer["user"]["identities"]) == count


async def test_a_user_who_moves_while_a_merge_looks_is_found_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_people(gateway)
    await gateway.send(track("Home", 150, anonymousId="a tablet"))
    key = await gateway.api_key()
    moved: list[str | None] = []

    async def then_moves(context: Context, by: UserBy) -> str | None:
        user = await user_id_by(context, by)
        if not moved:
            moved.append(user)
            await merge(gateway, key, {"userId": "lee"}, {"anonymousId": "a tablet"})
        return user

    monkeypatch.setattr(deciding, "user_id_by", then_moves)
    done = await merge(gateway, key, {"userId": "lee"}, {"userId": "ann"})
    assert moved == [user_of(anonymousId="laptop").removeprefix("user_")]
    assert done["errors"] == []
    assert sorted(values(done["after"][0])) == ["a tablet", "ann", "laptop", "lee", "phone"]


async def test_an_operators_word_is_no_event_of_the_user(gateway: Gateway) -> None:
    await two_people(gateway)
    key = await gateway.api_key()
    async with gateway.socket(key) as socket:
        await started(socket, EVENTS)
        await merge(gateway, key, {"userId": "lee"}, {"userId": "ann"})
        await gateway.send(track("Home", 0, userId="ann"))
        assert await event_names(socket, 1) == ["Home"]
    everything = await gateway.ask("{ events { nodes { name } totalCount } }", key)
    assert everything["events"]["totalCount"] == 6
    assert len(everything["events"]["nodes"]) == 6
    row = await gateway.database.find_one("events", {"workspace": WORKSPACE, "type": "merge"})
    assert row is not None
    assert await gateway.ask(
        "query($id: ID!) { node(id: $id) { id } }", key, id=f"event_{bytes(row['_id']).hex()}"
    ) == {"node": None}


@pytest.mark.parametrize("kind", ["merge", "split"])
async def test_nobody_can_send_what_only_operators_decide(gateway: Gateway, kind: str) -> None:
    message = {"type": kind, "userId": "ann", "properties": {"one": ["u:ann"], "other": ["u:lee"]}}
    receipt = await gateway.intake.ingest(Delivery(WORKSPACE, "test", [message]))
    assert receipt.quarantined == 1
    assert [(problem.verdict, problem.code) for problem in receipt.problems] == [(Verdict.QUARANTINED, "unknown_type")]


async def test_links_across_a_split_are_refused_for_all_to_see(gateway: Gateway) -> None:
    await gateway.send(track("Home", 60, anonymousId="kiosk"), identify(50, anonymousId="kiosk", userId="ann"))
    key = await gateway.api_key()
    await split(gateway, key, {"userId": "ann"}, ("ANONYMOUS_ID", "kiosk"))
    await gateway.send(identify(-0.5, anonymousId="kiosk", userId="ann"))
    for by in ({"userId": "ann"}, {"anonymousId": "kiosk"}):
        user = await ask_user(gateway, key, **by)
        assert values(user) == list(by.values())
        assert [(link["reason"], link["known"]["value"]) for link in user["refusedLinks"]] == [("SPLIT", "ann")]
    await gateway.send(identify(-0.6, anonymousId="kiosk", userId="bob"))
    assert sorted(values(await ask_user(gateway, key, userId="bob"))) == ["bob", "kiosk"]
    await merge(gateway, key, {"userId": "ann"}, {"userId": "bob"})
    user = await ask_user(gateway, key, userId="ann")
    assert sorted(values(user)) == ["ann", "bob", "kiosk"]
    assert user["refusedLinks"] == []


async def test_refused_links_say_why(gateway: Gateway) -> None:
    await gateway.send(
        identify(50, anonymousId="kiosk", userId="ann"),
        identify(40, anonymousId="kiosk", userId="bob"),
        identify(30, anonymousId="null", userId="ann"),
    )
    user = await ask_user(gateway, await gateway.api_key(), userId="ann")
    assert [(link["reason"], link["anonymous"]["value"], link["known"]["value"]) for link in user["refusedLinks"]] == [
        ("BLOCKED_VALUE", "null", "ann"),
        ("TWO_USER_IDS", "kiosk", "bob"),
    ]


async def test_a_user_as_of_a_moment(gateway: Gateway) -> None:
    await two_people(gateway)
    key = await gateway.api_key()
    gateway.clock.advance(60_000)
    await merge(gateway, key, {"userId": "lee"}, {"userId": "ann"})
    assert sorted(values(await ask_user(gateway, key, userId="lee"))) == ["ann", "laptop", "lee", "phone"]
    earlier = await ask_user(gateway, key, as_of=at(0), userId="lee")
    assert values(earlier) == ["laptop", "lee"]
    assert earlier["id"] == user_of(anonymousId="laptop")
    assert [event["name"] for event in earlier["events"]["nodes"]] == ["Order Completed", "identify", "Product Added"]
    assert (earlier["journey"]["status"], earlier["journey"]["stage"]) == ("COMPLETED", {"key": "purchased"})
    still = await ask_user(gateway, key, as_of=at(50), userId="lee")
    assert (still["eventCount"], still["sessionCount"], still["journey"]["status"]) == (2, 1, "ACTIVE")
    assert still["sessions"] == {"nodes": [{"start": at(100), "eventCount": 2}], "pageInfo": {"hasNextPage": False}}
    alone = await ask_user(gateway, key, as_of=at(95), anonymousId="laptop")
    assert values(alone) == ["laptop"]
    assert await ask_user(gateway, key, as_of=at(95), userId="lee") is None
    assert await ask_user(gateway, key, as_of=at(300), userId="ann") is None
    assert values(await ask_user(gateway, key, as_of=at(0), id=user_of(anonymousId="laptop"))) == ["laptop", "lee"]


async def test_mistakes_are_said_with_their_place(gateway: Gateway) -> None:
    await two_people(gateway)
    key = await gateway.api_key()
    ann = {"userId": "ann"}

    async def code(payload: Json) -> tuple[str, list[str]]:
        (error,) = payload["errors"]
        assert payload["decision"] is None
        return error["code"], error["path"]

    assert await code(await merge(gateway, key, ann)) == ("USER_COUNT", ["input", "users"])
    assert await code(await merge(gateway, key, ann, {"userId": "who"})) == ("UNKNOWN_USER", ["input", "users", "1"])
    assert await code(await merge(gateway, key, ann, {"anonymousId": "phone"})) == (
        "SAME_USER",
        ["input", "users", "1"],
    )
    assert await code(await split(gateway, key, {"userId": "who"})) == ("UNKNOWN_USER", ["input", "user"])
    assert await code(await split(gateway, key, ann, ("USER_ID", "lee"))) == (
        "NOT_THEIRS",
        ["input", "identities", "0"],
    )
    whole = (("USER_ID", "ann"), ("ANONYMOUS_ID", "phone"))
    assert await code(await split(gateway, key, ann, *whole)) == ("NOTHING_TO_SPLIT", ["input", "identities"])
    assert await code(await split(gateway, key, ann)) == ("NOTHING_TO_SPLIT", ["input", "identities"])
    wanted = {"users": [ann, {"userId": "lee"}], "reason": " "}
    assert await code((await gateway.ask(MERGE, key, input=wanted))["mergeUsers"]) == ("REASON", ["input", "reason"])
    await gateway.send(track("Home", 1, anonymousId="null"))
    assert await code(await merge(gateway, key, ann, {"anonymousId": "null"})) == ("NOBODY", ["input", "users", "1"])


async def test_deciding_needs_its_permission(gateway: Gateway) -> None:
    await two_people(gateway)
    wanted = {"users": [{"userId": "ann"}, {"userId": "lee"}], "reason": "r"}
    for authorization in (await gateway.api_key("journeys:read", "pii:read"), gateway.token(userId="ann")):
        answer = await gateway.answer(MERGE, authorization, input=wanted)
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
        answer = await gateway.answer(LOG, authorization)
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    answer = await gateway.answer("{ me { refusedLinks { reason } } }", gateway.token(userId="ann"))
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    own = await gateway.api_key("identities:write")
    without = (
        "mutation($input: MergeUsersInput!) { mergeUsers(input: $input) { after { eventCount } errors { code } } }"
    )
    assert (await gateway.ask(without, own, input=wanted))["mergeUsers"] == {"after": [{"eventCount": 5}], "errors": []}


async def test_the_log_of_one_user_comes_page_by_page(gateway: Gateway) -> None:
    await two_people(gateway)
    await gateway.send(track("Home", 3, userId="zoe"), track("Home", 2, userId="zed"))
    key = await gateway.api_key()
    await merge(gateway, key, {"userId": "zoe"}, {"userId": "zed"})
    await merge(gateway, key, {"userId": "ann"}, {"userId": "lee"})
    await split(gateway, key, {"userId": "ann"}, ("USER_ID", "lee"))
    await split(gateway, key, {"userId": "ann"}, ("ANONYMOUS_ID", "laptop"))
    about = {"userId": "ann"}
    first = (await gateway.ask(LOG, key, user=about, first=2))["identityLog"]
    assert [entry["kind"] for entry in first["nodes"]] == ["SPLIT", "SPLIT"]
    assert first["pageInfo"]["hasNextPage"]
    rest = (await gateway.ask(LOG, key, user=about, after=first["pageInfo"]["endCursor"]))["identityLog"]
    assert [entry["kind"] for entry in rest["nodes"]] == ["MERGE"]


@pytest.fixture
def checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "CHECK_SECONDS", 0.05)


async def test_whoever_was_split_away_is_heard_of_no_more(gateway: Gateway) -> None:
    """At once, not only when the next check is due: the id that both had is somebody else's now."""
    await gateway.send(track("Home", 60, anonymousId="kiosk"), identify(50, anonymousId="kiosk", userId="ann"))
    key = await gateway.api_key()
    async with gateway.socket(gateway.token(userId="ann")) as socket:
        cursor = await started(socket, EVENTS)
        await gateway.send(track("kiosk before", 40, anonymousId="kiosk"))
        assert await event_names(socket, 1) == ["kiosk before"]
        await split(gateway, key, {"userId": "ann"}, ("ANONYMOUS_ID", "kiosk"))
        await gateway.send(track("kiosk after", 1, anonymousId="kiosk"))
        assert (await socket.news())["eventStored"]["event"] is None
        await socket.subscribe(EVENTS, "2", after=cursor)  # nor of what was told while they were one
        while not await silent(socket):
            pass
        await gateway.send(track("ann after", 0, userId="ann"))
        heard = await socket.news()
        assert heard["eventStored"]["event"]["name"] == "ann after"


@pytest.mark.usefixtures("checked_often")
async def test_a_subscription_follows_its_user_through_merge_and_split(gateway: Gateway) -> None:
    await gateway.send(track("Home", 90, userId="elder"), track("Home", 60, userId="ann"))
    key = await gateway.api_key()

    async def next_name(socket: Any) -> str:
        while (event := (await socket.news())["eventStored"]["event"]) is None:
            pass
        return str(event["name"])

    async with gateway.socket(gateway.token(userId="ann")) as socket:
        await started(socket, EVENTS)
        await merge(gateway, key, {"userId": "ann"}, {"userId": "elder"})
        await gateway.send(track("together", 5, userId="elder"))
        assert await next_name(socket) == "together"
        await split(gateway, key, {"userId": "ann"}, ("USER_ID", "ann"))
        await gateway.send(track("elder's", 4, userId="elder"), track("ann's", 3, userId="ann"))
        assert await next_name(socket) == "ann's"
