"""`contract apply` while gateways run: every process follows, every journey is worked out anew, nothing else moves."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

from gateway.store.database import Database, connect
from tests import oracle
from tests.flow.conftest import ROOT, RunningGateway, free_port
from tests.pace import PATIENCE

ANY_ADDED = "      - event: Product Added\n"
MANY_ADDED = "      - event: Product Added\n        where: [{property: quantity, gte: 2}]\n"
STAGES = [
    ("browse", {"Product List Viewed", "Product Viewed"}),
    ("cart", {"Product Added"}),
    ("checkout", {"Checkout Started"}),
    ("purchased", {"Order Completed"}),
]
WEEK = 7 * 24 * 3_600_000
#: Users of each kind: only look; put one thing into the cart, which the new map no longer counts; put in many.
KINDS = ("looks", "one", "many")
WATCH = "subscription { journeyChanged { from { key } to { key } journey { user { identities { value } } } } }"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A contract folder of one's own."""
    return Path(shutil.copytree(ROOT / "schema" / "shop", tmp_path / "contracts" / "shop"))


@pytest.fixture
def environment(gateway_environment: dict[str, str], folder: Path) -> dict[str, str]:
    return {**gateway_environment, "GATEWAY_SCHEMA_DIR": str(folder.parent), "GATEWAY_ENV": "production"}


@pytest.fixture
async def database(environment: dict[str, str]) -> AsyncIterator[Database]:
    database = connect(environment["GATEWAY_MONGO_URI"], environment["GATEWAY_DATABASE"])
    yield database
    await database.close()


@pytest.fixture
def gateways(environment: dict[str, str]) -> Iterator[list[RunningGateway]]:
    """Two processes on one database."""
    one, other = RunningGateway(environment, free_port()), RunningGateway(environment, free_port())
    one.set_up()
    other.write_key, other.api_key = one.write_key, one.api_key
    other.start()
    yield [one, other]
    for gateway in (one, other):
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.stop()


def change_map(folder: Path, version: int = 3) -> None:
    """From now on only two things or more make a cart."""
    path = folder / "journeys" / "purchase.yaml"
    text = path.read_text()
    assert text.count(ANY_ADDED) == 1
    path.write_text(text.replace(ANY_ADDED, MANY_ADDED).replace("version: 2", f"version: {version}"))


def visit(user: str, kind: str, number: int) -> list[dict[str, Any]]:
    """What a user does once."""
    messages = [{"event": "Product Viewed", "properties": {}}]
    if kind != "looks":
        messages.append({"event": "Product Added", "properties": {"quantity": 1 if kind == "one" else 5}})
    return [
        {"type": "track", "userId": user, "messageId": f"{user}-{number}-{index}", **message}
        for index, message in enumerate(messages)
    ]


def users(prefix: str, count: int) -> dict[str, str]:
    """User ids with their kinds."""
    return {f"{prefix}{number}": KINDS[number % 3] for number in range(count)}


async def derived(database: Database, events: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await database.count("work", {"pending": None}) < events:  # noqa: ASYNC110 - the owner tells nobody
            await asyncio.sleep(0.05)


async def folded_anew(database: Database, maps: str) -> None:
    """Wait until no user is left that other maps folded."""
    async with asyncio.timeout(PATIENCE):
        while await database.count("users", {"maps": {"$ne": maps}, "movedTo": None}):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def rows(database: Database, collection: str) -> dict[Any, dict[str, Any]]:
    return {row["_id"]: row for row in await database.find(collection, {})}


async def everything(database: Database) -> dict[str, Any]:
    """Every stored document but the leases."""
    names = ("events", "identities", "users", "sessions", "journeys", "work", "feed", "contracts", "rebuilds")
    return {name: await rows(database, name) for name in names}


async def owners(database: Database) -> dict[str, str]:
    """userId by the user's id."""
    return {row["user"]: row["value"] for row in await database.find("identities", {"type": "userId"})}


BROWSING = """key: browsing
name: Browsing
description: Look around.
owners: [ux-research]
who:
  stage: {map: purchase, stage: browse, status: active}
"""


async def told_by_the_oracle(database: Database, *, least: int) -> dict[str, list[Any]]:
    """userId to runs, when only an event that adds `least` things counts."""
    known: dict[str, list[dict[str, Any]]] = {}
    for row in await database.find("events", {}):
        name = row["name"]
        if name == "Product Added" and row["properties"]["quantity"] < least:
            name = "Something Else"
        plain = {"id": bytes(row["_id"]), "name": name, "at": row["at"], "seq": row["seq"]}
        known.setdefault(row["userId"], []).append(plain)
    now = max(event["at"] for events in known.values() for event in events)
    return {
        user: oracle.journeys(sorted(events, key=oracle.order), STAGES, WEEK, now) for user, events in known.items()
    }


async def stored_runs(database: Database) -> dict[str, list[Any]]:
    """The same, as it is stored."""
    who = await owners(database)
    found: dict[str, list[Any]] = {}
    for row in await database.find("journeys", {}, sort=[("run", 1)]):
        found.setdefault(who[row["user"]], []).append((row["status"], row["reached"], row["startedAt"]))
    return found


@pytest.mark.timed
async def test_a_map_changes_under_traffic_in_every_process(
    gateways: list[RunningGateway], folder: Path, database: Database
) -> None:
    one, other = gateways
    still, busy = users("still", 30), users("busy", 12)
    sent = [message for user, kind in still.items() for message in visit(user, kind, 0)]
    one.batch(*sent)
    await derived(database, len(sent))
    before = await rows(database, "journeys")
    feed = await rows(database, "feed")
    transport = WebsocketsTransport(
        url=f"ws://127.0.0.1:{other.port}/graphql",
        init_payload={"authorization": f"Bearer {other.api_key}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    stop, told = asyncio.Event(), []

    async def traffic() -> int:
        count = number = 0
        async with httpx2.AsyncClient(timeout=PATIENCE) as client:
            while not stop.is_set():
                batch = [message for user, kind in busy.items() for message in visit(user, kind, number)]
                answer = await client.post(
                    f"{gateways[number % 2].url}/v1/batch", json={"batch": batch}, auth=(one.write_key, "")
                )
                assert answer.status_code == 200, answer.text
                count, number = count + len(batch), number + 1
                await asyncio.sleep(0.05)
        return count

    async def listen(news: AsyncIterator[Any]) -> None:
        async for message in news:
            told.append(message["journeyChanged"])

    async with Client(transport=transport) as session:
        listening = asyncio.create_task(listen(session.subscribe(gql(WATCH))))
        sending = asyncio.create_task(traffic())
        await asyncio.sleep(1)
        change_map(folder)
        applied = json.loads((await asyncio.to_thread(one.command, "contract", "apply", str(folder), "--json")).stdout)
        assert (applied["version"], applied["applied"]) == (2, True)
        assert applied["differences"] == [{"kind": "map", "key": "purchase", "change": "changed"}]
        await folded_anew(database, applied["journeysHash"])
        await asyncio.sleep(1)
        stop.set()
        await derived(database, len(sent) + await sending)
        await folded_anew(database, applied["journeysHash"])

        asked = '{ journeyMap(key: "purchase") { version } }'
        for gateway in gateways:
            await asyncio.to_thread(gateway.until, asked, lambda data: data["journeyMap"]["version"] == 3)
        assert await stored_runs(database) == await told_by_the_oracle(database, least=2)

        who = await owners(database)
        after = await rows(database, "journeys")
        for key, run in before.items():
            if still[who[run["user"]]] == "one":
                assert (run["stage"], after[key]["stage"], after[key]["version"]) == ("cart", "browse", 3)
            else:
                assert after[key]["stage"] == run["stage"]
        news = [row for key, row in (await rows(database, "feed")).items() if key not in feed]
        steps = [row for row in news if row["kind"] == "journey" and who[row["user"]] in still]
        touched = {user for user, kind in still.items() if kind == "one"}
        assert sorted(who[row["user"]] for row in steps) == sorted(touched)
        assert {(row["from"], row["to"]) for row in steps} == {("cart", "browse")}

        def heard() -> set[str]:
            moved = [one for one in told if one["journey"] and one["from"] and one["from"]["key"] == "cart"]
            return {identity["value"] for one in moved for identity in one["journey"]["user"]["identities"]}

        async with asyncio.timeout(PATIENCE):
            while not touched <= heard():
                assert not listening.done()
                await asyncio.sleep(0.05)
        listening.cancel()


async def test_a_kpi_changes_without_a_fold(gateways: list[RunningGateway], folder: Path, database: Database) -> None:
    sent = [message for user, kind in users("u", 6).items() for message in visit(user, kind, 0)]
    gateways[0].batch(*sent)
    await derived(database, len(sent))
    before = await rows(database, "users")
    path = next((folder / "kpis").glob("*.yaml"))
    key = path.stem
    path.write_text(path.read_text().replace("question: ", "question: Really, "))
    done = await asyncio.to_thread(gateways[0].command, "contract", "apply", str(folder))
    assert f"changed  KPI {key}" in done.stdout
    assert "worked out anew" not in done.stdout
    for gateway in gateways:
        query = "query ($key: ID!) { kpi(key: $key) { question } }"
        await asyncio.to_thread(
            gateway.until, query, lambda data: data["kpi"]["question"].startswith("Really"), key=key
        )
    assert await rows(database, "users") == before


async def test_a_folder_with_a_mistake_is_refused_and_nothing_happens(
    gateways: list[RunningGateway], folder: Path, database: Database
) -> None:
    one = gateways[0]
    path = folder / "journeys" / "purchase.yaml"
    path.write_text(path.read_text().replace("abandonedAfter:", "abandonnedAfter:"))
    for arguments in (["--dry-run"], []):
        refused = one.command("contract", "apply", str(folder), *arguments, check=False)
        assert refused.returncode == 1
        assert "shop/journeys/purchase.yaml:12: " in refused.stderr
        assert "did you mean 'abandonedAfter'" in refused.stderr
    nowhere = one.command("contract", "apply", str(folder / "nowhere"), check=False)
    assert nowhere.returncode == 1
    assert "there is no such folder" in nowhere.stderr
    assert [row["_id"] for row in await database.find("contracts", {})] == [1]
    assert one.graphql("{ journeyMaps { key } }")["journeyMaps"][0] == {"key": "purchase"}


async def test_other_rules_under_the_same_version_are_refused(
    gateways: list[RunningGateway], folder: Path, database: Database
) -> None:
    one = gateways[0]
    change_map(folder, version=2)
    for arguments, said in ((["--dry-run"], "It would be refused"), ([], "")):
        refused = one.command("contract", "apply", str(folder), *arguments, check=False)
        assert (refused.returncode, said in refused.stdout) == (1, True)
        assert "shop/journeys/purchase.yaml: " in refused.stderr
        assert "raise `version` to 3" in refused.stderr
    plain = one.command("contract", "apply", str(folder), "--dry-run", "--json", check=False)
    assert (plain.returncode, json.loads(plain.stdout)["wouldApply"]) == (1, False)
    assert [row["_id"] for row in await database.find("contracts", {})] == [1]


async def test_a_dry_run_says_what_would_change_and_changes_nothing(
    gateways: list[RunningGateway], folder: Path, database: Database
) -> None:
    one = gateways[0]
    sent = [message for user, kind in users("u", 30).items() for message in visit(user, kind, 0)]
    one.batch(*sent)
    await derived(database, len(sent))
    old = await told_by_the_oracle(database, least=1)
    before = await everything(database)
    change_map(folder)
    (folder / "kpis" / "session_length.yaml").unlink()
    refused = one.command("contract", "apply", str(folder), "--dry-run", "--json", check=False)
    assert (refused.returncode, json.loads(refused.stdout)["wouldApply"]) == (1, False), "a KPI is taken away"
    apply = ("contract", "apply", str(folder), "--allow-breaking", "--dry-run")
    plain = json.loads(one.command(*apply, "--json").stdout)
    assert (plain["wouldApply"], plain["current"]["version"]) == (True, 1)
    assert plain["differences"] == [
        {"kind": "map", "key": "purchase", "change": "changed"},
        {"kind": "kpi", "key": "session_length", "change": "removed"},
    ]
    (folder / "segments").mkdir(exist_ok=True)
    (folder / "segments" / "browsing.yaml").write_text(BROWSING)
    tried = json.loads(one.command(*apply, "--last", "30d", "--json").stdout)
    same = json.loads(one.command("rebuild", "--map", str(folder), "--dry-run", "--json").stdout)
    assert tried["trial"]["maps"] == same["trial"]["maps"]
    new = await told_by_the_oracle(database, least=2)
    counted = tried["trial"]["maps"]["purchase"]
    places = {(row["stage"], row["status"]): (row["before"], row["after"]) for row in counted["runs"]}
    for index, runs in enumerate((old, new)):
        said = {place: numbers[index] for place, numbers in places.items() if numbers[index]}
        stands = [(reached[-1], status) for each in runs.values() for status, reached, _ in each]
        assert said == {place: stands.count(place) for place in stands}
    assert tried["trial"]["users"] == counted["users"] == 30
    assert counted["usersWithOtherRuns"] == counted["usersWhoseStageChanges"] == 10
    assert counted["moves"] == [
        {
            "from": {"stage": "cart", "status": "active"},
            "to": {"stage": "browse", "status": "active"},
            "users": 10,
        }
    ]
    latest = [runs[-1] for runs in new.values() if runs]
    browsing = sum(status == "active" and reached[-1] == "browse" for status, reached, _ in latest)
    assert browsing >= 10
    assert tried["trial"]["segments"]["browsing"] == {"before": 0, "after": browsing, "entered": browsing, "left": 0}
    printed = one.command(*apply, "--last", "30d").stdout
    assert f"segment browsing: 0 users before, {browsing} after; {browsing} enter it, 0 leave it" in printed
    assert "10 users  cart (active) -> browse (active)" in printed
    assert await everything(database) == before


async def test_versions_are_listed_and_shown(gateways: list[RunningGateway], folder: Path) -> None:
    one = gateways[0]
    again = one.command("contract", "apply", str(folder))
    assert "Nothing to do: version 1 says the same." in again.stdout
    change_map(folder)
    one.command("contract", "apply", str(folder), "--note", "carts are for two")
    listed = json.loads(one.command("contract", "list", "--json").stdout)
    assert [(row["version"], row["appliedBy"], row["note"]) for row in listed] == [
        (2, "contract apply", "carts are for two"),
        (1, "start", ""),
    ]
    assert "carts are for two" in one.command("contract", "list").stdout
    shown = json.loads(one.command("contract", "show", "--json").stdout)
    assert shown["files"]["journeys/purchase.yaml"] == (folder / "journeys" / "purchase.yaml").read_text()
    assert MANY_ADDED not in one.command("contract", "show", "1").stdout
    missing = one.command("contract", "show", "3", check=False)
    assert missing.returncode == 1
    assert "no such version" in missing.stderr
