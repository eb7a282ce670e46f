"""Answers to anonymous surveys, and who has answered, kept so that nothing says which belongs to whom.

Both collections are clustered by their random keys, so that not even the order in which rows lie tells when they came.
An answer has no time until so many wait that it does not single anybody out; then they all get the same hour.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.model.event import JsonObject
from gateway.store.database import Database, Document, Session

ANSWERS, MARKS, SECRETS = "anonymous_answers", "anonymous_marks", "anonymous_secrets"


@dataclass(frozen=True, slots=True)
class AnonymousAnswer:
    """One answer: `at` is the hour (ms) in which it and others became known."""

    survey: str
    score: float | None
    answers: tuple[tuple[str, Any], ...]
    at: int


class AnonymousAnswers:
    """Rows of answers: `_id` (random), `workspace`, `survey`, `score`, `answers`, `at` (None: it waits for others). Of
    marks: `_id` (who, under the survey's secret), `workspace`, `survey`, `done`. Of secrets: `_id`, `workspace`,
    `survey`, `secret`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def secret(self, workspace: str, survey: str, made: str) -> str:
        """The survey's secret; `made` becomes it where there is none."""
        key = {"_id": f"{workspace}\0{survey}", "workspace": workspace}
        row = await self._database.find_one_and_update(
            SECRETS, key, {"$setOnInsert": {"survey": survey, "secret": made}}, upsert=True
        )
        assert row is not None
        return str(row["secret"])

    async def begin(self, workspace: str, survey: str, mark: bytes) -> bool:
        """Note that somebody answers; False when they have answered before. Who began and did not come to the end,
        because nothing was acknowledged, may begin again."""
        key = {"_id": mark, "workspace": workspace}
        row = await self._database.find_one_and_update(
            MARKS, key, {"$setOnInsert": {"survey": survey, "done": False}}, upsert=True
        )
        return row is not None and not row["done"]

    async def end(self, workspace: str, mark: bytes) -> None:
        """Note that the answer is kept."""
        await self._database.update_one(MARKS, {"_id": mark, "workspace": workspace}, {"$set": {"done": True}})

    async def keep(
        self, workspace: str, survey: str, key: bytes, score: float | None, answers: list[JsonObject]
    ) -> None:
        """Keep an answer under its random key; it waits."""
        row: Document = {"_id": key, "workspace": workspace, "survey": survey, "score": score, "answers": answers}
        await self._database.insert_many(ANSWERS, [row | {"at": None}])

    async def release(self, workspace: str, survey: str, hour: int, *, at_least: int) -> int:
        """Give all that wait the same hour (ms) once they are so many; how many got it."""
        waiting: Document = {"workspace": workspace, "survey": survey, "at": None}

        async def give(session: Session) -> int:
            # Within one transaction: of two processes that release at once, one begins again and finds fewer.
            rows = await self._database.find(ANSWERS, waiting, projection={"_id": 1}, session=session)
            if len(rows) < at_least:
                return 0
            wanted = {"_id": {"$in": [row["_id"] for row in rows]}, "workspace": workspace}
            await self._database.update_many(ANSWERS, wanted, {"$set": {"at": hour}}, session=session)
            return len(rows)

        return await self._database.with_transaction(give)

    async def known(self, workspace: str, surveys: Collection[str], between: tuple[int, int]) -> list[AnonymousAnswer]:
        """Answers to these surveys whose hour lies in [start, end) ms, in the order of their random keys."""
        wanted: Document = {"workspace": workspace, "survey": {"$in": list(surveys)}}
        wanted["at"] = {"$gte": between[0], "$lt": between[1]}
        rows = await self._database.find(ANSWERS, wanted, sort=[("_id", 1)], max_time_ms=10_000)
        return [_answer(row) for row in rows]

    async def count(self, workspace: str, survey: str, *, at_most: int) -> int:
        """How many answers there are, those that wait among them; counted up to `at_most`."""
        return await self._database.count(ANSWERS, {"workspace": workspace, "survey": survey}, limit=at_most)

    async def open_surveys(self, workspace: str) -> list[str]:
        """The surveys that still have a secret."""
        rows = await self._database.find(SECRETS, {"workspace": workspace}, projection={"survey": 1})
        return [row["survey"] for row in rows]

    async def close(self, workspace: str, survey: str) -> None:
        """Destroy the secret and the marks: from then on nobody can find out who answered."""
        await self._database.delete_many(SECRETS, {"_id": f"{workspace}\0{survey}", "workspace": workspace})
        await self._database.delete_many(MARKS, {"workspace": workspace, "survey": survey})


def _answer(row: Document) -> AnonymousAnswer:
    given: Sequence[Document] = row["answers"]
    return AnonymousAnswer(
        row["survey"], row["score"], tuple((one["question"], one["value"]) for one in given), row["at"]
    )
