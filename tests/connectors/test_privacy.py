"""What is not sent: without consent, of who was erased; and what erasure clears and asks of destinations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gateway.clock import ServerClock
from gateway.connectors.asking import Asking
from gateway.errors import NotFound
from gateway.model.event import EventType
from gateway.model.identity import Identity, user_id_of
from gateway.model.scope import Scope
from gateway.pipeline.erasures import Eraser
from gateway.pipeline.intake import Intake
from gateway.plugin import Delivered, Item, ItemResult, Rejected, Retry
from gateway.store.database import Database
from gateway.store.deliveries import Deliveries
from gateway.store.erasures import Erasures
from gateway.store.events import Events
from gateway.store.quarantine import Quarantine
from gateway.store.users import Users
from tests.connectors.delivering import ENDLESS, WORKSPACE, Stage, capable, event, instance, until
from tests.connectors.test_delivery import recorder


def says(number: int, granted: bool, user: str = "ada") -> object:
    said = {"purposes": {"sharing": granted}, "source": "test"}
    return event(number, user, type=EventType.CONSENT, name="gateway.consent", properties=said)


async def test_what_a_user_denies_is_not_sent_however_late_they_say_so(database: Database) -> None:
    async with Stage(database, instance(capable(purpose="sharing")), patience=ENDLESS).running() as stage:
        closed = True

        async def at_first_not(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Retry("closed") if closed else Delivered() for _ in items]

        recorder(stage).answer = at_first_not
        await stage.store(event(1), event(2, "bob"))
        await until(lambda: tried(stage, 2))
        await stage.store(says(3, granted=False))  # type: ignore[arg-type]
        await until(lambda: database.find_one("consents", {}))
        await stage.privacy.look()
        closed = False
        await until(lambda: "bob 2" in recorder(stage).names)
        await until(lambda: stage.delivery.counts()["sink"]["withheld"] == 1)
        await stage.store(event(4), event(5, "bob"))
        await until(lambda: "bob 5" in recorder(stage).names)
        await until(lambda: stage.delivery.counts()["sink"]["withheld"] == 2)
    assert set(recorder(stage).names) == {"bob 2", "bob 5"}


async def test_what_came_in_under_a_denial_is_not_sent_after_a_grant(database: Database) -> None:
    async with Stage(database, instance(capable(purpose="sharing"))).running() as stage:
        await stage.store(event(1, consent={"sharing": False}), says(2, granted=True))  # type: ignore[arg-type]
        await stage.store(event(3))
        await until(lambda: recorder(stage).names == ["ada 3"])


async def test_erasure_clears_rows_and_letters_and_asks_the_destination(database: Database) -> None:
    ada = Identity("userId", "ada")
    made = instance(capable(erases=True), "erasing"), instance(name="plain")
    async with Stage(database, *made, patience=ENDLESS).running() as stage:

        async def never(items: Sequence[Item]) -> Sequence[ItemResult]:
            return [Rejected("no") if one.payload["name"].endswith("1") else Retry("not now") for one in items]

        for name in ("erasing", "plain"):
            recorder(stage, name).answer = never
        await stage.store(event(1), event(2), event(3, "bob", id=b"bob's own event."))
        await until(lambda: held(stage, letters=2, rows=4))
        eraser = Eraser(
            database, Events(database), Users(database), Erasures(database), stage.privacy, ServerClock(), 0.2
        )
        intake = Intake(Events(database), Quarantine(database), ServerClock(), privacy=stage.privacy)
        await eraser.erase(intake, Scope.system(WORKSPACE), [ada], reason="asked", by=None)
        await until(lambda: database.find_one("erasures", {"status": "done"}))
        await until(lambda: len(recorder(stage, "erasing").erased) == 2)
        assert all(user_id_of(WORKSPACE, ada) in users for users in recorder(stage, "erasing").erased)
        assert not recorder(stage, "plain").erased
        rows = [row for row in await stage.rows() if row["kind"] == "event"]
        assert {row["about"]["name"] for row in rows} == {"bob 3"}
        assert not await stage.dead()
        receipt = await database.find_one("erasures", {})
        assert receipt is not None
        assert receipt["counts"]["dead_letters"] == 2


async def test_an_erasure_waits_for_an_instance_that_is_gone_until_it_is_forgotten(database: Database) -> None:
    async with Stage(database, instance(capable(erases=True), "old"), patience=ENDLESS).running() as stage:
        await stage.store(event(1))
        await until(lambda: recorder(stage, "old").names)
    deliveries = Deliveries(database)
    assert await deliveries.items.ask_to_erase(WORKSPACE, "e1", 1, ["ada"], 0) == 1
    async with Stage(database, instance(name="new"), patience=ENDLESS).running() as stage:
        await stage.store(event(2))
        await until(lambda: recorder(stage, "new").names == ["ada 2"])
        assert [row["kind"] for row in await stage.rows()] == ["erase"]
        gone = await Asking(database, ServerClock()).forget(Scope.system(WORKSPACE), "old")
        assert (gone["destinations"], gone["lane_items"], gone["delivery_cursors"]) == (1, 1, 16)
        assert await deliveries.items.ask_to_erase(WORKSPACE, "e2", 1, ["ada"], 0) == 0
        assert not await stage.rows()
        await stage.store(event(3))
        await until(lambda: recorder(stage, "new").names == ["ada 2", "ada 3"])
        with pytest.raises(NotFound):
            await Asking(database, ServerClock()).forget(Scope.system(WORKSPACE), "old")


async def tried(stage: Stage, count: int) -> bool:
    return len(await stage.rows()) == count


async def held(stage: Stage, *, letters: int, rows: int) -> bool:
    return len(await stage.dead()) == letters and len(await stage.rows()) == rows
