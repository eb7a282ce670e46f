"""Flags by the first provider that knows them, whatever the others do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from gateway.flags import Flags, Subject
from gateway.flags.providers import MOST_GIVEN_UP, REST_SECONDS, STRIKES, Provider
from gateway.plugin import FlagContext, FlagReason, FlagResult
from tests.pace import PATIENCE
from tests.unit.flags.fakes import Made, always, instance_of, made_flags

ANN = Subject(FlagContext("ann", {"plan": "pro"}))


async def values(flags: Flags, *keys: str, workspace: str = "main") -> dict[str, Any]:
    return {one.key: one.value for one in await flags.evaluate(workspace, keys or None, ANN)}


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not found():  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.01)


async def test_without_providers_no_flag_is_known() -> None:
    flags = Flags()
    assert await flags.evaluate("main", None, ANN) == []
    (found,) = await flags.evaluate("main", ["a"], ANN)
    assert (found.value, found.reason, found.error) == (None, FlagReason.ERROR, "FLAG_NOT_FOUND")
    assert found.because == "No flag provider is configured."


async def test_each_key_is_decided_by_the_first_that_knows_it() -> None:
    first, second = Made("first", a=always(1), b=always(2)), Made("second", b=always(20), c=always(30))
    flags = made_flags(first, second, Made("elsewhere", "other", d=always(4)))
    assert await values(flags) == {"a": 1, "b": 2, "c": 30}
    assert await values(flags, "c", "b", "d", "b") == {"c": 30, "b": 2, "d": None}
    assert second.asked[-1][0] == ("c", "d")
    assert await values(flags, "a") == {"a": 1}
    assert len(second.asked) == 2  # whoever is not needed is not asked
    (found,) = await flags.evaluate("main", ["b"], ANN)
    assert (found.provider, found.variant) == ("first", "v")
    assert found.because == "A rule is meant for this user. Says first."
    assert await values(flags, "d", workspace="other") == {"d": 4}


async def raises() -> None:
    raise ValueError("the canary of an attribute")


async def cancels() -> None:
    raise asyncio.CancelledError


async def hangs() -> None:
    await asyncio.sleep(PATIENCE * 10)


async def swallows() -> None:
    while True:
        try:
            await asyncio.sleep(PATIENCE * 10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            raise


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (raises, "failed (ValueError)"),
        (cancels, "failed (CancelledError)"),
        (hangs, "did not answer"),
        (swallows, "did not answer"),
    ],
)
async def test_a_provider_that_fails_becomes_an_error_of_its_flags_alone(
    before: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Made("bad", a=always(1)), Made("good", a=always(10), b=always(20))
    flags = made_flags(bad, good, deadline_seconds=0.05)
    async with flags.following():
        assert await values(flags, "a", "b") == {"a": 1, "b": 20}
        bad.before = before
        a, b = await flags.evaluate("main", ["a", "b"], ANN)
        # It is the first that knows `a`: nobody else decides it.
        assert (a.value, a.error, a.provider) == (None, "GENERAL", "bad")
        assert said in a.because
        assert (b.value, b.error) == (20, None)
        assert await values(flags) == {"a": None, "b": 20}
        (neither,) = await flags.evaluate("main", ["c"], ANN)
        assert (neither.error, said in neither.because) == ("GENERAL", True)
    assert "canary" not in caplog.text + a.because


async def test_a_provider_that_is_late_again_and_again_rests_and_is_tried_anew() -> None:
    now = [0.0]
    made = Made(a=always(1))
    provider = Provider(instance_of(made), lambda: now[0])
    assert (await provider.ask(["a"], ANN.context, PATIENCE)).results
    made.before = hangs
    for _ in range(STRIKES):
        assert provider.trouble is None
        assert "did not answer" in str((await provider.ask(["a"], ANN.context, 0.05)).failure)
    asked = len(made.asked)
    assert "rests" in str((await provider.ask(["a"], ANN.context, 0.05)).failure)
    assert len(made.asked) == asked
    record = provider.trouble
    assert record is not None
    assert (record.plugin, record.operation, record.retryable) == ("made", "evaluate made", True)
    assert provider.trouble is record  # by one trace id as long as it lasts
    now[0] += REST_SECONDS
    assert (await provider.ask(["a"], ANN.context, 0.05)).failure  # one more try, and it rests again
    assert (await provider.ask(["a"], ANN.context, 0.05)).failure
    assert len(made.asked) == asked + 1
    now[0] += REST_SECONDS
    made.before = None
    assert (await provider.ask(["a"], ANN.context, PATIENCE)).results
    await provider.close()


async def test_what_one_users_attributes_break_stays_with_that_user() -> None:
    made = Made(a=lambda context: 1 if context.targeting_key == "ann" else 1 / 0)
    flags = made_flags(made)
    for _ in range(STRIKES * 3):
        (found,) = await flags.evaluate("main", ["a"], Subject(FlagContext("eve")))
        assert found.error == "GENERAL"
    assert await values(flags, "a") == {"a": 1}


async def test_a_provider_that_blocks_holds_its_thread_alone_and_is_asked_again_once_it_lets_go() -> None:
    freed, now = threading.Event(), [0.0]
    made = Made(a=always(1))
    provider = Provider(instance_of(made), lambda: now[0])
    assert (await provider.ask(["a"], ANN.context, PATIENCE)).results

    async def blocks() -> None:
        freed.wait(20)

    made.before = blocks
    # Three at once: only the first begins, and is late; whoever waits behind it is told as soon.
    found = await asyncio.gather(*(provider.ask(["a"], ANN.context, 0.1) for _ in range(3)))
    assert ["did not answer" in str(one.failure) for one in found] == [True, False, False]
    await until(lambda: provider.thread.blocked)
    assert "blocks its thread" in str((await provider.ask(["a"], ANN.context, 0.1)).failure)
    record = provider.trouble
    assert record is not None
    assert record.message == "made blocks its thread"
    assert len(made.asked) == 2
    freed.set()
    await until(lambda: not provider.thread.blocked)
    assert (await provider.ask(["a"], ANN.context, PATIENCE)).results
    assert len(made.asked) == 3  # what nobody waited for any more was not begun
    assert provider.trouble is None
    await provider.close()


async def test_who_waits_in_line_behind_others_is_answered_as_long_as_it_goes_on() -> None:
    made = Made(a=always(1))

    async def takes() -> None:
        time.sleep(0.02)  # noqa: ASYNC251 - it works, and is in nobody's way but its own

    made.before = takes
    flags = made_flags(made, deadline_seconds=0.25)
    found = await asyncio.gather(*(values(flags, "a") for _ in range(20)))  # 0.4 seconds of work
    assert found == [{"a": 1}] * 20
    found = await asyncio.gather(*(values(flags, "a") for _ in range(100)))  # 2 seconds: more than anybody waits
    assert {"a": None} in found
    assert found[:10] == [{"a": 1}] * 10
    (last,) = await flags.evaluate("main", ["a"], ANN)
    assert last.value == 1  # nothing to rest for


async def test_what_never_ends_is_not_begun_over_and_over() -> None:
    now, release = [0.0], threading.Event()
    made = Made(a=always(1))
    provider = Provider(instance_of(made), lambda: now[0])

    async def never() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    made.before = never
    for _ in range(MOST_GIVEN_UP + 5):
        assert (await provider.ask(["a"], ANN.context, 0.1)).failure
        now[0] += 1_000
    assert len(made.asked) == MOST_GIVEN_UP
    release.set()
    await until(lambda: provider.trouble is None)
    await provider.close()


@pytest.mark.parametrize("wrong", ["short", "order", "kind"])
async def test_answers_that_are_none_count_as_failures(wrong: str) -> None:
    made = Made(a=always(1), b=always(2))
    answers: dict[str, list[Any]] = {
        "short": [FlagResult("a")],
        "order": [FlagResult("b"), FlagResult("a")],
        "kind": ["a", "b"],
    }

    async def evaluate(keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        return answers[wrong]

    made.evaluate = evaluate  # type: ignore[method-assign]
    found = await made_flags(made).evaluate("main", ["a", "b"], ANN)
    assert {one.error for one in found} == {"GENERAL"}


async def test_a_provider_that_is_not_even_asynchronous_fails_alone() -> None:
    bad, good = Made("bad"), Made("good", a=always(1))
    bad.evaluate = lambda keys, context: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    assert await values(made_flags(bad, good), "a") == {"a": 1}


async def test_a_value_that_json_does_not_know_is_an_error_of_its_flag() -> None:
    made = Made(a=always(object()), b=always({"deep": [1, 2.5, None]}), c=always({1, 2}))
    found = {one.key: one for one in await made_flags(made).evaluate("main", None, ANN)}
    assert {key: one.error for key, one in found.items()} == {"a": "TYPE_MISMATCH", "b": None, "c": "TYPE_MISMATCH"}
    assert found["b"].value == {"deep": [1, 2.5, None]}


async def test_whoever_denied_personalization_is_told_so() -> None:
    flags = made_flags(Made(a=always(1)))
    (found,) = await flags.evaluate("main", ["a"], Subject(FlagContext("ann"), withheld=True))
    assert found.because.endswith("They denied personalization, so that neither traits nor journey count.")
