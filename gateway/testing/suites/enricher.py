"""The suite for enrichers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from gateway.plugin import Found
from gateway.testing.faults import Reply
from gateway.testing.rig import GIVE_UP_SECONDS, HANG_SECONDS
from gateway.testing.suites.base import ConnectorContract, outcome_of


class EnricherContract(ConnectorContract):
    """Set `connector`, `settings`, `known` (keys that `answer` knows, at least two) and `unknown` (one that it does
    not), and write `answer`.

    `identities` and `traits` are those of a user who can be found.
    """

    known: ClassVar[tuple[str, ...]] = ()
    unknown: ClassVar[str] = "nobody@shop.example"
    identities: ClassVar[Sequence[tuple[str, str]]] = (("userId", "ada"),)
    traits: ClassVar[Mapping[str, Any]] = {"email": "ada@shop.example"}

    async def exercise(self, connector: Any) -> Any:
        """Look the known keys up."""
        return await connector.lookup(list(self.known))

    def test_keys_come_from_who_somebody_is(self) -> None:
        """`key_of` finds a key, asks nothing, and says None of somebody without anything to be found by."""
        with self.rig() as rig:

            async def keys(connector: Any) -> tuple[Any, Any, Any]:
                asked = len(rig.server.requests)
                found = connector.key_of(self.identities, self.traits), connector.key_of((), {})
                return (*found, len(rig.server.requests) - asked)

            key, none, asked = rig.run(keys)
        assert isinstance(key, str), f"key_of gives {key!r} for a user who can be found"
        assert key, "key_of gives an empty text"
        assert none is None, f"key_of gives {none!r} for a user of whom nothing is known"
        assert asked == 0, "key_of asks the network"

    def test_what_is_known_is_found_and_nothing_else(self) -> None:
        """Each known key with its fields, as JSON; a key that is not there is left out."""
        with self.rig() as rig:
            found = rig.run(lambda connector: connector.lookup([*self.known, self.unknown]))
        assert set(found) == set(self.known), f"found {sorted(found)}, not {sorted(self.known)}"
        for key, one in found.items():
            assert isinstance(one, Found), f"lookup gives {type(one).__name__} for a key, not Found"
            assert one.fields, f"nothing is known of {key}"
            assert json.loads(json.dumps(dict(one.fields))) == dict(one.fields), "the fields are not JSON values"

    def test_keys_are_asked_for_together(self) -> None:
        """Where `batch` is more than one, several keys are fewer requests than keys."""
        if self.connector.batch < 2:  # type: ignore[attr-defined]
            pytest.skip("one key at a time (batch)")
        with self.rig() as rig:

            async def asked(connector: Any) -> int:
                before = len(rig.server.requests)
                await connector.lookup(list(self.known))
                return len(rig.server.requests) - before

            count = rig.run(asked)
        assert count < len(self.known), f"{len(self.known)} keys were asked for in {count} requests"

    def test_a_failure_is_not_an_absence(self) -> None:
        """What is no answer raises, so that what was known stays: refused, too fast, failing, unreadable, broken."""
        for reply in (Reply(401), Reply(429), Reply(500), Reply(200, b'{"cut'), Reply(fault="reset")):
            with self.rig() as rig:
                rig.server.answer = lambda request, reply=reply: reply  # type: ignore[misc]
                found = outcome_of(lambda rig=rig: rig.run(lambda one: one.lookup(list(self.known))))  # type: ignore[misc]
                said = reply.fault or f"HTTP {reply.status}"
                assert isinstance(found, Exception), f"{said} was taken for an answer that knows {len(found)} keys"

    def test_a_lookup_can_be_given_up(self) -> None:
        """One that gets no answer ends as soon as it is cancelled, and the next one works."""
        with self.rig() as rig:

            async def given_up(connector: Any) -> Any:
                rig.server.answer = lambda request: Reply(fault="hang")
                task = asyncio.create_task(connector.lookup(list(self.known)))
                await asyncio.wait({task}, timeout=HANG_SECONDS)
                task.cancel()
                done, _ = await asyncio.wait({task}, timeout=GIVE_UP_SECONDS)
                assert done, "a lookup goes on after it is cancelled: a query would wait for it"
                rig.server.answer = self.answer
                return await connector.lookup(list(self.known))

            found = rig.run(given_up)
        assert set(found) == set(self.known), "after a lookup that was given up the next one finds nothing"
