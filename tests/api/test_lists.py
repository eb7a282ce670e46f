"""Lists: pages that meet without overlap or hole, limits that are said, cursors that are good for one list only."""

from __future__ import annotations

import pytest

from tests.api.gateway_api import Gateway, track

LISTS = {
    "users": "users(first: $first, after: $after)",
    "journeys": "journeys(first: $first, after: $after)",
    "events": "events(first: $first, after: $after)",
    "own journeys": 'user(by: {userId: "u0"}) { journeys(first: $first, after: $after)',
    "own events": 'user(by: {userId: "u0"}) { events(first: $first, after: $after)',
    "own sessions": 'user(by: {userId: "u0"}) { sessions(first: $first, after: $after)',
}


def query(field: str) -> str:
    closing = "}" * field.count("{ ")
    return (
        f"query($first: Int, $after: Cursor) {{ {field} {{ edges {{ cursor node {{ id }} }} nodes {{ id }}"
        f" pageInfo {{ hasNextPage endCursor }} }} {closing} }}"
    )


def inner(data: dict[str, object]) -> dict[str, object]:
    while "pageInfo" not in data:
        (data,) = data.values()  # type: ignore[assignment]
    return data


async def seven(gateway: Gateway) -> None:
    """Seven entries in each list: users with equal times too, runs and sessions hours apart."""
    await gateway.send(*(track("Product Viewed", 1, userId=f"u{number}") for number in range(1, 7)))
    await gateway.send(
        *(track("Order Completed", 60 * hours, userId="u0") for hours in range(1, 8)),
        *(track("Product Viewed", 60 * hours + 1, userId="u0") for hours in range(1, 8)),
    )


@pytest.mark.parametrize("name", LISTS)
async def test_pages_meet(gateway: Gateway, name: str) -> None:
    await seven(gateway)
    key = await gateway.api_key()
    whole = inner(await gateway.ask(query(LISTS[name]), key, first=100))
    ids = [node["id"] for node in whole["nodes"]]  # type: ignore[attr-defined]
    assert len(ids) >= 7
    assert len(set(ids)) == len(ids)
    assert [edge["node"]["id"] for edge in whole["edges"]] == ids  # type: ignore[attr-defined]
    for size in (1, 3):
        found, after = [], None
        while True:
            page = inner(await gateway.ask(query(LISTS[name]), key, first=size, after=after))
            found += [node["id"] for node in page["nodes"]]  # type: ignore[attr-defined]
            info = page["pageInfo"]
            after = info["endCursor"]  # type: ignore[index]
            if not info["hasNextPage"]:  # type: ignore[index]
                break
        assert found == ids


async def test_counts_are_on_the_lists_of_all_users_and_events(gateway: Gateway) -> None:
    await seven(gateway)
    answer = await gateway.ask(
        "{ users(first: 1) { totalCount } events(first: 1) { totalCount } }", await gateway.api_key()
    )
    assert answer == {"users": {"totalCount": 7}, "events": {"totalCount": 20}}


async def test_an_empty_page_has_no_cursor(gateway: Gateway) -> None:
    page = inner(await gateway.ask(query(LISTS["users"]), await gateway.api_key()))
    assert page["pageInfo"] == {"hasNextPage": False, "endCursor": None}
    await seven(gateway)
    none = inner(await gateway.ask(query(LISTS["users"]), await gateway.api_key(), first=0))
    assert none["nodes"] == []
    assert none["pageInfo"] == {"hasNextPage": True, "endCursor": None}


@pytest.mark.parametrize("first", [-1, 101, 1_000_000])
async def test_a_page_that_is_too_large_is_refused(idle_gateway: Gateway, first: int) -> None:
    error = await idle_gateway.refusal(query(LISTS["users"]), await idle_gateway.api_key(), first=first)
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert "0 to 100" in error["message"]


async def test_a_null_first_is_the_default(gateway: Gateway) -> None:
    await gateway.send(*(track("A", userId=f"u{number}") for number in range(25)))
    page = inner(await gateway.ask(query(LISTS["users"]), await gateway.api_key(), first=None))
    assert len(page["nodes"]) == 20  # type: ignore[arg-type]


async def test_a_cursor_of_another_list_or_made_up_is_refused(gateway: Gateway) -> None:
    await seven(gateway)
    key = await gateway.api_key()
    page = inner(await gateway.ask(query(LISTS["journeys"]), key, first=1))
    foreign = page["pageInfo"]["endCursor"]  # type: ignore[index]
    for after in (
        foreign,
        "",
        "!",
        "WyJ1c2VyIiwxXQ",
        "WyJ1c2VyIiwiMSIsMV0",
        "WyJ1c2VyIiwxZTk5OSwiYSJd",
        "é" * 10,
        "=" * 99,
    ):
        error = await gateway.refusal(query(LISTS["users"]), key, after=after)
        assert error["extensions"]["code"] == "INVALID_INPUT", after
        assert error["message"] == "`after` is not a position in this list."
    too_long = await gateway.refusal(query(LISTS["users"]), key, after="x" * 2000)
    assert too_long["extensions"]["code"] == "INVALID_INPUT"


@pytest.mark.parametrize(
    ("query", "argument", "known"),
    [
        ('{ journeys(map: "purchse") { nodes { id } } }', "map", "There is: purchase."),
        ('{ journeys(stage: "kart") { nodes { id } } }', "stage", "There is: browse, cart, checkout, purchased."),
        ('{ journeys(map: "purchase", stage: "kart") { nodes { id } } }', "stage", "There is: browse, cart"),
        ('{ user(by: {userId: "ann"}) { journey(map: "purchse") { id } } }', "map", "There is: purchase."),
    ],
)
async def test_a_key_that_does_not_exist_is_told_with_those_that_do(
    gateway: Gateway, query: str, argument: str, known: str
) -> None:
    await gateway.send(track("Product Viewed", userId="ann"))
    answer = await gateway.answer(query, await gateway.api_key())
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["extensions"]["argument"] == argument
    assert error["extensions"]["hint"].startswith(known)


async def test_nobody_watches_a_key_that_does_not_exist(idle_gateway: Gateway) -> None:
    async with idle_gateway.socket(await idle_gateway.api_key()) as socket:
        for number, given in enumerate(('map: "purchse"', 'stage: "kart"')):
            await socket.subscribe(f"subscription {{ journeyChanged({given}) {{ cursor }} }}", str(number))
            (error,) = (await socket.receive())["payload"]["errors"]
            assert error["extensions"]["code"] == "INVALID_INPUT"
            assert (await socket.receive())["type"] == "complete"
