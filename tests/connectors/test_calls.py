"""Every call of a connector in the log, for who asks for it: which and how it ended, never with what."""

from __future__ import annotations

import logging

import pytest

from gateway.connectors.calls import trace_calls
from gateway.plugin import Item
from gateway.testing.samples import event_message
from tests.connectors.delivering import Empty, Recorder, context


class Raises(Recorder):
    async def erase(self, users: object) -> None:
        raise RuntimeError("planted-secret")


async def test_each_call_is_told_and_nothing_of_what_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    connector = Raises(Empty(), context("sink"))
    trace_calls(connector)
    message = event_message(1)
    with caplog.at_level(logging.INFO, "gateway.plugins.calls"):
        await connector.open()
        payload = connector.map(message)
        assert isinstance(payload, dict)
        await connector.send([Item(message, payload)])
        with pytest.raises(RuntimeError):
            await connector.erase({"planted-secret"})
    assert connector.got, "it still works"
    told = [record.__dict__ for record in caplog.records]
    assert [(one["operation"], one["how"]) for one in told] == [
        ("open", "ended"),
        ("map", "ended"),
        ("send", "ended"),
        ("erase", "RuntimeError"),
    ]
    assert {(one["plugin"], one["instance"]) for one in told} == {("recorder", "sink")}
    assert all(one["seconds"] >= 0 for one in told)
    assert "planted-secret" not in f"{caplog.text} {told}"
