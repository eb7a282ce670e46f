"""What a start makes of the contract folder: the first stores it, development applies it, production only tells."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.app.building import open_gateway
from gateway.contract import Contract
from gateway.errors import ContractError, SetupError
from gateway.settings import Settings
from gateway.store.contracts import Version, Versions
from gateway.store.database import Database, connect
from tests.flow.conftest import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "schema" / "shop", tmp_path / "contracts" / "shop"))


@pytest.fixture
async def store(mongo_uri: str) -> AsyncIterator[Database]:
    database = connect(mongo_uri, f"start_{uuid.uuid4().hex}")
    yield database
    await database.drop_database()
    await database.close()


async def start(store: Database, mongo_uri: str, folder: Path, *, serves: bool = True, **settings: Any) -> str:
    """Start and stop; the name of the map that was in force."""
    wanted = Settings(mongo_uri=mongo_uri, database=store.name, schema_dir=folder.parent, **settings)
    async with open_gateway(wanted, serves=serves) as gateway:
        return gateway.contract.journeys["purchase"].name


async def versions(store: Database) -> list[Version]:
    return await Versions(store).heads()


def rename(folder: Path, old: str, new: str) -> None:
    path = folder / "journeys" / "purchase.yaml"
    assert f"name: {old}" in path.read_text()
    path.write_text(path.read_text().replace(f"name: {old}", f"name: {new}"))


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
async def test_in_development_a_changed_file_and_a_restart_are_enough(
    store: Database, mongo_uri: str, folder: Path, driver: str
) -> None:
    assert await start(store, mongo_uri, folder, driver=driver) == "Buying in the shop"
    assert await start(store, mongo_uri, folder) == "Buying in the shop"
    assert [version.number for version in await versions(store)] == [1]
    rename(folder, "Buying in the shop", "Shopping")
    assert await start(store, mongo_uri, folder, serves=False) == "Buying in the shop", "a command is no start"
    assert await start(store, mongo_uri, folder, driver=driver) == "Shopping"
    assert [(one.number, one.applied_by) for one in await versions(store)] == [(2, "start"), (1, "start")]
    rename(folder, "Shopping", "[Shopping")
    with pytest.raises(ContractError, match=r"shop/journeys/purchase\.yaml:"):
        await start(store, mongo_uri, folder)


async def test_in_production_the_stored_version_counts_and_the_log_tells(
    store: Database, mongo_uri: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="gateway.app")
    assert await start(store, mongo_uri, folder, env="production") == "Buying in the shop"
    assert caplog.messages == []
    rename(folder, "Buying in the shop", "Shopping")
    assert await start(store, mongo_uri, folder, env="production") == "Buying in the shop"
    said = "the contract folder differs from version 1, which counts: `journey-gateway contract apply`"
    assert caplog.messages == [said]
    shutil.rmtree(folder)
    assert await start(store, mongo_uri, folder, env="production") == "Buying in the shop"
    assert caplog.messages[1:] == ["the contract folder cannot be used, version 1 counts"]
    assert [version.number for version in await versions(store)] == [1]


async def test_the_first_start_needs_a_folder_that_loads(store: Database, mongo_uri: str, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(ContractError, match="there is no such folder"):
        await start(store, mongo_uri, folder, env="production")


async def test_the_first_start_needs_a_folder_that_the_api_can_be_built_with(
    store: Database, mongo_uri: str, folder: Path
) -> None:
    keys = ("gift_kind", "giftKind")  # in the API one type
    with (folder / "properties.yaml").open("a") as plan:
        plan.writelines(f"  - {{key: {key}, type: string, brief: b., enum: [{key}]}}\n" for key in keys)
    for key, word in zip(keys, ("sent", "got"), strict=True):
        text = f"name: Gift {word}\nmajor: 1\nbrief: b.\nowners: [ux]\nproperties: [{{property: {key}}}]\n"
        (folder / "events" / f"gift_{word}.1.yaml").write_text(text)
    with pytest.raises(ContractError, match="GiftKindValue, which is that of another"):
        await start(store, mongo_uri, folder)
    assert await versions(store) == []


async def test_a_version_of_a_newer_gateway_stops_the_start(store: Database, mongo_uri: str, folder: Path) -> None:
    await start(store, mongo_uri, folder)
    newer = Contract("shop", {}, {}, files={"journeys/purchase.yaml": "key: purchase\nloyalty: gold\n"})
    await Versions(store).apply(newer, now=1, by="a newer gateway")
    with pytest.raises(SetupError) as refused:
        await start(store, mongo_uri, folder, env="production")
    assert refused.value.message.startswith("Version 2 of the contract, stored by a newer gateway, does not load")
    assert "shop/journeys/purchase.yaml:2: unknown key 'loyalty'" in refused.value.message
    assert "contract apply" in refused.value.hint
