"""The suites pass sound connectors, and each broken one fails for its own reason and no other."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict

from gateway.plugin import (
    Alert,
    Answer,
    Config,
    Delivered,
    FlagContext,
    FlagResult,
    Found,
    Health,
    HttpFailed,
    Item,
    ItemResult,
    JsonObject,
    Message,
    Page,
    RawRequest,
    Rejected,
    Retry,
    Skip,
    Throttled,
    Verified,
    result_of,
)
from gateway.testing.suites.base import ConnectorContract
from tests.connectors import sound
from tests.connectors.sound import Crm, Feed, Flags, Hook, Pager, Settings, Sink


@dataclass(frozen=True)
class Broken:
    """A suite with a connector that has one mistake: the test that has to fail, words of what it says, and those that
    fail along with it because of the same mistake."""

    suite: type[ConnectorContract]
    connector: type[Any]
    test: str
    says: str
    also: frozenset[str] = frozenset()
    settings: Mapping[str, Any] | None = None


def failures(
    suite: type[ConnectorContract],
    connector: type[Any],
    settings: Mapping[str, Any] | None,
    left_out: Collection[str] = (),
) -> dict[str, str]:
    """What each failing test of the suite says, by name."""
    given = suite.settings if settings is None else settings
    case = type("Case", (suite,), {"connector": connector, "settings": given})()
    found = {}
    for name in dir(case):
        if name.startswith("test_") and name not in left_out:
            try:
                getattr(case, name)()
            except pytest.skip.Exception:
                pass
            except (Exception, pytest.fail.Exception) as error:
                found[name] = f"{type(error).__name__}: {error}"
    return found


@pytest.mark.parametrize("suite", sound.SUITES, ids=lambda suite: suite.__name__)
def test_a_sound_connector_passes(suite: type[ConnectorContract]) -> None:
    assert failures(suite, suite.connector, None) == {}


# -- every kind --------------------------------------------------------------------------------------------------------


class Lenient(Settings):
    model_config = ConfigDict(extra="ignore")


class Plain(Config):
    api_token: str
    region: str = "us"


class TakesAnyKey(Pager):
    Config: ClassVar[type[Config]] = Lenient


class ShowsToken(Pager):
    Config: ClassVar[type[Config]] = Plain

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        answer: Answer = await self.context.http.request(method, f"{self.base}{path}", json=body)
        return answer


class TooNew(Pager):
    manifest = replace(sound.MANIFEST, api=99)


class OneHost(Pager):
    @property
    def base(self) -> str:
        return "https://acme.example"


class CheckPosts(Pager):
    async def check(self) -> Health:
        try:
            answer = await self.ask("POST", "/page", {"text": "only a test"})
        except HttpFailed as failed:
            return Health(False, failed.reason)
        return Health(answer.status == 200)


class CheckRaises(Pager):
    async def check(self) -> Health:
        answer = await self.ask("GET", "/me")
        return Health(answer.status == 200)


class LeavesTask(Pager):
    async def open(self) -> None:
        self.background = asyncio.create_task(asyncio.sleep(3_600))


class LeavesSocket(Pager):
    async def open(self) -> None:
        url = getattr(self.context.http, "_server").url  # noqa: B009 - as a library with its own connection
        self.stream = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))


class LogsToken(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        logging.getLogger("acme").debug("asking with %s", self.config.token.reveal())
        return await super().notify(alert)


class RaisesToken(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        try:
            return await super().notify(alert)
        except HttpFailed:
            raise HttpFailed(f"no answer with {self.config.token.reveal()}") from None


class PageSaysToken(Pager):
    async def check(self) -> Health:
        found = await super().check()
        return found if found.ok else Health(False, f"{self.config.token.reveal()} is refused")


# -- destinations ------------------------------------------------------------------------------------------------------


class Random(Sink):
    def map(self, message: Message) -> dict[str, Any] | Skip:
        found = super().map(message)
        return found if isinstance(found, Skip) else {**found, "nonce": uuid.uuid4().hex}


class ClaimsJourneys(Sink):
    capabilities = replace(Sink.capabilities, kinds=frozenset({"event", "journey"}))


class ClaimsToErase(Sink):
    capabilities = replace(Sink.capabilities, erases=True)


class OneTooFew(Sink):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        return list(await super().send(items))[:1]


class Tireless(Sink):
    def results(self, answer: Answer, items: Sequence[Item]) -> Sequence[ItemResult]:
        return [Retry("refused")] * len(items) if answer.status == 401 else super().results(answer, items)


class Impatient(Sink):
    def results(self, answer: Answer, items: Sequence[Item]) -> Sequence[ItemResult]:
        return [Throttled("busy", 1.0)] * len(items) if answer.status == 429 else super().results(answer, items)


class Hopeful(Sink):
    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        try:
            return await super().send(items)
        except HttpFailed:
            return [Delivered()] * len(items)


class Trusting(Sink):
    def results(self, answer: Answer, items: Sequence[Item]) -> Sequence[ItemResult]:
        if answer.status == 200:
            answer.json()
        return super().results(answer, items)


class Believing(Sink):
    def results(self, answer: Answer, items: Sequence[Item]) -> Sequence[ItemResult]:
        found = super().results(answer, items)
        taken = [Delivered()] * len(items)
        return taken if answer.status == 200 and b'"all"' in answer.body else found


class Spoiling(Sink):
    def results(self, answer: Answer, items: Sequence[Item]) -> Sequence[ItemResult]:
        found = super().results(answer, items)
        wrong = any(isinstance(one, Rejected) for one in found)
        return [Rejected("one is wrong")] * len(items) if wrong else found


class NewKeys(Sink):
    def body(self, items: Sequence[Item]) -> bytes:
        rows = [{**item.payload, "id": uuid.uuid4().hex} for item in items]
        return json.dumps({"rows": rows}, ensure_ascii=False, separators=(",", ":")).encode()


class Bloating(Sink):
    def body(self, items: Sequence[Item]) -> bytes:
        return json.dumps({"rows": [item.payload for item in items]}, indent=4).encode()


class Doubling(Sink):
    def body(self, items: Sequence[Item]) -> bytes:
        rows = [item.payload for item in items]
        return json.dumps({"rows": rows * (2 if len(rows) > 40 else 1)}, separators=(",", ":")).encode()


# -- webhooks ----------------------------------------------------------------------------------------------------------


class Unsealed(Hook):
    def verify(self, request: RawRequest) -> Any:
        return Verified() if self.trusted(request) else super().verify(request)

    def trusted(self, request: RawRequest) -> bool:
        """Knows the sender by its stamp alone."""
        return len(request.headers.get("x-signature", "")) == 64 and request.body not in sound.HookSuite.bodies


class Timeless(Hook):
    def verify(self, request: RawRequest) -> Any:
        stamp = request.headers.get("x-time", "")
        return super().verify(replace(request, received_at=int(stamp)) if stamp.isdecimal() else request)


class Ordered(Hook):
    def verify(self, request: RawRequest) -> Any:
        last = [*request.headers][-1:] == ["x-signature"]
        return super().verify(request if last else replace(request, headers={}))


class OneSecret(Hook):
    def secrets(self) -> list[str]:
        return super().secrets()[:1]


class Expecting(Hook):
    def verify(self, request: RawRequest) -> Any:
        request.headers["x-time"]
        return super().verify(request)


class Strict(Hook):
    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        if request.headers["content-type"] != "application/json":
            raise ValueError("no JSON")
        return super().parse(request)


class Careless(Hook):
    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        found = json.loads(request.body)
        return super().parse(request) if found["id"] else []


class Forgetful(Hook):
    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        return [{**row, "messageId": uuid.uuid4().hex} for row in super().parse(request)]


class Merging(Hook):
    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        return [{**row, "messageId": "the same"} for row in super().parse(request)]


# -- pulls -------------------------------------------------------------------------------------------------------------


class Remembering(Feed):
    seen = 0

    async def read(self, state: Any) -> Page:
        page = await super().read({"after": self.seen})
        self.seen = page.state["after"]
        return replace(page, state={"after": 0})


class Skipping(Feed):
    async def read(self, state: Any) -> Page:
        page = await super().read(state)
        return replace(page, rows=[row for row in page.rows if row["messageId"] != "row-3"])  # type: ignore[index]


class Repeating(Feed):
    async def read(self, state: Any) -> Page:
        page = await super().read(state)
        return replace(page, rows=[*page.rows, *page.rows[:1]])


class Pickling(Feed):
    async def read(self, state: Any) -> Page:
        page = await super().read(None if state is None else {"after": state["after"][0]})
        return replace(page, state={"after": (page.state["after"],)})


class Ending(Feed):
    async def read(self, state: Any) -> Page:
        try:
            return await super().read(state)
        except HttpFailed:
            return Page([], state)


class Closing(Feed):
    async def read(self, state: Any) -> Page:
        page = await super().read(state if state is None or not state.get("end") else {"after": 1_000})
        return replace(page, state={**page.state, "end": not page.more})


# -- enrichers ---------------------------------------------------------------------------------------------------------


class OneByOne(Crm):
    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        return {key: found for one in keys for key, found in (await super(OneByOne, self).lookup([one])).items()}


class Inventing(Crm):
    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        return {**dict.fromkeys(keys, Found({"plan": "none"})), **await super().lookup(keys)}


class Absent(Crm):
    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        try:
            return await super().lookup(keys)
        except HttpFailed:
            return {}


class Stubborn(Crm):
    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        try:
            return await super().lookup(keys)
        except asyncio.CancelledError:
            await asyncio.sleep(8)
            raise


class Anybody(Crm):
    def key_of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> str | None:
        return super().key_of(identities, traits) or "unknown"


# -- flags -------------------------------------------------------------------------------------------------------------


class Remote(Flags):
    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        await self.ask("GET", "/flags")
        return await super().evaluate(keys, context)


class Sorting(Flags):
    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        return sorted(await super().evaluate(keys, context), key=lambda one: one.key)


class Defaulting(Flags):
    def one(self, key: str, context: FlagContext) -> FlagResult:
        return FlagResult(key, self.values.get(key, False))


class Partial(Flags):
    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        found = await super().evaluate(keys, context)
        return found[:1] if keys is None else found


class Dice(Flags):
    thrown = 0

    def one(self, key: str, context: FlagContext) -> FlagResult:
        found = super().one(key, context)
        return found if found.error else replace(found, value=f"{found.value}-{id(self.values)}-{uuid.uuid4()}")


class Losing(Flags):
    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        answer = await self.ask("GET", "/flags")
        self.values = self.values if answer.status == 200 else dict.fromkeys(self.values, "off")
        return await super().evaluate(keys, context)


class Clinging(Flags):
    async def changes(self) -> AsyncIterator[frozenset[str]]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(8)
            raise
        yield frozenset()


# -- alerts ------------------------------------------------------------------------------------------------------------


class Monotonous(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        return await super().notify(replace(alert, resolved_at=None))


class Terse(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        return await super().notify(replace(alert, title="something is wrong"))


class Credulous(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        answer = await self.ask("POST", "/page", {"id": alert.id, "text": f"{alert.title} {alert.resolved_at}"})
        return result_of(answer, 0)


class Hasty(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        said = await super().notify(alert)
        return Throttled("busy", 1.0) if isinstance(said, Throttled) else said


class PagesOn(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        said = await super().notify(alert)
        return Rejected("busy") if isinstance(said, Throttled) else said


class PagesOnce(Pager):
    async def notify(self, alert: Alert) -> ItemResult:
        try:
            return await super().notify(alert)
        except HttpFailed as failed:
            return Rejected(failed.reason)


def _of(suite: type[ConnectorContract]) -> Callable[..., Broken]:
    return lambda connector, test, says, *also, **rest: Broken(
        suite, connector, f"test_{test}", says, frozenset(f"test_{name}" for name in also), **rest
    )


_sink, _hook, _feed, _crm, _flags, _pager = (_of(suite) for suite in sound.SUITES)

TABLE = (
    _pager(TakesAnyKey, "the_configuration_round_trips", "DID NOT RAISE"),
    _pager(
        ShowsToken, "no_secret_is_configured_as_plain_text", "`api_token` is named like a secret",
        settings={"api_token": "plain"},
    ),
    _pager(TooNew, "the_manifest_is_accepted", "made for version 99"),
    _pager(OneHost, "the_region_chooses_the_host", "us and eu ask the same host"),
    _pager(CheckPosts, "check_changes_nothing", "check sent POST /page"),
    _pager(CheckRaises, "check_says_what_is_wrong", "check raised HttpFailed"),
    _pager(LeavesTask, "nothing_is_left_behind", "tasks go on after close"),
    _pager(LeavesSocket, "nothing_is_left_behind", "connections are open after close"),
    _pager(LogsToken, "no_secret_is_ever_told", "the log shows ['TOKEN']"),
    _pager(RaisesToken, "no_secret_is_ever_told", "a result or an exception shows ['TOKEN']"),
    _pager(PageSaysToken, "no_secret_is_ever_told", "a result or an exception shows ['TOKEN']"),
    _sink(Random, "map_gives_json_and_always_the_same", "another payload for the same message"),
    _sink(ClaimsJourneys, "the_kinds_are_those_it_takes", "every sample of journey is skipped"),
    _sink(ClaimsToErase, "the_kinds_are_those_it_takes", "whether `erase` is written"),
    _sink(
        OneTooFew, "there_is_one_result_per_item", "1 results for 3 items",
        "every_status_means_what_it_should", "an_unreadable_answer_is_no_bug", "200_with_errors_is_no_success",
        "a_poison_item_is_isolated", "batches_keep_the_limits",
    ),
    _sink(Tireless, "every_status_means_what_it_should", "401 is Retry, not AuthFailed"),
    _sink(Impatient, "retry_after_is_heeded", "Retry-After: 7 was read as 1.0 s"),
    _sink(Hopeful, "a_broken_connection_is_tried_again", "meets `reset` gave Delivered"),
    _sink(Trusting, "an_unreadable_answer_is_no_bug", "raised JSONDecodeError"),
    _sink(Believing, "200_with_errors_is_no_success", "was taken for a success"),
    _sink(Spoiling, "a_poison_item_is_isolated", "items beside the poison are Rejected and Rejected"),
    _sink(NewKeys, "the_key_is_the_same_on_every_try", "the item's key is not in the request of try 1"),
    _sink(Bloating, "batches_keep_the_limits", "bytes, more than"),
    _sink(Doubling, "batches_keep_the_limits", "a request has 100 items"),
    _hook(Unsealed, "a_flipped_byte_is_refused", "byte 0 flipped is verified"),
    _hook(Ordered, "a_good_request_is_verified_and_read", "a good request is refused"),
    _hook(Timeless, "an_old_request_is_refused", "15 minutes old is verified"),
    _hook(OneSecret, "two_secrets_are_good_during_rotation", "signed with OLD_TOKEN is refused"),
    _hook(Expecting, "unsigned_requests_are_refused", "verify raised KeyError"),
    _hook(Strict, "the_content_type_does_not_matter", "KeyError"),
    _hook(Careless, "nonsense_cannot_be_read", "parse raised TypeError"),
    _hook(Forgetful, "a_replay_brings_nothing_new", "has other ids", "the_content_type_does_not_matter"),
    _hook(Merging, "a_replay_brings_nothing_new", "share an id"),
    _feed(
        Remembering, "a_crash_between_page_and_state_loses_nothing", "rows are lost",
    ),
    _feed(
        Skipping, "everything_is_read_once", "4 rows were read",
        "a_crash_between_page_and_state_loses_nothing", "what_comes_later_is_read",
    ),
    _feed(Repeating, "everything_is_read_once", "read twice"),
    _feed(Pickling, "the_state_is_json", "not made of JSON values"),
    _feed(Ending, "a_failure_is_not_the_end", "HTTP 401 was taken for a page"),
    _feed(Closing, "what_comes_later_is_read", "a row that came later was not read"),
    _crm(OneByOne, "keys_are_asked_for_together", "2 keys were asked for in 2 requests"),
    _crm(Inventing, "what_is_known_is_found_and_nothing_else", "nobody@shop.example"),
    _crm(Absent, "a_failure_is_not_an_absence", "HTTP 401 was taken for an answer"),
    _crm(Stubborn, "a_lookup_can_be_given_up", "goes on after it is cancelled"),
    _crm(Anybody, "keys_come_from_who_somebody_is", "nothing is known"),
    _flags(Remote, "evaluating_asks_no_network", "evaluate asks the network"),
    _flags(Sorting, "there_is_one_result_per_key", "answered ['colour'"),
    _flags(Defaulting, "an_unknown_flag_is_an_error", "has the error None"),
    _flags(Partial, "all_flags_are_those_it_knows", "missing: colour"),
    _flags(Dice, "the_same_user_gets_the_same", "the same user gets", "what_it_knows_outlives_the_other_side"),
    _flags(Losing, "what_it_knows_outlives_the_other_side", "when the other side fails", "evaluating_asks_no_network"),
    _flags(Clinging, "changes_can_be_given_up", "goes on after it is cancelled"),
    _pager(Monotonous, "it_tells_of_what_is_raised_and_of_what_is_over", "told like one that is raised"),
    _pager(Terse, "it_says_what_is_wrong", "the alert's title is not in what is sent"),
    _pager(Credulous, "200_with_errors_is_no_success", "200 with errors gave Delivered"),
    _pager(PagesOn, "every_status_means_what_it_should", "429 is Rejected, not Throttled", "retry_after_is_heeded"),
    _pager(Hasty, "retry_after_is_heeded", "Retry-After: 7 gave Throttled"),
    _pager(PagesOnce, "a_broken_connection_is_tried_again", "meets `reset` gave Rejected"),
)  # fmt: skip


# What a broken connector leaves open is closed when it is collected.
@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("broken", TABLE, ids=lambda broken: broken.connector.__name__)
def test_a_broken_connector_fails_for_its_own_reason(broken: Broken) -> None:
    # What every kind has to keep is tested with connectors of one kind; the others are spared the time.
    general = {name for name in vars(ConnectorContract) if name.startswith("test_")}
    left_out = () if broken.test in general else general
    found = failures(broken.suite, broken.connector, broken.settings, left_out)
    assert found.keys() == {broken.test} | broken.also, found
    assert broken.says in found[broken.test]


def test_every_test_of_every_suite_has_a_connector_that_fails_it() -> None:
    tests = {(suite, name) for suite in sound.SUITES for name in vars(suite.__mro__[1]) if name.startswith("test_")}
    tests |= {(sound.PagerSuite, name) for name in vars(ConnectorContract) if name.startswith("test_")}
    missing = tests - {(broken.suite, broken.test) for broken in TABLE}
    assert not missing, missing
