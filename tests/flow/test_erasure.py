"""Erasure as an operator meets it: over HTTP, with two gateways, while the person goes on sending."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway.store.database import connect
from tests.flow.conftest import RunningGateway, free_port
from tests.pace import PATIENCE

RARE = "xqzzycanary"
ERASE = """mutation($user: UserBy!) { eraseUser(input: {user: $user, reason: "asked for"}) {
  erasure { id status } errors { code } } }"""
ERASURE = "query($id: ID!) { erasure(id: $id) { status doneAt collections { collection count } } }"
USER = 'query { user(by: {userId: "lee"}) { eventCount } }'
COUNTS = '{ intakeAccounting(range: {last: "1d"}) { total { sent accepted duplicate quarantined refused } } }'


@pytest.fixture
def two_gateways(gateway_environment: dict[str, str]) -> Iterator[tuple[RunningGateway, RunningGateway]]:
    """Two processes on one database; what was on its way in may take a second."""
    environment = {**gateway_environment, "GATEWAY_ERASE_AGAIN_SECONDS": "4"}
    first = RunningGateway(environment, free_port())
    first.set_up()
    second = RunningGateway(environment, free_port(), write_key=first.write_key, api_key=first.api_key)
    second.start()
    yield first, second
    for gateway in (first, second):
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.stop()


def message(number: int, who: str, gateway: int) -> dict[str, Any]:
    return {
        "type": "track",
        "event": RARE if who != "lee" else "View",
        "userId": who,
        "messageId": f"{who} {gateway} {number}",
        "properties": {"note": RARE} if who != "lee" else {},
    }


class Sender(threading.Thread):
    """Sends of both persons, one batch after the other, and remembers what became of them."""

    def __init__(self, gateway: RunningGateway, number: int) -> None:
        super().__init__()
        self.gateway, self.number = gateway, number
        self.counts: Counter[str] = Counter()
        self.stopping = threading.Event()

    def run(self) -> None:
        sent = 0
        while not self.stopping.is_set():
            batch = [message(sent + one, who, self.number) for one in range(5) for who in (f"ann {RARE}", "lee")]
            answer = self._delivered(batch)
            self.counts.update({name: answer[name] for name in ("accepted", "refused", "duplicate", "quarantined")})
            self.counts["sent"] += len(batch)
            sent += 5

    def _delivered(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """The answer, however often MongoDB is too slow to confirm: what is sent again then may be stored already."""
        while True:
            auth = (self.gateway.write_key, "")
            answer = httpx2.post(self.gateway.url + "/v1/batch", json={"batch": batch}, auth=auth, timeout=PATIENCE)
            if answer.status_code == 200:
                counts: dict[str, Any] = answer.json()
                return counts
            assert answer.status_code == 503, answer.text
            self.counts["unsure"] += 5


async def test_a_user_who_goes_on_sending_is_erased_for_good(
    two_gateways: tuple[RunningGateway, RunningGateway], mongo_uri: str
) -> None:
    first, second = two_gateways
    senders = [Sender(gateway, number) for number, gateway in enumerate(two_gateways)]
    for sender in senders:
        sender.start()
    user = {"userId": f"ann {RARE}"}
    known = "query($user: UserBy!) { user(by: $user) { eventCount } }"
    first.until(known, lambda data: data["user"] is not None, user=user)
    told = first.graphql(ERASE, user=user)["eraseUser"]
    assert (told["errors"], told["erasure"]["status"]) == ([], "RUNNING")
    # Where it was asked for, from the answer on.
    answer = first.batch(message(999_999, f"ann {RARE}", 0), message(999_999, "lee", 0))
    assert (answer["refused"], answer["accepted"]) == (1, 1)
    receipt = first.until(
        ERASURE, lambda data: data["erasure"]["status"] == "DONE", seconds=PATIENCE, id=told["erasure"]["id"]
    )["erasure"]
    for sender in senders:
        sender.stopping.set()
        sender.join(PATIENCE)
        assert sender.counts["refused"] > 0
        assert sender.counts["quarantined"] == 0
    counted = sum((sender.counts for sender in senders), Counter[str]())
    assert counted["sent"] == counted["accepted"] + counted["duplicate"] + counted["refused"]
    database = connect(mongo_uri, first.environment["GATEWAY_DATABASE"])
    try:
        lee = await database.count("events", {"userId": "lee"})
        first.until(USER, lambda data: data["user"]["eventCount"] == lee)
        reply = await database.admin({"listCollections": 1, "nameOnly": True}, on=database.name)
        for name in [one["name"] for one in reply["cursor"]["firstBatch"]]:
            assert [row for row in await database.find(name, {}) if RARE in repr(row)] == [], name
        kept = await database.find("users", {"movedTo": None})
        assert [row["events"] for row in kept] == [lee]
        cells = await database.find("rollups", {"kind": "event"})
        assert {row["key"] for row in cells} == {"View"}
        assert sum(row["count"] for row in cells) == lee
    finally:
        await database.close()
    # What was accepted before is accounted for, though it is there no longer.
    erased = next(line["count"] for line in receipt["collections"] if line["collection"] == "events")
    unanswered = lee + erased - (counted["accepted"] + counted["duplicate"] + 1)
    assert 0 <= unanswered <= counted["unsure"]
    total = first.graphql(COUNTS)["intakeAccounting"]["total"]
    assert total["sent"] == counted["sent"] + 2 + 1  # the erasure is an event too
    assert total["refused"] == counted["refused"] + 1
    assert first.graphql(USER)["user"]["eventCount"] == lee
    late = httpx2.post(
        second.url + "/v1/batch",
        json={"batch": [message(1, f"ann {RARE}", 1)]},
        auth=(second.write_key, ""),
        timeout=PATIENCE,
    )
    assert (late.status_code, late.json()["refused"]) == (200, 1)
