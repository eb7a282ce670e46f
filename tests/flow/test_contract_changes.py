"""`contract plan`, `apply`, `pull`, `patch` and `digest` on a folder, and on what the API did meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.contract import contract
from gateway.clock import ServerClock
from gateway.model.actor import Actor
from gateway.model.scope import Scope
from gateway.quality.collaboration import Collaboration
from gateway.store.database import connect
from tests.unit.contract.orders import ORDERS

EVENT, KPI, PLAN = "events/order_completed.1.yaml", "kpis/easy.yaml", "properties.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path, text in ORDERS.items():
        (tmp_path / "orders" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "orders" / path).write_text(text)
    return tmp_path / "orders"


def edit(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text()
    assert text.count(old) == 1
    (folder / path).write_text(text.replace(old, new))


def test_folder_and_api_are_two_ways_into_the_same_versions(
    gateway_environment: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(contract, [str(one) for one in arguments], env=gateway_environment)

    assert "would become version 1" in run("plan", folder).output
    assert run("apply", folder).exit_code == 0
    assert "Nothing would change" in run("plan", folder).output

    # What breaks needs a word, what a KPI reads is never taken away.
    edit(folder, PLAN, "maxLength: 20", "maxLength: 10")
    planned = run("plan", folder, "--json")
    assert planned.exit_code == 1
    assert json.loads(planned.stdout)["grade"] == "breaking"
    assert run("plan", folder, "--fail-on", "never").exit_code == 0
    refused = run("apply", folder)
    assert refused.exit_code == 1
    assert "--allow-breaking" in str(refused.exception)
    assert run("apply", folder, "--allow-breaking", "--note", "shorter codes").exit_code == 0
    edit(folder, EVENT, "  - {property: payment, required: true}\n", "")
    never = run("apply", folder, "--allow-breaking")
    assert never.exit_code == 1
    assert "KPI cards" in str(never.exception)
    (folder / EVENT).write_text(ORDERS[EVENT])

    proposal = asyncio.run(_proposed(gateway_environment, apply=False))
    patch = run("patch", f"proposal_{proposal}").stdout
    assert patch.startswith(f"diff --git a/{KPI} b/{KPI}\n")
    asyncio.run(_proposed(gateway_environment, apply=True))
    behind = run("plan", folder, "--json")
    assert json.loads(behind.stdout)["behind"]
    assert "contract pull" in behind.stderr

    taken_back = run("apply", folder, "--dry-run")
    assert f"{KPI} is again what version 2 said; version 3, applied by proposal" in taken_back.stderr

    # A folder with work of its own is left alone.
    edit(folder, KPI, "Is it easy?", "Easy?")
    assert run("pull", folder).exit_code == 1
    edit(folder, KPI, "Easy?", "Is it easy?")
    (folder / "NOTES.md").write_text("ours")
    pulled = run("pull", folder)
    assert pulled.exit_code == 0, pulled.output
    assert "Is it really easy?" in (folder / KPI).read_text()
    assert (folder / "NOTES.md").read_text() == "ours"
    assert "Nothing would change" in run("plan", folder).output
    fresh = tmp_path / "fresh" / "orders"
    assert run("pull", fresh).exit_code == 0
    assert (fresh / KPI).read_bytes() == (folder / KPI).read_bytes()
    assert run("diff", folder, fresh).exit_code == 0
    assert "KPI easy is described otherwise" in run("diff", 2, 3).output

    told = run("digest").output
    assert "version 2" in told
    assert "shorter codes" in told
    assert "breaking: property coupon has the maxLength 10" in told
    assert [one["number"] for one in json.loads(run("digest", "--json").stdout)["versions"]] == [1, 2, 3]


async def _proposed(environment: dict[str, str], *, apply: bool) -> str:
    database = connect(environment["GATEWAY_MONGO_URI"], environment["GATEWAY_DATABASE"])
    proposals, scope = Collaboration.of(database, ServerClock()).proposals, Scope.system("main")
    files = {KPI: ORDERS[KPI].replace("Is it easy?", "Is it really easy?")}
    proposal, _ = await proposals.propose(scope, Actor("one", ("ux",)), files, "because")
    if apply:
        await proposals.approve(scope, Actor("two"), proposal.id, "", apply=True, allow_breaking=False)
    await database.close()
    return proposal.id
