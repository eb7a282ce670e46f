"""The README's recipes for GraphQL clients, as they stand there, on a line that breaks and with tokens that expire."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.access.tokens import Tokens
from tests.flow.conftest import ROOT
from tests.flow.documents import blocks_of
from tests.flow.projects import MODULES, PEERS, README, Program, finished, needs_node, recipes, running_program
from tests.flow.stages import Stage, open_stage

STEPS = (
    ("Product Added", "Something in the cart"),
    ("Checkout Started", "Checking out"),
    ("Order Completed", "Bought"),
)
SENT_BEFORE = 4
# Relay's own way to see what is in its store; a component would use a hook.
RELAY_SHOWS_ITS_STORE = """
import { createOperationDescriptor } from "relay-runtime";
const shown = createOperationDescriptor(ME, {});
environment.retain(shown);
const show = ({ data }) => console.log("me:", data.me?.journey?.stage?.label);
environment.subscribe(environment.lookup(shown.fragment), show);
"""
# A machine whose clock is an hour slow takes every token for good when it has long expired.
SLOW_CLOCK = "data:text/javascript,const now = Date.now; Date.now = () => now() - 3600_000;"


@pytest.fixture(scope="module")
async def stage(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with open_stage(mongo_uri, tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture(scope="module")
async def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipes for JavaScript."""
    return await compiled(recipes(tmp_path_factory.mktemp("project") / "recipes"))


async def compiled(folder: Path) -> Path:
    """Relay's compiler and its plugin for Babel over the recipe."""
    (folder / "api.graphql").write_text((ROOT / "schema" / "api.graphql").read_text())
    with (folder / "relay.js").open("a") as recipe:
        recipe.write(RELAY_SHOWS_ITS_STORE)
    (folder / "relay.config.json").write_text(
        """{ "src": ".", "schema": "api.graphql", "language": "javascript", "eagerEsModules": true,
             "customScalarTypes": { "Cursor": "string", "DateTime": "string", "JSON": "unknown" } }"""
    )
    code, said = await finished(str(MODULES / ".bin" / "relay-compiler"), "relay.config.json", folder=folder)
    assert code == 0, said
    code, said = await finished("node", str(PEERS / "compile_relay.js"), str(folder / "relay.js"), folder=folder)
    assert code == 0, said
    return folder


async def walk(stage: Stage, program: Program, user: str) -> None:
    """The recipe's own work, then a journey whose every step happens while the line is cut."""
    await program.prints("sent: ACCEPTED", "is in Browsing", "events: ", "me: ")
    for event, label in STEPS:
        stage.line.cut()
        await stage.happens(user, event)
        stage.line.mend()
        await program.prints(f"moved to {label}")
    assert program.those("events: ")[0] in (str(SENT_BEFORE), str(SENT_BEFORE + 1))
    await asyncio.sleep(0.3)  # for what might come twice
    assert program.those("moved to") == [label for _, label in STEPS], program.lines


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[*needs_node, pytest.mark.matrix("Client", f"npm:{package}", *columns)])
        for columns in [("query", "mutation", "subscription", "pagination", "resume")]
        for name, package in [("apollo", "@apollo/client"), ("urql", "@urql/core"), ("relay", "relay-runtime")]
    ],
)
async def test_nothing_is_lost_or_comes_twice_and_the_cache_follows(stage: Stage, project: Path, name: str) -> None:
    user = f"{name}-walks"
    await stage.happens(user, *["Product Viewed"] * SENT_BEFORE)
    given = stage.environment(user)
    async with running_program("node", f"{name}.js", folder=project, environment=given) as program:
        await walk(stage, program, user)
        await program.prints("me: Bought")


@pytest.mark.matrix("Client", "pypi:gql", "query", "mutation", "subscription", "pagination", "resume")
async def test_nothing_is_lost_or_comes_twice_with_gql(stage: Stage, tmp_path: Path) -> None:
    (recipe,) = [block.text for block in blocks_of(README) if (block.language, block.mark) == ("python", "peers")]
    await stage.happens("gql-walks", *["Product Viewed"] * SENT_BEFORE)
    given = stage.environment("gql-walks")
    async with running_program(sys.executable, "-c", recipe, folder=tmp_path, environment=given) as program:
        await walk(stage, program, "gql-walks")


@pytest.fixture
def three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens that are good for so long."""
    monkeypatch.setattr(Tokens, "expiry", lambda self, *_: (self._clock.now() // 1000 + 3) * 1000)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("apollo", (), id="renewed-before", marks=needs_node),
        pytest.param("urql", (f"--import={SLOW_CLOCK}",), id="expired-unnoticed", marks=needs_node),
    ],
)
@pytest.mark.usefixtures("three_seconds")
async def test_a_subscription_outlives_its_token(
    stage: Stage, project: Path, name: str, options: tuple[str, ...]
) -> None:
    user = f"{name}-stays"
    await stage.happens(user, "Product Viewed")
    given = stage.environment(user)
    async with running_program("node", *options, f"{name}.js", folder=project, environment=given) as program:
        await program.prints("is in Browsing")
        before = stage.line.connections
        for event, label in STEPS:
            await asyncio.sleep(1.5)
            await stage.happens(user, event)
            await program.prints(f"moved to {label}")
        assert stage.line.connections > before
        assert program.those("moved to") == [label for _, label in STEPS], program.lines
    assert not any("rror" in line for line in program.lines), program.lines
