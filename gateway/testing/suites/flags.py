"""The suite for providers of feature flags."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from gateway.plugin import FlagContext, FlagResult
from gateway.testing.faults import Reply
from gateway.testing.rig import GIVE_UP_SECONDS
from gateway.testing.suites.base import ConnectorContract

_NETWORK = ("connect", "connect_ex", "send", "sendall", "sendto", "recv", "recv_into")


class FlagProviderContract(ConnectorContract):
    """Set `connector`, `settings` and `flags`: keys that the provider knows once it is open (from `answer`, or from
    a file that the settings name)."""

    flags: ClassVar[tuple[str, ...]] = ()
    unknown: ClassVar[str] = "no-such-flag"
    context: ClassVar[FlagContext] = FlagContext("user-1", {"email": "ada@shop.example", "plan": "pro"})

    async def exercise(self, connector: Any) -> Any:
        """Evaluate the known flags."""
        return await connector.evaluate(list(self.flags), self.context)

    def test_there_is_one_result_per_key(self) -> None:
        """In the keys' order; known ones have a value and no error."""
        keys = [*self.flags, *reversed(self.flags)]
        with self.rig() as rig:
            results = rig.run(lambda connector: connector.evaluate(keys, self.context))
        assert all(isinstance(one, FlagResult) for one in results), "evaluate returns what is no FlagResult"
        assert [one.key for one in results] == keys, f"asked for {keys}, answered {[one.key for one in results]}"
        for one in results:
            assert one.error is None, f"the flag {one.key} has the error {one.error}"
            assert one.value is not None, f"the flag {one.key} has no value"

    def test_an_unknown_flag_is_an_error(self) -> None:
        """FLAG_NOT_FOUND and no value; the flags beside it are evaluated."""
        with self.rig() as rig:
            keys = [self.flags[0], self.unknown]
            known, unknown = rig.run(lambda connector: connector.evaluate(keys, self.context))
        assert unknown.error == "FLAG_NOT_FOUND", f"an unknown flag has the error {unknown.error}"
        assert unknown.value is None, "an unknown flag has a value"
        assert known.error is None, "an unknown flag spoils the others"

    def test_all_flags_are_those_it_knows(self) -> None:
        """Asked for None, every flag it knows comes once."""
        with self.rig() as rig:
            results = rig.run(lambda connector: connector.evaluate(None, self.context))
        keys = [one.key for one in results]
        missing = set(self.flags) - set(keys)
        assert not missing, f"of all flags these are missing: {', '.join(sorted(missing))}"
        assert len(keys) == len(set(keys)), "a flag comes twice"

    def test_the_same_user_gets_the_same(self) -> None:
        """The same context, the same values; a new object says so too."""
        with self.rig() as rig:
            values = [
                [one.value for one in rig.run(lambda connector: connector.evaluate(list(self.flags), self.context))]
                for _ in range(2)
            ]
        assert values[0] == values[1], f"the same user gets {values[0]}, then {values[1]}"

    def test_evaluating_asks_no_network(self) -> None:
        """Once it is open, `evaluate` answers from memory."""
        with self.rig() as rig:

            async def evaluate(connector: Any) -> list[str]:
                await connector.evaluate(list(self.flags), self.context)
                with _network_seen() as seen:
                    await connector.evaluate(list(self.flags), self.context)
                    await connector.evaluate(None, self.context)
                return seen

            seen = rig.run(evaluate)
        assert not seen, f"evaluate asks the network: {', '.join(sorted(set(seen)))}"

    def test_what_it_knows_outlives_the_other_side(self) -> None:
        """When the other side fails after the start, flags keep the values they had."""
        with self.rig() as rig:

            async def evaluate(connector: Any) -> list[list[Any]]:
                before = await connector.evaluate(list(self.flags), self.context)
                rig.server.answer = lambda request: Reply(500)
                after = await connector.evaluate(list(self.flags), self.context)
                return [[one.value for one in results] for results in (before, after)]

            before, after = rig.run(evaluate)
        assert before == after, f"flags had the values {before}, and {after} when the other side fails"

    def test_changes_can_be_given_up(self) -> None:
        """Waiting for a change ends at once when it is cancelled, and the iterator can be closed."""
        with self.rig() as rig:

            async def follow(connector: Any) -> bool:
                changes = connector.changes()
                waiting = asyncio.ensure_future(anext(changes))
                await asyncio.wait({waiting}, timeout=0.1)
                waiting.cancel()
                done, _ = await asyncio.wait({waiting}, timeout=GIVE_UP_SECONDS)
                if done and hasattr(changes, "aclose"):
                    await changes.aclose()
                return bool(done)

            assert rig.run(follow), "waiting for a change goes on after it is cancelled"


@contextmanager
def _network_seen() -> Iterator[list[str]]:
    """What this thread does with sockets meanwhile; the provider's own threads may do what they like."""
    seen: list[str] = []
    here = threading.get_ident()

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, *given: Any, **named: Any) -> Any:
            # The loop wakes itself through a socket pair.
            if threading.get_ident() == here and self.family in (socket.AF_INET, socket.AF_INET6):
                seen.append(name)
            return real(self, *given, **named)

        return call

    before = {name: vars(socket.socket).get(name) for name in _NETWORK}
    for name in _NETWORK:
        setattr(socket.socket, name, watched(name, getattr(socket.socket, name)))
    try:
        yield seen
    finally:
        for name, own in before.items():
            if own is None:
                delattr(socket.socket, name)
            else:
                setattr(socket.socket, name, own)
