"""Journeys as they are stored: all of it comes back, and rows of before maps had a word for leaving are read."""

from __future__ import annotations

from dataclasses import replace

from gateway.model.journey import Journey, JourneyStatus, StageVisit
from gateway.model.scope import Scope
from gateway.store.database import Database
from gateway.store.users import JOURNEYS, Journeys

VISIT = StageVisit("cart", 1, 2, "m.cart.enter[0]", b"a" * 16, b"b" * 16, 3, "m.cart.leave[0]", b"c" * 16)
RUN = Journey("u.m.1", "u", "m", 1, 1, JourneyStatus.ABANDONED, (VISIT,), 1, 2, 9, None, "m.restart[0]", b"d" * 16)


async def write(database: Database, run: Journey) -> None:
    async with database.transaction() as session:
        await Journeys(database).write("w", [run], (), session)


async def test_a_run_comes_back_as_it_was(database: Database) -> None:
    await write(database, RUN)
    assert await Journeys(database).get(Scope.system("w"), [RUN.id]) == {RUN.id: RUN}
    assert await Journeys(database).stage_counts(Scope.system("w"), "m") == [(None, "abandoned", 1)]
    assert await Journeys(database).stage_reach(Scope.system("w"), "m") == {"cart": 1}


async def test_a_row_without_the_words_of_later_is_read(database: Database) -> None:
    await write(database, RUN)
    gone = {"endedRule": "", "endedEvent": "", "visits.0.left_rule": "", "visits.0.left_event": ""}
    await database.update_one(JOURNEYS, {"_id": RUN.id, "workspace": "w"}, {"$unset": gone})
    plain = replace(RUN, visits=(replace(VISIT, left_rule=None, left_event=None),), ended_rule=None, ended_event=None)
    assert await Journeys(database).get(Scope.system("w"), [RUN.id]) == {RUN.id: plain}
