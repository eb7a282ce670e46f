"""Deliveries by GraphQL: what destinations have not got, how they are, and replays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.model.identity import Identity, user_id_of
from gateway.store.deliveries import Standing
from gateway.store.lane_items import Changes, DeadLetter, LaneItem
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, track

LIST = """query($destination: String, $status: DeliveryStatus, $first: Int, $after: Cursor) {
  deliveries(destination: $destination, status: $status, first: $first, after: $after) {
    nodes { id destination status kind eventName eventId userId key attempts code reason excerpt since dueAt diedAt }
    pageInfo { hasNextPage endCursor }
    destinations { name connector state since until reason hint behind lagSeconds pending waiting dead } } }"""
REPLAY = """mutation($input: ReplayDeliveriesInput!) { replayDeliveries(input: $input) {
  dryRun matched replayed more errors { message } } }"""
ASK = "mutation { replayDeliveries(input: {deadLetters: {}}) { __typename } }"
ANN = user_id_of(WORKSPACE, Identity("userId", "ann"))


def item(number: int, **changes: Any) -> LaneItem:
    about = {"event": number.to_bytes(16, "big"), "name": f"Event {number}", "at": NOW}
    given: dict[str, Any] = {"key": f"k{number}", "lane": 3, "queue": ANN, "user": ANN, "seq": number, "kind": "event"}
    return LaneItem(**given, about=about, since=NOW + number, **changes)


async def written(gateway: Gateway, instance: str = "crm") -> None:
    """Two letters, a row that is tried again, and one that waits."""
    deliveries = gateway.services.asking.deliveries
    await deliveries.declare(Standing(WORKSPACE, instance, "hubspot", ("event",), erases=False, fingerprint="1"))
    changes = Changes(
        kept=[item(1, attempts=2, due_at=NOW + 5_000, code="retry", reason="busy"), item(2, state="waiting")],
        dead=[DeadLetter(item(at, code=code, reason="no", attempts=1), NOW + at, "{}") for at, code in _CODES.items()],
    )
    await gateway.database.with_transaction(
        lambda session: deliveries.items.write(WORKSPACE, instance, changes, session)
    )


_CODES = {3: "http_422", 4: "bug"}


async def listed(gateway: Gateway, **given: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.ask(LIST, await gateway.api_key(), **given))["deliveries"]
    return found


async def replayed(gateway: Gateway, **input: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.ask(REPLAY, await gateway.api_key(), input=input))["replayDeliveries"]
    return found


async def test_what_is_not_delivered_is_listed_by_status(gateway: Gateway) -> None:
    await written(gateway)
    dead = (await listed(gateway))["nodes"]
    assert [(one["eventName"], one["code"], one["status"]) for one in dead] == [
        ("Event 4", "bug", "DEAD"),
        ("Event 3", "http_422", "DEAD"),
    ]
    (pending,) = (await listed(gateway, status="PENDING"))["nodes"]
    assert (pending["attempts"], pending["reason"], pending["dueAt"]) == (2, "busy", "2026-11-21T10:00:05.000Z")
    assert pending["userId"] == f"user_{ANN}"
    (waiting,) = (await listed(gateway, status="WAITING"))["nodes"]
    assert (waiting["attempts"], waiting["code"], waiting["dueAt"]) == (0, None, None)
    assert (await listed(gateway, destination="other"))["nodes"] == []
    for one in (pending, *dead):
        node = await gateway.ask("query($id: ID!) { node(id: $id) { id } }", await gateway.api_key(), id=one["id"])
        assert node["node"] == {"id": one["id"]}


async def test_destinations_say_how_they_are(gateway: Gateway) -> None:
    await written(gateway)
    await written(gateway, "mail")
    deliveries = gateway.services.asking.deliveries
    await deliveries.begin(WORKSPACE, "crm", NOW)
    standing = await deliveries.standing(WORKSPACE, "crm")
    assert standing is not None
    stopped = replace(standing, state="paused", since=NOW, until=NOW + 60_000, code="auth")
    await deliveries.stop(replace(stopped, reason="HTTP 401", hint="Renew it."))
    await gateway.send(track("Product Viewed", userId="ann"))
    gateway.clock.advance(3_000)
    crm, mail = (await listed(gateway))["destinations"]
    assert (crm["name"], crm["state"], crm["reason"], crm["hint"]) == ("crm", "PAUSED", "HTTP 401", "Renew it.")
    assert (crm["pending"], crm["waiting"], crm["dead"]) == (1, 1, 2)
    assert crm["behind"] >= 1
    assert crm["lagSeconds"] == 3
    assert (mail["state"], mail["behind"], mail["until"]) == ("DELIVERING", 0, None)
    assert [one["name"] for one in (await listed(gateway, destination="mail"))["destinations"]] == ["mail"]


async def test_dead_letters_are_replayed_by_filter(gateway: Gateway) -> None:
    await written(gateway)
    assert await replayed(gateway, deadLetters={}, dryRun=True) == {
        "dryRun": True,
        "matched": 2,
        "replayed": 0,
        "more": False,
        "errors": [],
    }
    assert (await replayed(gateway, deadLetters={"codes": ["bug"], "user": {"id": f"user_{ANN}"}}))["matched"] == 0
    assert (await replayed(gateway, deadLetters={"codes": ["bug"], "destination": "crm"}))["replayed"] == 1
    assert [one["code"] for one in (await listed(gateway))["nodes"]] == ["http_422"]
    assert len((await listed(gateway, status="PENDING"))["nodes"]) == 2


async def test_a_span_of_the_log_is_counted_then_replayed(gateway: Gateway) -> None:
    await written(gateway)
    await gateway.send(track("Product Viewed", 2, userId="ann"), track("Order Completed", 1, userId="bob"))
    span = {"destination": "crm", "from": "2026-11-21T09:00:00Z", "to": "2026-11-21T11:00:00Z"}
    assert (await replayed(gateway, log=span, dryRun=True))["matched"] == 2
    assert (await replayed(gateway, log={**span, "user": {"userId": "ann"}}, dryRun=True))["matched"] == 1
    assert await gateway.database.count("replays", {}) == 0
    assert (await replayed(gateway, log=span))["replayed"] == 2
    assert await gateway.database.count("replays", {"running": True}) == 1


async def test_what_is_asked_wrongly_is_said(gateway: Gateway) -> None:
    key = await gateway.api_key()
    for given in ({}, {"deadLetters": {}, "log": {"destination": "x", "from": "2026-01-01", "to": "2026-01-02"}}):
        assert "errors" in await gateway.answer(REPLAY, key, input=given)
    span = {"destination": "nobody", "from": "2026-11-21T09:00:00Z", "to": "2026-11-21T11:00:00Z"}
    assert (await gateway.refusal(REPLAY, key, input={"log": span}))["extensions"]["code"] == "NOT_FOUND"


async def test_deliveries_need_the_permission(gateway: Gateway) -> None:
    reader = await gateway.api_key("workspace:read")
    assert (await gateway.ask(LIST, reader))["deliveries"]["nodes"] == []
    assert (await gateway.refusal(ASK, reader))["extensions"]["code"] == "FORBIDDEN"
    for authorization in (await gateway.api_key("journeys:read"), gateway.token(userId="ann")):
        assert (await gateway.refusal("{ deliveries { __typename } }", authorization))["extensions"][
            "code"
        ] == "FORBIDDEN"
