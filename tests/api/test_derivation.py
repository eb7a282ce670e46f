"""How derivation stands, by GraphQL: users that are set aside, and incidents."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.journeys.fold import Folded, fold
from gateway.pipeline import folding
from gateway.store.database import Timestamp
from gateway.store.derivation import KEEP_MS
from tests.api.gateway_api import NOW, Gateway, track

STATE = """query($first: Int, $after: Cursor) { derivation { lag
  setAside(first: $first, after: $after) { nodes { userId at error } pageInfo { hasNextPage endCursor } }
  incidents(first: 10) { nodes { key kind since startedAt endedAt lanes tries } } } }"""


async def state(gateway: Gateway, **variables: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await gateway.ask(STATE, await gateway.api_key(), **variables))["derivation"]
    return found


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of events that make the fold raise."""
    names: set[str] = set()

    def folds(user: str, events: Any, *rest: Any, **options: Any) -> Folded:
        if any(event.name in names for event in events):
            raise ArithmeticError("ada@example.org does not fold")
        return fold(user, events, *rest, **options)

    monkeypatch.setattr(folding, "fold", folds)
    return names


async def test_users_whose_events_do_not_fold_are_listed_until_they_do(gateway: Gateway, broken: set[str]) -> None:
    broken.add("Poison")
    poisoned = [track("Poison", userId=f"u{number}") for number in range(3)]
    await gateway.send(*poisoned, track("View", userId="fine"))
    first = await state(gateway, first=2)
    assert first["setAside"]["pageInfo"]["hasNextPage"] is True
    second = await state(gateway, first=2, after=first["setAside"]["pageInfo"]["endCursor"])
    nodes = first["setAside"]["nodes"] + second["setAside"]["nodes"]
    assert len({node["userId"] for node in nodes}) == 3
    assert {node["error"] for node in nodes} == {"ArithmeticError"}
    assert {node["at"] for node in nodes} == {"2026-11-21T10:00:00.000Z"}
    assert "example.org" not in str(nodes)
    assert await gateway.services.derivation.count_set_aside(at_most=2) == 2
    broken.clear()
    await gateway.send(track("View", userId="u1"))
    left = (await state(gateway))["setAside"]["nodes"]
    assert len(left) == 2, "the next event folds the user from the start"


async def test_users_of_other_workspaces_are_not_listed(gateway: Gateway, broken: set[str]) -> None:
    broken.add("Poison")
    await gateway.send(track("Poison", userId="theirs"), workspace="other")
    assert (await state(gateway))["setAside"]["nodes"] == []


async def test_incidents_are_listed_from_beginning_to_end_and_forgotten_after_their_time(gateway: Gateway) -> None:
    status = gateway.services.derivation
    await status.history_lost(Timestamp(1, 1), [1], NOW - KEEP_MS - 1)
    again = [await status.history_lost(Timestamp(1_795_255_000, 1), [lane, 3], NOW + lane) for lane in (2, 1)]
    assert len(set(again)) == 1, "met once more is the same incident"
    (one,) = (await state(gateway))["incidents"]["nodes"]
    assert one["kind"] == "history_lost"
    assert (one["since"], one["startedAt"], one["endedAt"]) == (
        "2026-11-21T09:56:40.000Z",
        "2026-11-21T10:00:00.002Z",
        None,
    )
    assert (one["lanes"], one["tries"]) == ([1, 2, 3], 2)
    assert await status.count_open() == 1
    await status.ended(again[0], NOW + 5_000)
    (one,) = (await state(gateway))["incidents"]["nodes"]
    assert one["endedAt"] == "2026-11-21T10:00:05.000Z"
    assert await status.count_open() == 0


async def test_the_lag_is_that_of_the_lane_furthest_behind(gateway: Gateway) -> None:
    assert (await state(gateway))["lag"] is None
    for lane in range(16):
        at = Timestamp(NOW // 1000 - lane, 1)
        await gateway.database.update_one("lanes", {"_id": lane}, {"$set": {"offset": at}})
    assert (await state(gateway))["lag"] == 15.0
