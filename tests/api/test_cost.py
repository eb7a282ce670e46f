"""Hostile and clumsy queries: refused before they run, within milliseconds, with what to change."""

from __future__ import annotations

import time

import pytest

from gateway.store.database import CommandListener, Database, connect
from tests.api.gateway_api import Gateway, load_shop, track
from tests.pace import slowness


def fan_out(levels: int) -> str:
    """Fragments that double at every level."""
    spreads = " ".join(f"fragment f{level} on Query {{ ...f{level + 1} ...f{level + 1} }}" for level in range(levels))
    return f"{{ ...f0 }} {spreads} fragment f{levels} on Query {{ journeyMaps {{ key }} }}"


def many(count: int, field: str) -> str:
    """A field under many aliases."""
    return "{ " + " ".join(f"a{number}: {field}" for number in range(count)) + " }"


def chain(links: int) -> str:
    spreads = " ".join(f"fragment f{link} on Query {{ ...f{link + 1} }}" for link in range(links))
    return f"{{ ...f0 }} {spreads} fragment f{links} on Query {{ __typename }}"


DEEP = "{ events { nodes { " + 'user { journey(map: "m") { ' * 8 + "id" + " } }" * 8 + " } } }"

HOSTILE = {
    "aliases": many(101, "journeyMaps { key }"),
    "tokens": "{ " + "__typename " * 2_100 + "}",
    "comments": "{ __typename " + "#\n" * 2_100 + "}",
    "same field": "{ journeyMaps { " + "key " * 1_500 + "} }",
    "overlapping": "{ " + " ".join("journeyMaps { key name }" for _ in range(390)) + " }",
    "fan-out": fan_out(40),
    "fragment chain": chain(200),
    "depth": DEEP,
    "lists in lists": """{ users(first: 100) { nodes { events(first: 100) { nodes { user {
        events(first: 100) { nodes { id } } } } } } } }""",
    "default sizes": """{ users { nodes { events { nodes { user { events { nodes { user {
        sessions { nodes { id } } } } } } } } } } }""",
    "directives": "{ __typename " + "@skip(if: false) " * 60 + "}",
    "directives on fields": many(60, "__typename @skip(if: false)"),
    "circular": "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
    "self": "{ ...a } fragment a on Query { journeyMaps { key } ...a }",
    "introspection": many(11, "__schema { types { name fields { name } } }"),
    "introspection cycle": "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
    "kpis": many(100, 'kpi(key: "csat") { result(range: {last: "8w"}) { n } }'),
    "series": many(3, 'kpis { result(range: {last: "8w"}) { series(points: 60) { n } } }'),
    "variables": "query(" + " ".join(f"$v{n}: Int" for n in range(600)) + ") { __typename }",
    "operations": " ".join(f"query q{n} {{ __typename }}" for n in range(600)),
    "deep list literal": "{ events(filter: {names: " + "[" * 300 + "]" * 300 + "}) { nodes { id } } }",
    "parser nesting": "{ a" * 600 + " }" * 600,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_query_is_refused_at_once(idle_gateway: Gateway, name: str) -> None:
    key = await idle_gateway.api_key()
    started = time.process_time()
    answer = await idle_gateway.answer(HOSTILE[name], key)
    took = time.process_time() - started
    assert answer.get("data") is None
    assert answer["errors"], name
    assert len(answer["errors"]) <= 101
    assert took < 1.0 or took < 1.0 * slowness(), f"{took:.3f} s"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("aliases", "more than 100 aliases"),
        ("fan-out", "more than 1,000 fields"),
        ("fragment chain", "nested deeper than 50"),
        ("depth", "more than 15 levels"),
        ("directives", "more than 50 directives"),
        ("lists in lists", "the limit is 20,000"),
        ("tokens", "more than 2000 tokens"),
    ],
)
async def test_the_refusal_says_which_limit(idle_gateway: Gateway, name: str, words: str) -> None:
    error = await idle_gateway.refusal(HOSTILE[name], await idle_gateway.api_key())
    assert words in error["message"]
    if name != "tokens":
        assert error["extensions"]["code"] == "QUERY_LIMIT"
        assert error["extensions"]["hint"]


async def test_sizes_in_variables_count(idle_gateway: Gateway) -> None:
    query = """query($n: Int, $m: Int = 100) { users(first: $n) { nodes { events(first: $m) { nodes { user {
        sessions(first: 10) { nodes { id } } } } } } } }"""
    key = await idle_gateway.api_key()
    await idle_gateway.ask(query, key, n=5, m=5)
    for given in ({"n": 100, "m": 100}, {"n": 100}, {}, {"n": None, "m": None}, {"n": -1, "m": 100}):
        error = await idle_gateway.refusal(query, key, **given)
        assert error["extensions"]["code"] == "QUERY_LIMIT", given


async def test_a_whole_page_of_a_tool_passes(idle_gateway: Gateway) -> None:
    await idle_gateway.ask(
        """query Tool { journeys(first: 50) { nodes { id status run
        user { id firstSeen traits identities { type value } } stage { key label }
        stageVisits { stage { key } enteredAt leftAt because { text events { id name at } } } } }
        kpis { key result(range: {last: "28d"}) { value low high n series { value } steps { label users } } }
        journeyMaps { key stages { key label users reached touchpoints { label } } } }""",
        await idle_gateway.api_key(),
    )


async def test_the_introspection_of_tools_passes(idle_gateway: Gateway) -> None:
    from graphql import get_introspection_query

    query = get_introspection_query(input_value_deprecation=True, specified_by_url=True)
    answer = await idle_gateway.ask(query, idle_gateway.token(userId="ann"))
    assert answer["__schema"]["queryType"]["name"] == "Query"


class Finds(CommandListener):
    """Counts reads."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: object) -> None:
        self.count += event.command_name in ("find", "aggregate")  # type: ignore[attr-defined]

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


async def test_many_objects_take_as_many_reads_as_few(mongo_uri: str, database: Database) -> None:
    finds = Finds()
    listening = connect(mongo_uri, database.name, listeners=[finds])
    gateway = Gateway(listening, load_shop())
    await gateway.prepare()
    query = """query($n: Int) { users(first: $n) { nodes { traits identities { value }
        journey(map: "purchase") { user { id }
            stageVisits { because { events { name user { id identities { value } } } } } } } }
        journeys(first: $n) { nodes { user { traits }
            because { events { user { journey(map: "purchase") { run } } } } } }
        events(first: $n) { nodes { user { eventCount } } }
        journeyMaps { stages { users reached } } }"""
    try:
        for number in range(20):
            user = f"u{number}"
            await gateway.send(track("Product Viewed", 9, userId=user), track("Product Added", 5, userId=user))
        key = await gateway.api_key()
        reads = []
        for n in (2, 20):
            await gateway.ask("{ __typename }", key)
            finds.count = 0
            answer = await gateway.ask(query, key, n=n)
            assert len(answer["users"]["nodes"]) == n
            reads.append(finds.count)
        # Some more or less: which loads fall into one query depends on which answer comes first.
        assert max(reads) <= 14
    finally:
        await listening.close()
