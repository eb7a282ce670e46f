"""Conditions mean to MongoDB what they mean to the contract: compared over made-up documents."""

from __future__ import annotations

import random
from typing import Any

from gateway.contract import Condition
from gateway.contract.rules import OPERATORS
from gateway.store.conditions import as_filter
from gateway.store.database import Database
from gateway.store.events import escaped

SEED = 20261121
SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    1.5,
    2**53,
    2**53 + 1,
    2**62,
    "",
    "1",
    "a",
    "b",
    "ä",
    "\U0001f600",
    "true",
]
KEYS = ["a", "b", "0", "$x"]


def made(chance: random.Random, depth: int = 0) -> Any:
    roll = chance.random()
    if depth < 3 and roll < 0.35:
        return {key: made(chance, depth + 1) for key in KEYS if chance.random() < 0.5}
    if depth < 3 and roll < 0.5:
        return [made(chance, depth + 1) for _ in range(chance.randrange(3))]
    return chance.choice(SCALARS)


def condition(chance: random.Random) -> Condition:
    path = ".".join(chance.choice(KEYS) for _ in range(chance.randint(1, 3)))
    op = chance.choice(OPERATORS)
    if op == "exists":
        return Condition(path, op, chance.random() < 0.5)
    if op == "in":
        return Condition(path, op, tuple(chance.choice(SCALARS) for _ in range(chance.randrange(4))))
    return Condition(path, op, chance.choice(SCALARS))


async def test_mongodb_finds_what_the_conditions_hold_for(database: Database) -> None:
    chance = random.Random(SEED)
    documents = {}
    for number in range(400):
        properties = {key: made(chance) for key in KEYS if chance.random() < 0.7}
        documents[number] = properties
    rows = [{"_id": key, "workspace": "main", "properties": escaped(one)} for key, one in documents.items()]
    await database.insert_unordered("events", rows)
    hits = 0
    for _ in range(250):
        conditions = [condition(chance) for _ in range(chance.randint(1, 2))]
        wanted = {"workspace": "main", **as_filter(conditions)}
        found = {row["_id"] for row in await database.find("events", wanted, projection={"_id": 1})}
        expected = {key for key, one in documents.items() if all(each.holds(one) for each in conditions)}
        assert found == expected, conditions
        hits += len(expected)
    assert hits > 1_000  # or it would compare nothing with nothing
