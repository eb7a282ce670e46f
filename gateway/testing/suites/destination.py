"""The suite for destinations."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gateway.plugin import (
    AuthFailed,
    Delivered,
    Destination,
    Duplicate,
    HttpFailed,
    Item,
    ItemResult,
    Message,
    Rejected,
    Retry,
    Skip,
    Throttled,
    TooLarge,
)
from gateway.testing.faults import Received, Reply
from gateway.testing.rig import HANG_SECONDS, NOW, Rig
from gateway.testing.samples import crowds, event_message, samples
from gateway.testing.suites.base import ConnectorContract, is_unsent, outcome_of

Results = Sequence[ItemResult]

_RESULTS = (Delivered, Duplicate, Retry, Throttled, Rejected, AuthFailed, TooLarge)
_GOT = (Delivered, Duplicate)
#: What the answer of a vendor without meanings of its own says of all items of a request.
MEANINGS: Mapping[int, tuple[type[Any], ...]] = {
    400: (Rejected, TooLarge),
    401: (AuthFailed,),
    403: (AuthFailed,),
    404: (Rejected,),
    408: (Retry,),
    409: (Retry, Duplicate, Rejected),
    413: (TooLarge,),
    422: (Rejected,),
    429: (Throttled,),
    500: (Retry,),
    502: (Retry,),
    503: (Retry, Throttled),
    504: (Retry,),
}
_POISON = "poison-7f3d"
_AROUND = 1_000


class DestinationContract(ConnectorContract):
    """Set `connector` and `settings`; write `answer` when a good answer is not 200 and `{}`, `refuse` when the vendor
    answers per item, `lies` when it answers 200 and refuses all the same.

    `means`: statuses with a meaning of the vendor's own, over `MEANINGS`. `most_bytes`: the vendor's limit of one
    request's body; None: the capabilities' `max_bytes` and 1,000 for what is around the payloads. `heeds_retry_after`:
    false of a vendor that never sends that header.
    """

    means: ClassVar[Mapping[int, tuple[type[Any], ...]]] = {}
    most_bytes: ClassVar[int | None] = None
    heeds_retry_after: ClassVar[bool] = True

    def messages(self) -> list[Message]:
        """Samples of each kind in the capabilities; override where `map` needs something that they lack."""
        return samples(self._capabilities.kinds)

    def crowd(self, message: Message) -> Message:
        """A made-up event as `map` needs it; override together with `messages`."""
        return message

    def key_of(self, item: Item) -> str:
        """What makes an item one for the vendor, as it stands in the request."""
        return item.key

    def items_in(self, request: Received) -> Sequence[Any]:
        """The items of a request: the JSON body's list, the one list in it, or the body itself."""
        if not request.body:
            return []
        try:
            body = request.json()
        except ValueError:
            return [request.body]
        if isinstance(body, dict):
            lists = [value for value in body.values() if isinstance(value, list)]
            return lists[0] if len(lists) == 1 else [body]
        return body if isinstance(body, list) else [body]

    def refuse(self, request: Received, at: int) -> Reply:
        """The answer to a request whose item at this position can never be taken: the others of it are, if the
        capabilities say `partial` and more than one goes in a request."""
        return Reply(400, {"error": "one item is wrong"})

    def lies(self, request: Received) -> Reply | None:
        """A 2xx answer that takes nothing; None: the vendor has none."""
        return None

    async def exercise(self, connector: Any) -> Any:
        """Send the samples."""
        return await connector.send(self._items(connector, self.messages())[: self._capabilities.max_items])

    @property
    def _capabilities(self) -> Any:
        return self.connector.capabilities  # type: ignore[attr-defined]

    @staticmethod
    def _items(connector: Any, messages: Sequence[Message], attempt: int = 1) -> list[Item]:
        mapped = [(message, connector.map(message)) for message in messages]
        return [Item(message, payload, attempt) for message, payload in mapped if not isinstance(payload, Skip)]

    # -- map --------------------------------------------------------------------------------------------------------

    def test_map_gives_json_and_always_the_same(self) -> None:
        """The same message gives the same payload, in another process too, and stays as it is."""
        with self.rig() as rig:
            for message in self.messages():
                before = copy.deepcopy(message)
                first = rig.run(lambda one, m=message: _later(one.map(m)))  # type: ignore[misc]
                rig.clock.advance(1_000)
                second = rig.run(lambda one, m=message: _later(one.map(m)))  # type: ignore[misc]
                assert message == before, "map changed the message"
                assert isinstance(first, dict | Skip), f"map returned {type(first).__name__}, not a dict or a Skip"
                if isinstance(first, dict):
                    assert json.loads(json.dumps(first)) == first, "the payload is not made of JSON values"
                assert first == second, "map gives another payload for the same message"

    def test_the_kinds_are_those_it_takes(self) -> None:
        """Of every kind in the capabilities a sample is mapped, and `erases` says whether `erase` is there."""
        with self.rig() as rig:
            items = rig.run(lambda one: _later(self._items(one, self.messages())))
        missing = set(self._capabilities.kinds) - {item.message.kind for item in items}
        assert not missing, f"every sample of {', '.join(sorted(missing))} is skipped; override `messages`"
        written = self.connector.erase is not Destination.erase  # type: ignore[attr-defined]
        assert written == self._capabilities.erases, "capabilities.erases does not say whether `erase` is written"

    # -- what answers mean ------------------------------------------------------------------------------------------

    def test_there_is_one_result_per_item(self) -> None:
        """In their order, and all got through when all is well."""
        for count in (1, 3):
            with self.rig() as rig:
                results = self._send(rig, self._first(rig, count))
            self._check_results(results, min(count, self._capabilities.max_items))
            assert all(isinstance(one, _GOT) for one in results), f"all is well there, but: {results}"

    def test_every_status_means_what_it_should(self) -> None:
        """The status of an answer decides what happens next to every item of the request."""
        wrong = []
        for status, wanted in {**MEANINGS, **self.means}.items():
            with self.rig() as rig:
                rig.server.answer = lambda request, status=status: Reply(status, {"error": "told"})  # type: ignore[misc]
                results = self._outcome(rig, self._first(rig, 2))
            if isinstance(results, Exception):
                wrong.append(f"{status} raised {type(results).__name__}")
            elif not all(isinstance(one, wanted) for one in results):
                names = " or ".join(kind.__name__ for kind in wanted)
                wrong.append(f"{status} is {type(results[0]).__name__}, not {names}")
        assert not wrong, "; ".join(wrong)

    def test_retry_after_is_heeded(self) -> None:
        """In seconds, as a date, and when it is absent."""
        if not self.heeds_retry_after:
            pytest.skip("the vendor sends no Retry-After")
        date = format_datetime(datetime.fromtimestamp(NOW / 1000 + 90, UTC), usegmt=True)
        for value, wanted in (("7", 7.0), (date, 90.0), (None, None)):
            headers = {} if value is None else {"retry-after": value}
            with self.rig() as rig:
                rig.server.answer = lambda request, headers=headers: Reply(429, {}, headers)  # type: ignore[misc]
                results = self._outcome(rig, self._first(rig, 1))
            assert not isinstance(results, Exception), f"429 raised {type(results).__name__}"
            after = getattr(results[0], "after", None)
            if wanted is not None:
                assert after == pytest.approx(wanted, abs=1.0), f"Retry-After: {value} was read as {after} s"

    def test_a_broken_connection_is_tried_again(self) -> None:
        """Reset in the answer, closed before it, or no answer: nobody knows what arrived, so all are tried again."""
        for fault in ("reset", "close", "hang"):
            with self.rig() as rig:
                rig.server.answer = lambda request, fault=fault: Reply(fault=fault)  # type: ignore[misc]
                rig.http.most_seconds = HANG_SECONDS if fault == "hang" else rig.http.most_seconds
                results = self._outcome(rig, self._first(rig, 2))
            if isinstance(results, Exception):
                assert is_unsent(results), f"a connection that meets `{fault}` raised {type(results).__name__}"
            else:
                kinds = {type(one).__name__ for one in results}
                assert kinds == {"Retry"}, f"a connection that meets `{fault}` gave {', '.join(sorted(kinds))}"

    def test_an_unreadable_answer_is_no_bug(self) -> None:
        """200 with what is no JSON: no exception; and no success, if results are read from the body."""
        with self.rig() as rig:
            rig.server.answer = lambda request: Reply(200, b'{"results": [')
            results = self._outcome(rig, self._first(rig, 2))
        assert not isinstance(results, Exception), f"an answer that is no JSON raised {type(results).__name__}"
        self._check_results(results, min(2, self._capabilities.max_items))
        if self._capabilities.partial and self._together():
            assert not any(isinstance(one, _GOT) for one in results), (
                "an answer that is no JSON was taken for a success"
            )

    def test_200_with_errors_is_no_success(self) -> None:
        """What the vendor's `lies` says is believed."""
        with self.rig() as rig:
            found = [self.lies(Received("POST", "http://vendor.example/"))]
            if found == [None]:
                pytest.skip("the vendor does not answer 200 when it refuses; else write `lies`")
            rig.server.answer = lambda request: self.lies(request) or Reply()
            results = self._outcome(rig, self._first(rig, 2))
        assert not isinstance(results, Exception), f"200 with errors raised {type(results).__name__}"
        assert not any(isinstance(one, _GOT) for one in results), f"200 with errors was taken for a success: {results}"

    def test_a_poison_item_is_isolated(self) -> None:
        """One that can never be taken is rejected alone, in its place; the others get through."""
        with self.rig() as rig:
            rig.server.answer = lambda request: self._poisoned(request) or self.answer(request)
            items = self._first(rig, 3, poison=1)
            if len(items) < 3:
                pytest.skip("one item a request: each is alone")
            results = rig.run(lambda one: self._halved(one, items))
        kinds = [type(one).__name__ for one in results]
        assert isinstance(results[1], Rejected), f"the poison is {kinds[1]}, not Rejected"
        others = (results[0], results[2])
        assert all(isinstance(one, _GOT) for one in others), f"items beside the poison are {kinds[0]} and {kinds[2]}"

    # -- keys and limits --------------------------------------------------------------------------------------------

    def test_the_key_is_the_same_on_every_try(self) -> None:
        """Where the vendor knows keys, an item's stands in every request that it is in."""
        if self._capabilities.idempotency is None:
            pytest.skip("the vendor knows no keys (capabilities.idempotency)")
        for attempt in (1, 2):
            with self.rig() as rig:
                rig.clock.advance(60_000 * attempt)
                items = self._first(rig, 2, attempt=attempt)
                self._send(rig, items)
                sent = b"".join(
                    part for one in rig.server.requests for part in (one.url.encode(), _headers(one), one.body)
                )
            for item in items:
                assert self.key_of(item).encode() in sent, f"the item's key is not in the request of try {attempt}"

    def test_batches_keep_the_limits(self) -> None:
        """Whatever the items' number, size and content: no request is larger than the vendor allows."""
        with self.rig() as rig:
            most = self._capabilities.max_items
            if most <= 5_000:
                many = [self.crowd(event_message(at, user=f"u{at}", properties={"n": at})) for at in range(most + 1)]
                self._check_limits(rig, many)
            largest = self._capabilities.max_item_bytes or self._capabilities.max_bytes // 3

            @settings(
                max_examples=12, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(crowds(min(largest, 40_000)))
            def every(messages: list[Message]) -> None:
                self._check_limits(rig, [self.crowd(one) for one in messages])

            every()

    def _check_limits(self, rig: Rig, messages: Sequence[Message]) -> None:
        rig.server.requests.clear()
        rig.run(lambda one: self._in_batches(one, messages))
        most = self.most_bytes or self._capabilities.max_bytes + _AROUND
        for request in rig.server.requests:
            count = len(self.items_in(request))
            assert count <= self._capabilities.max_items, f"a request has {count} items"
            assert len(request.body) <= most, f"a request has {len(request.body):,} bytes, more than {most:,}"

    async def _in_batches(self, connector: Any, messages: Sequence[Message]) -> None:
        for batch in _batches(self._items(connector, messages), self._capabilities):
            results = await connector.send(batch)
            self._check_results(results, len(batch))

    # -- the parts ----------------------------------------------------------------------------------------------

    def _first(self, rig: Rig, count: int, *, poison: int | None = None, attempt: int = 1) -> list[Item]:
        """The first items of the samples, of different people; the poison carries a mark."""
        kept: list[Message] = []
        for message in self.messages():
            if all(other.user != message.user for other in kept):
                kept.append(message)
        mapped: list[Item] = rig.run(lambda one: _later(self._items(one, kept, attempt)))
        assert len(mapped) >= min(count, 3), "`messages` must have three of different people that `map` does not skip"
        items = mapped[: min(count, self._capabilities.max_items)]
        if poison is None or poison >= len(items):
            return items
        marked = items[poison]
        return [
            *items[:poison],
            Item(marked.message, _marked(marked.payload), marked.attempt),
            *items[poison + 1 :],
        ]

    def _together(self) -> bool:
        """Whether two items go in one request."""
        with self.rig() as rig:
            self._send(rig, self._first(rig, 2))
            return any(len(self.items_in(request)) > 1 for request in rig.server.requests)

    def _send(self, rig: Rig, items: Sequence[Item]) -> Results:
        return rig.run(lambda connector: connector.send(items))

    def _outcome(self, rig: Rig, items: Sequence[Item]) -> Results | Exception:
        results = outcome_of(lambda: self._send(rig, items))
        if not isinstance(results, Exception):
            self._check_results(results, len(items))
        return results

    def _check_results(self, results: Any, count: int) -> None:
        assert isinstance(results, list | tuple), f"send returned {type(results).__name__}, not a list"
        assert len(results) == count, f"send returned {len(results)} results for {count} items"
        assert all(isinstance(one, _RESULTS) for one in results), "send returned what is no result"

    def _poisoned(self, request: Received) -> Reply | None:
        for at, item in enumerate(self.items_in(request)):
            text = item if isinstance(item, bytes) else json.dumps(item).encode()
            if _POISON.encode() in text:
                return self.refuse(request, at)
        return None

    async def _halved(self, connector: Any, items: list[Item]) -> list[ItemResult]:
        """As the gateway does it: where a batch is refused as a whole, its halves are sent."""
        try:
            results = list(await connector.send(items))
        except HttpFailed:
            results = [Retry("no answer")] * len(items)
        self._check_results(results, len(items))
        refused = all(isinstance(one, Rejected | TooLarge) for one in results)
        if len(items) == 1 or self._capabilities.partial or not refused:
            return results
        middle = len(items) // 2
        return [*await self._halved(connector, items[:middle]), *await self._halved(connector, items[middle:])]


async def _later(value: Any) -> Any:
    return value


def _headers(request: Received) -> bytes:
    return "\n".join(request.headers.values()).encode()


def _marked(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with the mark in the first text that is found in it, at any depth."""
    done = False

    def mark(value: Any) -> Any:
        nonlocal done
        if done:
            return value
        if isinstance(value, str):
            done = True
            return _POISON
        if isinstance(value, Mapping):
            return {name: mark(one) for name, one in value.items()}
        if isinstance(value, list):
            return [mark(one) for one in value]
        return value

    marked: dict[str, Any] = mark(payload)
    assert done, "the payload has no text to mark"
    return marked


def _batches(items: Sequence[Item], capabilities: Any) -> Iterator[list[Item]]:
    """Cut as the gateway cuts: by number and by the payloads' bytes; what is too large alone is never sent."""
    batch: list[Item] = []
    size = 2
    for item in items:
        own = len(json.dumps(item.payload, separators=(",", ":"), ensure_ascii=False).encode())
        if own > (capabilities.max_item_bytes or capabilities.max_bytes):
            continue
        if batch and (len(batch) >= capabilities.max_items or size + own + 1 > capabilities.max_bytes):
            yield batch
            batch, size = [], 2
        batch.append(item)
        size += own + 1
    if batch:
        yield batch
