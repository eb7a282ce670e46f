"""Quarantine by GraphQL: seen, mended, replayed; and what became of all that was sent."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.pipeline.intake import Delivery
from gateway.pipeline.replaying import Replays
from gateway.store.quarantine import QuarantineFilter
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, track

LIST = """query($filter: QuarantineFilter, $first: Int, $after: Cursor) {
  quarantine(filter: $filter, first: $first, after: $after) {
    nodes { id code reason stage source messageId firstSeen lastSeen count original }
    pageInfo { hasNextPage endCursor } } }"""
REPLAY = """mutation($input: ReplayQuarantineInput!) { replayQuarantine(input: $input) {
  dryRun matched accepted duplicate conflict quarantined refused more reasons { code count } } }"""
SUMS = """query($source: String) { intakeAccounting(range: {last: "1d"}, source: $source) {
  more total { sent accepted duplicate conflict quarantined refused replayed }
  rows { source hour counts { sent accepted quarantined } } } }"""


async def quarantine(gateway: Gateway, *messages: Any, source: str = "web", **rest: Any) -> None:
    receipt = await gateway.intake.ingest(Delivery(WORKSPACE, source, list(messages), **rest))
    assert receipt.quarantined + receipt.conflict == len(messages)


def wrong(message_id: str | None = None, **rest: Any) -> dict[str, Any]:
    """A good event but for its userId, which is a list."""
    return {**track("Product Viewed", userId=["ada"]), **({"messageId": message_id} if message_id else {}), **rest}


async def rows(gateway: Gateway, **filter: Any) -> list[dict[str, Any]]:
    found = await gateway.ask(LIST, await gateway.api_key(), filter=filter)
    return list(found["quarantine"]["nodes"])


async def replay(gateway: Gateway, **input: Any) -> dict[str, Any]:
    given = {"filter": {}, **input} if "ids" not in input else input
    done: dict[str, Any] = (await gateway.ask(REPLAY, await gateway.api_key(), input=given))["replayQuarantine"]
    verdicts = ("accepted", "duplicate", "conflict", "quarantined", "refused")
    assert done["matched"] == sum(done[verdict] for verdict in verdicts)
    return done


async def events(gateway: Gateway) -> list[dict[str, Any]]:
    return await gateway.database.find("events", {"workspace": WORKSPACE})


async def test_what_is_wrong_is_listed_with_its_reason(gateway: Gateway) -> None:
    await quarantine(gateway, wrong("1"), {"type": "nothing"})
    gateway.clock.advance(1_000)
    await quarantine(gateway, wrong("1"), source="app")
    await quarantine(gateway, wrong("1"))
    found = await rows(gateway)
    told = [(row["code"], row["source"], row["count"]) for row in found]
    assert told[0] == ("wrong_type", "app", 1), "the newest first"
    assert set(told[1:]) == {("wrong_type", "web", 2), ("unknown_type", "web", 1)}
    assert [row["messageId"] for row in await rows(gateway, codes=["wrong_type"], source="web")] == ["1"]
    assert len(await rows(gateway, messageId="1")) == 2
    assert len(await rows(gateway, to="2026-11-21T10:00:00.500Z")) == 2
    assert len(await rows(gateway, **{"from": "2026-11-21T10:00:00.500Z"})) == 1
    (one,) = await rows(gateway, codes=["wrong_type"], source="web")
    assert (one["firstSeen"], one["lastSeen"]) == ("2026-11-21T10:00:00.000Z", "2026-11-21T10:00:01.000Z")
    assert one["stage"] == "read"
    assert "must be a string" in one["reason"]
    node = await gateway.ask("query($id: ID!) { node(id: $id) { id } }", await gateway.api_key(), id=one["id"])
    assert node["node"] == {"id": one["id"]}


async def test_pages_go_through_all_of_it_once(gateway: Gateway) -> None:
    await quarantine(gateway, *(wrong(str(number)) for number in range(7)))
    key, seen, after = await gateway.api_key(), [], None
    for _ in range(4):
        page = (await gateway.ask(LIST, key, first=2, after=after))["quarantine"]
        seen += [row["messageId"] for row in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
    assert sorted(seen) == [str(number) for number in range(7)]
    assert not page["pageInfo"]["hasNextPage"]


async def test_a_patch_mends_and_twice_is_once(gateway: Gateway) -> None:
    await quarantine(gateway, *(wrong(str(number)) for number in range(5)), {"type": "nothing"})
    dry = await replay(gateway, patch={"userId": "ada"}, dryRun=True)
    assert (dry["dryRun"], dry["accepted"], dry["quarantined"]) == (True, 5, 1)
    assert await events(gateway) == []
    assert len(await rows(gateway)) == 6

    done = await replay(gateway, patch={"userId": "ada", "properties": None})

    assert (done["accepted"], done["quarantined"], done["more"]) == (5, 1, False)
    assert done["reasons"] == [{"code": "unknown_type", "count": 1}]
    stored = await events(gateway)
    assert sorted(event["messageId"] for event in stored) == ["0", "1", "2", "3", "4"]
    assert all(event["source"] == "web" and event["properties"] == {} for event in stored)
    assert [row["code"] for row in await rows(gateway)] == ["unknown_type"], "what became an event has left"

    await quarantine(gateway, wrong("0"))  # a late retry of the sender
    again = await replay(gateway, patch={"userId": "ada", "properties": None})
    assert (again["accepted"], again["duplicate"]) == (0, 1)
    assert len(await events(gateway)) == 5


async def test_a_message_without_an_id_is_one_event_however_often_it_is_replayed(gateway: Gateway) -> None:
    message = {"type": "track", "event": "A", "userId": ["ada"]}
    await quarantine(gateway, message)
    await asyncio.gather(*(replay(gateway, patch={"userId": "ada"}) for _ in range(3)))
    await quarantine(gateway, message)
    assert len(await events(gateway)) == 1
    # Sent without stamp and id it may be another event; replayed it is a second one, once.
    await replay(gateway, patch={"userId": "ada"})
    assert await rows(gateway) == []


async def test_equal_messages_without_an_id_are_kept_and_replayed_one_by_one(gateway: Gateway) -> None:
    message = {"type": "track", "event": "click", "properties": {"page": "/a"}}
    for _ in range(3):
        await quarantine(gateway, message, body_digest=b"one body")
    await quarantine(gateway, message, message, body_digest=b"two")
    for _ in range(2):  # the second is a retry: its time stamp tells
        await quarantine(gateway, message, body_digest=b"stamped", sent_at=NOW)
    found = await rows(gateway)
    assert sorted(row["count"] for row in found) == [1, 1, 1, 1, 1, 2]
    assert (await replay(gateway, patch={"userId": "ada"}))["accepted"] == 6
    assert len(await events(gateway)) == 6


async def test_what_is_still_wrong_says_what_is_wrong_now(gateway: Gateway) -> None:
    await quarantine(gateway, wrong("1"))
    done = await replay(gateway, patch={"userId": None})
    assert (done["quarantined"], done["reasons"]) == (1, [{"code": "no_identity", "count": 1}])
    (row,) = await rows(gateway)
    assert (row["code"], row["count"]) == ("no_identity", 1)
    assert '["ada"]' in row["original"], "the patch is not kept"


async def test_conflicts_stay_until_they_have_an_id_of_their_own(gateway: Gateway) -> None:
    first, second = track("A", userId="ada", messageId="1"), track("B", userId="ada", messageId="1")
    await gateway.intake.ingest(Delivery(WORKSPACE, "web", [first]))
    await quarantine(gateway, second)
    assert (await replay(gateway))["conflict"] == 1
    assert (await replay(gateway, dryRun=True))["conflict"] == 1
    (row,) = await rows(gateway)
    assert (row["code"], row["stage"]) == ("id_reused", "dedup")
    assert (await replay(gateway, ids=[row["id"]], patch={"messageId": "2"}))["accepted"] == 1
    assert await rows(gateway) == []


async def test_times_are_corrected_by_when_it_came_and_stamped_by_when_it_is_stored(gateway: Gateway) -> None:
    hour = 3_600_000
    # The sender's clock is an hour behind.
    await quarantine(gateway, wrong("1", timestamp="2026-11-21T08:59:00Z"), sent_at=NOW - hour)
    gateway.clock.advance(5 * hour)
    await replay(gateway, patch={"userId": "ada"})
    (event,) = await events(gateway)
    assert event["at"] == NOW - 60_000
    assert (event["receivedAt"], event["heldSince"]) == (NOW + 5 * hour, NOW)


async def test_a_userid_that_was_not_proven_is_not_taken(gateway: Gateway) -> None:
    spoofed = track("A", userId="ada", messageId="1")
    await quarantine(gateway, spoofed, user_hash_secret="secret")
    assert (await replay(gateway))["quarantined"] == 1
    assert (await replay(gateway, patch={"userId": "bob"}))["quarantined"] == 1
    assert (await replay(gateway, patch={"userId": None, "anonymousId": "a"}))["accepted"] == 1


async def test_only_so_many_at_a_time_and_the_rest_next(gateway: Gateway) -> None:
    await quarantine(gateway, *(wrong(str(number)) for number in range(250)))
    replays = Replays(gateway.quarantine, gateway.intake, gateway.clock)
    done = await replay(gateway, patch={"userId": "ada"}, first=120)
    assert (done["accepted"], done["more"]) == (120, True)
    scope = (await gateway.services.callers.grant_of(await gateway.api_key())).scope
    rest = await replays.run(scope, QuarantineFilter(), patch={"userId": "ada"})
    assert (rest.accepted, rest.more) == (130, False)
    assert len(await events(gateway)) == 250


async def test_what_to_replay_must_be_said(gateway: Gateway) -> None:
    key = await gateway.api_key()
    for given, path in (
        ({}, "input"),
        ({"filter": {}, "ids": []}, "input"),
        ({"filter": {}, "patch": [1]}, "input.patch"),
        ({"filter": {}, "first": 0}, "first"),
        ({"ids": ["event_" + "0" * 32]}, "id"),
    ):
        error = await gateway.refusal(REPLAY, key, input=given)
        assert error["extensions"]["code"] == "INVALID_INPUT", (given, path)


async def test_other_workspaces_stay_closed(gateway: Gateway) -> None:
    await gateway.intake.ingest(Delivery("other", "web", [wrong("1")]))
    row = (await gateway.database.find("quarantine", {"workspace": "other"}))[0]
    assert await rows(gateway) == []
    done = await replay(gateway, ids=[f"quarantined_{bytes(row['_id']).hex()}"], patch={"userId": "ada"})
    assert done["matched"] == 0
    assert (await gateway.ask(SUMS, await gateway.api_key()))["intakeAccounting"]["rows"] == []


async def test_what_was_sent_is_the_sum_of_the_verdicts(gateway: Gateway) -> None:
    good = track("A", userId="ada", messageId="1")
    for source in ("web", "app"):
        await gateway.intake.ingest(Delivery(WORKSPACE, source, [good, good, wrong("2"), {**good, "event": "B"}]))
    gateway.clock.advance(3_600_000)
    await replay(gateway, filter={"source": "web", "codes": ["wrong_type"]}, patch={"userId": "ada"})
    await gateway.intake.drain()
    key = await gateway.api_key()
    found = (await gateway.ask(SUMS, key))["intakeAccounting"]
    one = {"sent": 4, "accepted": 1, "duplicate": 1, "conflict": 1, "quarantined": 1, "refused": 0}
    assert found["total"] == {**{name: 2 * number for name, number in one.items()}, "replayed": 1}
    assert [(row["source"], row["hour"][11:16], row["counts"]["sent"]) for row in found["rows"]] == [
        ("web", "11:00", 0),
        ("app", "10:00", 4),
        ("web", "10:00", 4),
    ]
    assert not found["more"]
    app = (await gateway.ask(SUMS, key, source="app"))["intakeAccounting"]
    assert app["total"] == {**one, "replayed": 0}
