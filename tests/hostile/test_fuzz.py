"""Requests that schemathesis makes up, to every door: no 5xx, little CPU, and nothing that only we should know.

The same ones in each run; GATEWAY_TEST_FUZZ says how many for each description (10 unless told).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from typing import Any

import httpx2
import pytest

from tests.hostile.conftest import SECRET_TRAIT, Whole
from tests.hostile.made_up import Doors, drawn, every_door, every_field, operation
from tests.hostile.verdicts import check_cpu, check_leaks, least_cpu

DOORS = every_door()
FIELDS = every_field()
#: Names of files, tickets of streams and keys of flags are not guessed.
_NOTHING_FOUND = {"GET /assets/{path}", "GET /graphiql/npm/{path}", "DELETE /graphql"}
_NOTHING_FOUND |= {f"{method} /v1/hooks/{{connector}}" for method in ("GET", "POST", "PUT")}
_NOTHING_FOUND |= {"GET /ofrep/v1/events", "POST /ofrep/v1/evaluate/flags/{key}"}


def test_every_door_is_there() -> None:
    assert sum(len(doors.paths) for doors in DOORS) >= 57


@pytest.mark.parametrize("doors", DOORS, ids=str)
async def test_a_made_up_request_is_answered(whole: Whole, doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    answered: Counter[str] = Counter()
    for case, paths in zip(doors.cases(), doors.turns(), strict=False):
        # A stranger comes no further than the key, and that is the same at all of these doors.
        await _checked(whole, doors.statuses, doors.as_stranger(case, paths[0]), caplog)
        for path in paths:
            answer = await _checked(whole, doors.statuses, doors.with_key(case, path, whole.credentials), caplog)
            answered[path] += answer.is_success
    # Else nothing behind the door was reached.
    assert str(doors) in _NOTHING_FOUND or all(answered[path] for path in doors.paths), answered


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.label)
async def test_a_made_up_operation_is_answered(whole: Whole, field: Any, caplog: pytest.LogCaptureFixture) -> None:
    executed = 0
    for case in drawn(field.as_strategy()):
        for caller in ("api", "visitor"):
            # The API key may read everything, what the visitor must not know included.
            known = SECRET_TRAIT if caller == "api" else ""
            answer = await _checked(whole, {200}, operation(case, whole.credentials[caller]), caplog, known)
            content = answer.json()
            assert "INTERNAL" not in [error["extensions"]["code"] for error in content.get("errors", ())], answer.text
            executed += "data" in content
    assert executed, "nothing was more than refused"


async def _checked(
    whole: Whole, statuses: Collection[int], request: httpx2.Request, caplog: pytest.LogCaptureFixture, known: str = ""
) -> httpx2.Response:
    caplog.clear()
    spent, answer = await least_cpu(whole, request)
    shown = f"{request.method} {request.url} {dict(request.headers)} {request.content[:500]!r}: {answer.text[:500]}"
    # Of the causes of 503 that are documented one may be the case here: a slow machine that is not ready yet.
    not_ready = request.url.path == "/readyz" and answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert answer.status_code < 500 or not_ready, shown
    assert answer.status_code in statuses, shown
    check_cpu(spent)
    check_leaks(answer.text.replace(known, "") if known else answer.text)
    told = [one for one in caplog.records if one.name.startswith("gateway") and one.levelno >= logging.ERROR]
    assert not told, f"{shown}\n{caplog.text[:500]}"
    return answer
