"""Pulls: the state moves only behind what is stored; a crash between the two loses and doubles nothing."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from gateway.clock import ServerClock
from gateway.connectors.instances import Instance
from gateway.connectors.pulling import _Pull
from gateway.errors import PluginError, PluginFailure, Unavailable
from gateway.pipeline.intake import Delivery, Intake
from gateway.plugin import Config, Health, HttpFailed, Manifest, Page, PullSource
from gateway.store import collections
from gateway.store.alerts import Alerts
from gateway.store.connector_states import ConnectorStates
from gateway.store.database import Database
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine
from tests.connectors.delivering import Empty, context, until


class Forms(PullSource[Empty]):
    """Has seven rows, three a page."""

    manifest = Manifest(name="forms", version="1", brief="For tests.", test_level="D")
    Config: ClassVar[type[Config]] = Empty
    broken: Exception | None = None

    async def check(self) -> Health:
        return Health(True)

    async def read(self, state: Any) -> Page:
        if self.broken is not None:
            raise self.broken
        start = state["at"] if state else 0
        rows = [
            {"type": "track", "event": "Row", "userId": "ada", "messageId": f"row {number}"}
            for number in range(start, min(7, start + 3))
        ]
        return Page(rows, {"at": start + len(rows)}, more=start + 3 < 7)


@pytest.fixture
async def pull(database: Database) -> AsyncIterator[_Pull]:
    await collections.prepare(database)
    intake = Intake(Events(database), Quarantine(database), ServerClock())
    instance = Instance("forms", "w", Forms(Empty(), context("forms")))
    yield _Pull(
        instance, intake, ConnectorStates(database), ServerClock(), lambda workspace, name: True, Alerts(database)
    )
    await instance.close()


async def count(database: Database) -> int:
    return await database.count("events", {})


async def test_every_page_is_stored_and_the_state_goes_on(pull: _Pull, database: Database) -> None:
    assert [await pull.pull() for _ in range(3)] == [True, True, False]
    assert await count(database) == 7
    assert await pull.pull() is False
    assert await pull._states.get("w", "forms", "pull") == {"at": 7}


async def test_a_crash_between_page_and_state_loses_and_doubles_nothing(
    pull: _Pull, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*arguments: Any) -> None:
        raise Unavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(pull._states, "put", crash)
        with pytest.raises(Unavailable):
            await pull.pull()
    assert await count(database) == 3
    while await pull.pull():
        pass
    assert await count(database) == 7


async def test_what_is_not_acknowledged_moves_no_state(
    pull: _Pull, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(delivery: Delivery) -> None:
        raise Unavailable("full")

    monkeypatch.setattr(pull._intake, "ingest", refuse)
    with pytest.raises(Unavailable):
        await pull.pull()
    assert await pull._states.get("w", "forms", "pull") is None


@pytest.mark.parametrize("error", [HttpFailed("reset"), KeyError("x")])
async def test_a_failing_source_is_said_to_whoever_pulls(pull: _Pull, error: Exception) -> None:
    pull._instance.connector.broken = error  # type: ignore[attr-defined]
    with pytest.raises(type(error)):
        await pull.pull()


class Blocking(Forms):
    """Waits without letting go of its thread."""

    freed = threading.Event()

    async def read(self, state: Any) -> Page:
        self.freed.wait(30)
        return await super().read(state)


async def test_a_source_that_blocks_is_given_up_and_reads_on_once_it_is_free(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.connectors.pulling.PAGE_SECONDS", 0.2)
    await collections.prepare(database)
    intake = Intake(Events(database), Quarantine(database), ServerClock())
    instance = Instance("forms", "w", Blocking(Empty(), context("forms")))
    pull = _Pull(instance, intake, ConnectorStates(database), ServerClock(), lambda *of: True, Alerts(database))
    try:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await pull.pull()
        Blocking.freed.set()
        await until(lambda: not instance.thread.blocked)
        monkeypatch.setattr("gateway.connectors.pulling.PAGE_SECONDS", 60.0)
        assert await pull.pull() is True
        assert await count(database) == 3
    finally:
        Blocking.freed.set()
        await instance.close()


def refused(category: str) -> PluginError:
    return PluginError(
        PluginFailure(
            plugin="forms",
            version="1",
            operation="read",
            category=category,  # type: ignore[arg-type]
            message="The key is refused.",
            fix="Renew the key.",
        )
    )


@pytest.mark.parametrize(
    ("error", "times", "text"),
    [
        (refused("auth"), 1, "The key is refused."),
        (refused("remote"), 3, "The key is refused."),
        (HttpFailed("forms.example: ConnectError"), 3, "forms.example: ConnectError"),
        (KeyError("planted-secret"), 3, "read ended with KeyError"),
    ],
)
async def test_what_does_not_pass_raises_an_alert_that_a_good_page_resolves(
    pull: _Pull, database: Database, caplog: pytest.LogCaptureFixture, error: Exception, times: int, text: str
) -> None:
    for failures in range(1, times):
        await pull._failed(error, failures, 5.0)
        assert not await database.count("work", {"kind": "alert"})
    await pull._failed(error, times, 5.0)
    row = await database.find_one("work", {"kind": "alert"})
    assert row is not None
    assert (row["what"]["title"], row["what"]["text"], row["open"]) == ("forms brings nothing", text, True)
    assert {record.__dict__["reason"] for record in caplog.records} == {text}
    assert "planted-secret" not in caplog.text + str(row)
    await pull._well()
    row = await database.find_one("work", {"kind": "alert"})
    assert row is not None
    assert row["open"] is False
