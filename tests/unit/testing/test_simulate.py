"""The made-up shop: the same for the same seed, worded like an SDK, shaped like a shop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from gateway.errors import InvalidInput
from gateway.testing.simulate import Emission, Population, ndjson

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
STAGES = ("Product List Viewed", "Product Added", "Checkout Started", "Order Completed")


@pytest.fixture(scope="module")
def history() -> list[Emission]:
    return list(Population(seed=1, now=NOW).backfill())


def small(**options: float) -> list[Emission]:
    return list(Population(seed=3, now=NOW, weeks=2, **options).backfill())  # type: ignore[arg-type]


def ids(emissions: Iterable[Emission]) -> list[str]:
    return [emission.message["messageId"] for emission in emissions]


def shown(message: dict[str, Any]) -> datetime:
    assert message["originalTimestamp"] == message["timestamp"]
    return datetime.fromisoformat(message["originalTimestamp"])


def people(emissions: Iterable[Emission]) -> dict[str, str]:
    """anonymousId to userId, as identify calls link them."""
    return {
        emission.message["anonymousId"]: emission.message["userId"]
        for emission in emissions
        if emission.message["type"] == "identify"
    }


# ---- the same for the same seed


def test_the_same_seed_and_now_give_the_same_bytes() -> None:
    options = {"late": 0.1, "duplicates": 0.1, "skew": 0.1, "disorder": 0.1}
    assert list(ndjson(small(**options))) == list(ndjson(small(**options)))


def test_the_bytes_do_not_depend_on_the_process() -> None:
    program = (
        "import hashlib, itertools as i, datetime as d\n"
        "from gateway.testing.simulate import Population, ndjson\n"
        "p = Population(7, d.datetime(2026, 3, 2, tzinfo=d.UTC), weeks=1, late=.1, skew=.1, disorder=.1)\n"
        "lines = [*ndjson(p.backfill()), *ndjson(e for _, e in i.islice(p.live(), 500))]\n"
        "print(len(lines), hashlib.sha256(b''.join(lines)).hexdigest())\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone},
            cwd=Path(__file__).parents[3],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed, zone in (("0", "UTC"), ("1", "Asia/Tokyo"))
    }
    assert len(printed) == 1
    assert int(printed.pop().split()[0]) > 1000


def test_another_seed_gives_other_people_and_other_messages() -> None:
    one, two = (list(Population(seed=seed, now=NOW, weeks=1).backfill()) for seed in (1, 2))
    assert not set(ids(one)) & set(ids(two))
    assert not {e.message["anonymousId"] for e in one} & {e.message["anonymousId"] for e in two}


def test_another_now_gives_the_same_people_and_other_messages() -> None:
    one, two = (
        list(Population(seed=1, now=now, weeks=1, visitors_per_week=30).backfill())
        for now in (NOW, NOW + timedelta(days=1))
    )
    assert not set(ids(one)) & set(ids(two))
    assert {people(one)[a] for a in people(one).keys() & people(two).keys()} <= set(people(two).values())
    firsts = [{e.message["anonymousId"] for e in emissions} for emissions in (one, two)]
    assert len(firsts[0] & firsts[1]) >= 25


# ---- worded like an SDK


def test_every_message_is_what_an_sdk_would_send(history: list[Emission]) -> None:
    for emission in history:
        message = emission.message
        assert str(UUID(message["messageId"])) == message["messageId"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["timestamp"])
        assert shown(message) == emission.at.replace(microsecond=emission.at.microsecond // 1000 * 1000)
        assert message["anonymousId"]
        context = message["context"]
        assert context["library"]["name"] == "journey-gateway-simulate"
        assert {"path", "url", "title", "referrer"} == context["page"].keys()
        assert context["userAgent"].startswith("Mozilla/")
        assert context["locale"]
        assert context["device"]["type"] in ("mobile", "tablet", "desktop")
        body = {"track": ("event", "properties"), "page": ("name", "properties"), "identify": ("userId", "traits")}
        assert all(message[key] for key in body[message["type"]])
        assert len(orjson.dumps(message)) < 32 * 1024


def test_message_ids_are_unique(history: list[Emission]) -> None:
    assert len(set(ids(history))) == len(history)


def test_ndjson_is_one_message_per_line() -> None:
    emissions = small()[:20]
    lines = list(ndjson(emissions))
    assert [orjson.loads(line) for line in lines] == [emission.message for emission in emissions]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)


def test_a_page_refers_to_the_page_before(history: list[Emission]) -> None:
    one_browser = history[0].message["anonymousId"]
    pages = [e.message["context"]["page"] for e in history if e.message["anonymousId"] == one_browser]
    moves = [(before, after) for before, after in pairwise(pages) if before["url"] != after["url"]]
    assert moves
    assert any(after["referrer"] == before["url"] for before, after in moves)


def test_campaigns_devices_and_referrers_differ(history: list[Emission]) -> None:
    contexts = [emission.message["context"] for emission in history]
    assert {context["campaign"]["source"] for context in contexts if "campaign" in context} >= {"google", "instagram"}
    assert 0.05 < sum("campaign" in context for context in contexts) / len(contexts) < 0.6
    assert {context["device"]["type"] for context in contexts} == {"mobile", "tablet", "desktop"}


# ---- shaped like a shop


def test_eight_weeks_are_about_thirty_thousand_messages(history: list[Emission]) -> None:
    assert 25_000 <= len(history) <= 35_000


def test_the_history_is_in_order_of_time_and_ends_before_now(history: list[Emission]) -> None:
    assert all(before.at <= after.at for before, after in pairwise(history))
    assert all(emission.due == emission.at for emission in history)
    assert NOW - timedelta(weeks=8) <= history[0].at < NOW - timedelta(weeks=7, days=6)
    assert NOW - timedelta(hours=12) < history[-1].at < NOW


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fewer_people_reach_each_later_stage(seed: int) -> None:
    emissions = list(Population(seed=seed, now=NOW).backfill())
    owner = people(emissions)
    reached: dict[str, set[str]] = {stage: set() for stage in STAGES}
    for emission in emissions:
        event = emission.message.get("event")
        browser: str = emission.message["anonymousId"]
        if event in reached:
            reached[event].add(owner.get(browser, browser))
    lists, added, started, ordered = (reached[stage] for stage in STAGES)
    assert ordered <= started <= added
    assert 0.15 < len(added & lists) / len(lists) < 0.27
    assert 0.08 < len(started & lists) / len(lists) < 0.17
    assert 0.05 < len(ordered & lists) / len(lists) < 0.11


def test_orders_carry_what_was_bought(history: list[Emission]) -> None:
    orders = [e.message["properties"] for e in history if e.message.get("event") == "Order Completed"]
    assert len({order["order_id"] for order in orders}) == len(orders) > 50
    for order in orders:
        lines = [product["price"] * product["quantity"] for product in order["products"]]
        assert order["total"] == round(sum(lines), 2) > 0
        assert order["currency"] == "EUR"


def test_payments_fail_are_retried_and_given_up(history: list[Emission]) -> None:
    failed, ordered = (
        {e.message["properties"]["order_id"] for e in history if e.message.get("event") == event}
        for event in ("Payment Failed", "Order Completed")
    )
    assert failed & ordered
    assert failed - ordered


def test_answers_depend_on_what_happened(history: list[Emission]) -> None:
    last: dict[str, str] = {}
    scores: dict[str, list[int]] = defaultdict(list)
    comments = 0
    for emission in history:
        message = emission.message
        if message.get("event") == "Survey Response Submitted":
            assert message["properties"]["survey"] == "csat"
            assert message["properties"]["score"] in range(1, 6)
            comments += "comment" in message["properties"]
            scores[last[message["anonymousId"]]].append(message["properties"]["score"])
        last[message["anonymousId"]] = message.get("event") or message["type"]
    answers = sum(map(len, scores.values()))
    assert answers > 150
    assert 0 < comments < answers
    happy, unhappy = scores["Order Completed"], scores["Payment Failed"]
    assert sum(happy) / len(happy) > sum(unhappy) / len(unhappy) + 1


def test_people_come_back_and_evenings_are_busier_than_nights(history: list[Emission]) -> None:
    days: dict[str, set[object]] = defaultdict(set)
    for emission in history:
        days[emission.message["anonymousId"]].add(emission.at.date())
    returning = sum(len(seen) > 1 for seen in days.values()) / len(days)
    assert 0.4 < returning < 0.9
    hours = Counter(emission.at.hour for emission in history)
    assert hours[19] > 4 * hours[3] > 0


def test_identify_links_a_browser_to_one_user_and_some_users_to_two_browsers(history: list[Emission]) -> None:
    linked: dict[str, str] = {}
    signed_up: set[str] = set()
    for emission in history:
        message = emission.message
        browser = message["anonymousId"]
        if message["type"] == "identify":
            assert linked.setdefault(browser, message["userId"]) == message["userId"]
            assert message["traits"]["email"].endswith("@example.com")
            assert message["traits"].keys() == {"name", "email", "plan"}
        assert message.get("userId") == linked.get(browser)
        if message.get("event") == "Signed Up":
            assert message["userId"] not in signed_up
            signed_up.add(message["userId"])
    browsers = Counter(linked.values())
    assert set(browsers) == signed_up
    assert set(browsers.values()) == {1, 2}
    assert len({e.message["traits"]["email"] for e in history if e.message["type"] == "identify"}) == len(browsers)


def test_what_is_not_asked_for_is_not_computed() -> None:
    tracemalloc.start()
    try:
        first = list(islice(Population(seed=1, now=NOW, weeks=100).backfill(), 100))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(first) == 100
    assert peak < 5_000_000


# ---- delivery


def test_delivery_options_leave_the_messages_as_they_are() -> None:
    plain = {e.message["messageId"]: e.message for e in small()}
    worse = {e.message["messageId"]: e.message for e in small(late=0.3, duplicates=0.3, disorder=0.3)}
    assert worse == plain


@pytest.mark.parametrize("options", [{"late": 0.3}, {"disorder": 0.3}, {"duplicates": 0.3}])
def test_deliveries_are_in_the_order_in_which_they_are_due(options: dict[str, float]) -> None:
    emissions = small(**options)
    assert all(before.due <= after.due for before, after in pairwise(emissions))
    assert all(emission.at <= emission.due <= NOW for emission in emissions)


def test_late_is_a_share_of_messages_that_come_long_after_they_happened() -> None:
    emissions = small(late=0.2)
    late = [e for e in emissions if e.due - e.at >= timedelta(minutes=10)]
    assert 0.15 < len(late) / len(emissions) < 0.25
    assert max(e.due - e.at for e in late) > timedelta(days=1)
    assert sum(after.at < before.at for before, after in pairwise(emissions)) > 0.1 * len(emissions)


def test_disorder_is_a_share_of_messages_that_fall_behind_others_of_their_session() -> None:
    def overtaken(emissions: list[Emission]) -> int:
        newest: dict[str, datetime] = {}
        count = 0
        for emission in emissions:
            browser = emission.message["anonymousId"]
            count += emission.at < newest.get(browser, emission.at)
            newest[browser] = max(emission.at, newest.get(browser, emission.at))
        return count

    assert overtaken(small()) == 0
    emissions = small(disorder=0.2)
    assert 0.08 < overtaken(emissions) / len(emissions) < 0.25
    assert max(e.due - e.at for e in emissions) <= timedelta(minutes=3)


def test_duplicates_is_a_share_of_messages_that_come_twice_byte_for_byte() -> None:
    plain, emissions = small(), small(duplicates=0.25)
    extra = len(emissions) - len(plain)
    assert 0.2 < extra / len(plain) < 0.3
    assert len(set(ids(emissions))) == len(plain)
    assert len(set(ndjson(emissions))) == len(plain)
    arrivals: dict[str, list[datetime]] = defaultdict(list)
    for emission in emissions:
        arrivals[emission.message["messageId"]].append(emission.due)
    twice = [times for times in arrivals.values() if len(times) == 2]
    assert len(twice) == extra
    assert sum(timedelta(0) < second - first <= timedelta(hours=1) for first, second in twice) > 0.99 * extra


def test_skew_is_a_share_of_devices_whose_clock_is_wrong_all_the_time() -> None:
    emissions = small(skew=0.3)
    assert ids(emissions) == ids(small())
    offsets: dict[str, set[timedelta]] = defaultdict(set)
    for emission in emissions:
        offsets[emission.message["anonymousId"]].add(emission.device_offset)
        difference = shown(emission.message) - emission.at - emission.device_offset
        assert -timedelta(milliseconds=1) < difference <= timedelta(0)
    assert all(len(seen) == 1 for seen in offsets.values())
    wrong = [seen for seen in offsets.values() if seen != {timedelta(0)}]
    assert 0.2 < len(wrong) / len(offsets) < 0.4
    assert len(set().union(*wrong)) > 3


@pytest.mark.parametrize(
    "mistake",
    [{"late": 1.5}, {"skew": -0.1}, {"now": datetime(2026, 3, 2)}],
)
def test_a_population_that_makes_no_sense_is_refused(mistake: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Population(**{"seed": 1, "now": NOW, **mistake})
