"""What destinations refuse: split, bisected, slowed down, broken, paused and checked, given up with a reason."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from gateway.clock import FrozenClock
from gateway.connectors.limits import Patience, TokenBucket
from gateway.plugin import (
    AuthFailed,
    Delivered,
    Health,
    HttpFailed,
    Item,
    ItemResult,
    Rejected,
    Retry,
    Throttled,
    TooLarge,
)
from gateway.store.database import Database
from tests.connectors.delivering import ENDLESS, QUICK, Recorder, Stage, capable, event, instance, until
from tests.connectors.test_delivery import empty, recorder

POISON = "ada 3"


def crowd(count: int) -> list[str]:
    return [f"user{at}" for at in range(count)]


async def test_one_poison_item_is_found_by_bisection(database: Database) -> None:
    async with Stage(database, instance(capable(partial=False))).running() as stage:

        async def all_or_nothing(items: Sequence[Item]) -> Sequence[ItemResult]:
            poisoned = any(one.payload["name"] == POISON for one in items)
            return [Rejected("bad", code="invalid") if poisoned else Delivered() for _ in items]

        recorder(stage).answer = all_or_nothing
        await stage.store(*(event(at) for at in range(8)))
        await until(lambda: len(recorder(stage).names) == 7)
        await until(lambda: letters(stage, 1))
        assert recorder(stage).names == [f"ada {at}" for at in range(8) if at != 3]
        assert [one["about"]["name"] for one in await stage.dead()] == [POISON]


async def test_a_batch_that_makes_the_connector_raise_is_bisected_too(database: Database) -> None:
    async with Stage(database, instance(capable(partial=False))).running() as stage:

        async def raises(items: Sequence[Item]) -> Sequence[ItemResult]:
            if any(one.payload["name"] == POISON for one in items):
                raise KeyError("ada@example.org")
            return [Delivered() for _ in items]

        recorder(stage).answer = raises
        await stage.store(*(event(at, f"user{at}") for at in range(10, 16)), event(3))
        await until(lambda: len(recorder(stage).names) == 6)
        await until(lambda: letters(stage, 1))
        (letter,) = await stage.dead()
    assert (letter["code"], letter["attempts"], letter["reason"]) == ("bug", 2, "send raised KeyError")


async def test_too_large_splits_and_alone_is_a_dead_letter(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:

        async def at_most_two(items: Sequence[Item]) -> Sequence[ItemResult]:
            if len(items) > 2 or any(one.payload["name"].startswith("big") for one in items):
                return [TooLarge("413") for _ in items]
            return [Delivered() for _ in items]

        recorder(stage).answer = at_most_two
        await stage.store(*(event(at, user) for at, user in enumerate([*crowd(7), "big"])))
        await until(lambda: len(recorder(stage).names) == 7)
        await until(lambda: letters(stage, 1))
        assert [one["code"] for one in await stage.dead()] == ["too_large"]


async def test_batches_keep_within_what_the_destination_takes(database: Database) -> None:
    made = capable(max_items=3, max_bytes=400, max_item_bytes=300, partial=False)
    async with Stage(database, instance(made)).running() as stage:
        texts = ["ü" * 10] * 9 + ["ü" * 200]
        await stage.store(*(event(at, f"u{at}", properties={"t": text}) for at, text in enumerate(texts)))
        await until(lambda: len(recorder(stage).names) == 9)
        assert [one["code"] for one in await stage.dead()] == ["too_large"]
    assert all(len(batch) <= 3 for batch in recorder(stage).sent)
    assert any(len(batch) > 1 for batch in recorder(stage).sent)


async def test_a_throttled_destination_is_left_alone_as_long_as_it_says(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:
        times: list[float] = []

        async def slow_down(items: Sequence[Item]) -> Sequence[ItemResult]:
            times.append(time.monotonic())
            return [Throttled("slowly", 1.0) if len(times) == 1 else Delivered() for _ in items]

        recorder(stage).answer = slow_down
        await stage.store(event(1))
        await until(lambda: times)
        await stage.store(event(2), event(3, "bob"))  # news does not shorten it
        await until(lambda: len(recorder(stage).names) == 3)
        assert await empty(stage), "nothing is held against it"
    assert times[1] - times[0] >= 0.95
    assert recorder(stage).got[0].attempt == 1


async def test_a_throttled_user_holds_up_only_itself_and_burns_nothing(database: Database) -> None:
    async with Stage(database, instance(), patience=replace(QUICK, attempts=1)).running() as stage:
        seen = 0

        async def not_ada(items: Sequence[Item]) -> Sequence[ItemResult]:
            nonlocal seen
            seen += sum("ada" in one.payload["name"] for one in items)
            slow = Throttled("one user", 0.05, "user")
            return [slow if "ada" in one.payload["name"] and seen < 4 else Delivered() for one in items]

        recorder(stage).answer = not_ada
        await stage.store(event(1), event(2, "bob"))
        await until(lambda: set(recorder(stage).names) == {"ada 1", "bob 2"})
        assert not await stage.dead()


async def test_a_destination_that_is_down_is_probed_by_one_item_and_nothing_is_burnt(database: Database) -> None:
    async with Stage(database, instance(), patience=replace(ENDLESS, probe_seconds=0.3)).running() as stage:
        down = True

        async def gone(items: Sequence[Item]) -> Sequence[ItemResult]:
            if down:
                raise HttpFailed("refused")
            return [Delivered() for _ in items]

        recorder(stage).answer = gone
        await stage.store(*(event(at, user) for at, user in enumerate(crowd(80))))
        await until(lambda: stated(stage, "broken"))
        sent = len(recorder(stage).sent)
        await until(lambda: len(recorder(stage).sent) >= sent + 2)
        assert {len(batch) for batch in recorder(stage).sent[sent:]} == {1}
        assert len(await stage.rows()) <= len(recorder(stage).sent), "only what was tried alone has a row"
        down = False
        await until(lambda: len(recorder(stage).names) == 80)
        await until(lambda: stated(stage, "delivering"))
        assert not await stage.dead()


async def test_an_address_that_must_not_be_asked_is_told_with_what_to_mend(database: Database) -> None:
    async with Stage(database, instance(), patience=ENDLESS).running() as stage:

        async def inwards(items: Sequence[Item]) -> Sequence[ItemResult]:
            await recorder(stage).context.http.request("POST", "http://169.254.169.254/latest/meta-data", json={})
            raise AssertionError

        recorder(stage).answer = inwards
        await stage.store(*(event(at, user) for at, user in enumerate(crowd(20))))
        await until(lambda: stated(stage, "broken"))
        state = await stage.state()
    assert state["code"] == "refused"
    assert "is not a public address" in state["reason"]
    assert "allow_hosts" in state["hint"]


async def test_one_item_that_is_always_answered_503_does_not_break_a_destination_for_good(database: Database) -> None:
    async with Stage(database, instance(capable(partial=False))).running() as stage:

        async def chokes(items: Sequence[Item]) -> Sequence[ItemResult]:
            poisoned = any(one.payload["name"] == POISON for one in items)
            return [Retry("HTTP 500") if poisoned else Delivered() for _ in items]

        recorder(stage).answer = chokes
        await stage.store(*(event(at, user) for at, user in enumerate(crowd(30), 10)), event(3))
        await until(lambda: len(recorder(stage).names) == 30)
        await until(lambda: letters(stage, 1))
        await until(lambda: stated(stage, "delivering"))


async def test_refused_credentials_pause_alert_and_burn_nothing(database: Database) -> None:
    patient = replace(QUICK, attempts=1)
    async with Stage(database, instance(), patience=patient).running() as stage:
        good = False

        async def unauthorized(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Delivered() if good else AuthFailed("HTTP 401") for _ in items]

        recorder(stage).answer, recorder(stage).health = unauthorized, Health(False, "the token has expired")
        await stage.store(event(1), event(2, "bob"))
        await until(lambda: stated(stage, "paused"))
        await until(lambda: database.find_one("alerts", {"open": True}))
        await until(lambda: recorder(stage).checks > 1)
        assert len(recorder(stage).sent) == 1, "a paused destination is asked only whether it is well"
        assert not await stage.rows()
        assert (await stage.state())["reason"] == "the token has expired"
        good, recorder(stage).health = True, Health(True)
        await until(lambda: len(recorder(stage).names) == 2)
        await until(lambda: database.find_one("alerts", {"open": False}))
    (alert,) = await database.find("alerts", {})
    assert (alert["key"], alert["severity"]) == ("connector/sink", "critical")
    assert [row["raised"] for row in await database.find("feed", {"kind": "alert"}, sort=[("_id", 1)])] == [True, False]


async def test_another_configuration_ends_a_pause(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:

        async def unauthorized(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [AuthFailed("HTTP 401") for _ in items]

        recorder(stage).answer, recorder(stage).health = unauthorized, Health(False)
        await stage.store(event(1))
        await until(lambda: stated(stage, "paused"))

    class Newer(Recorder):
        manifest = replace(Recorder.manifest, version="2")

        async def check(self) -> Health:
            raise AssertionError("nobody has to ask")

    async with Stage(database, instance(Newer)).running() as stage:
        await until(lambda: recorder(stage).names == ["ada 1"])


async def test_a_dead_letter_shows_neither_personal_data_nor_secrets(database: Database) -> None:
    async with Stage(database, instance()).running() as stage:

        async def tells(items: Sequence[Item]) -> Sequence[ItemResult]:
            said = "no: ada@example.org / Ada Lovelace / 4111 1111 1111 1111 / Bearer sesame / 0123456789abcdef0123"
            return [Rejected(said, code="invalid") for _ in items]

        recorder(stage).answer = tells
        person = {"email": "ada@example.org", "name": "Ada Lovelace", "age": 36, "tags": ["vip"], "x": {"y": True}}
        await stage.store(event(1, properties=person))
        await until(lambda: letters(stage, 1))
        (letter,) = await stage.dead()
    told = f"{letter['reason']} {letter['excerpt']}"
    for hidden in ("ada@", "Lovelace", "4111", "sesame", "0123456789", "vip", "36"):
        assert hidden not in told, told
    assert '"properties": {"age": "number", "email": "text of 15"' in letter["excerpt"]


def test_backoff_is_full_jitter_within_bounds_and_never_less_than_asked_for() -> None:
    patience = Patience(first=1, longest=60)
    least, most = (lambda low, high: low), (lambda low, high: high)
    assert [patience.pause_ms(attempt, None, most) for attempt in (1, 2, 3, 7, 50)] == [1000, 2000, 4000, 60000, 60000]
    assert {patience.pause_ms(attempt, None, least) for attempt in (1, 9)} == {0}
    assert patience.pause_ms(1, 30.0, least) == 30_000
    assert patience.pause_ms(1, 1e9, least) == 3_600_000, "a wish of years is not followed"
    assert len({patience.pause_ms(5, None) for _ in range(20)}) > 5


def test_the_token_bucket_lets_through_its_rate_and_this_process_s_share_of_it() -> None:
    clock = FrozenClock(0)
    bucket = TokenBucket(10, clock)
    assert bucket.wait_for(10) == 0
    assert bucket.wait_for(5) == 0.5
    clock.advance(1500)
    assert bucket.wait_for(10) == 0
    bucket.share(0.5)
    assert bucket.wait_for(5) == 1.0
    assert TokenBucket(None, clock).wait_for(1_000_000) == 0


async def test_a_rate_is_kept(database: Database) -> None:
    async with Stage(database, instance(capable(per_second=20))).running() as stage:
        began = time.monotonic()
        await stage.store(*(event(at, user) for at, user in enumerate(crowd(40))))
        await until(lambda: len(recorder(stage).names) == 40)
    assert time.monotonic() - began >= 0.9


async def letters(stage: Stage, count: int) -> bool:
    return len(await stage.dead()) == count


async def stated(stage: Stage, state: str) -> bool:
    return bool((await stage.state())["state"] == state)
