"""GraphiQL in a real browser: from here alone, signed in by the page, every example with an answer."""

from __future__ import annotations

import asyncio
import re
import tarfile
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from graphql import build_schema
from graphql.utilities import BreakingChange, find_schema_changes
from strawberry.http.ides import get_graphql_ide_html

from gateway.api import graphiql_files
from gateway.api.graphiql import CDN, Example, examples
from gateway.api.graphiql_files import PageFile, page_files
from gateway.app.building import Gateway, open_gateway
from gateway.app.serving import listen, serving
from gateway.pipeline.intake import Delivery
from gateway.settings import Settings
from tests.flow.browser import Page, chromium_binary, open_page
from tests.pace import PATIENCE

WORKSPACE = "main"
LONG = PATIENCE


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway in development, with a few journeys."""

    gateway: Gateway
    url: str

    async def code(self) -> str:
        return await self.gateway.keyring.create_page_code(WORKSPACE, minutes=5)

    async def happens(self, *events: str, user: str) -> None:
        messages: list[Any] = [{"type": "track", "event": event, "userId": user} for event in events]
        await self.gateway.intake.ingest(Delivery(WORKSPACE, "test", messages))

    async def mint(self, body: dict[str, str], token: str | None = None) -> str:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(base_url=self.url) as client:
            return str((await client.post("/v1/token", json=body, headers=headers)).json()["token"])


@pytest.fixture(scope="module")
async def served(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    settings = Settings(
        mongo_uri=mongo_uri,
        database=f"graphiql_{uuid.uuid4().hex}",
        data_dir=tmp_path_factory.mktemp("graphiql"),
        drain_seconds=0.0,
    )
    async with open_gateway(settings) as gateway, gateway.deriving():
        with listen("127.0.0.1", 0) as listener:
            async with serving(gateway, listener):
                served = Served(gateway, f"http://127.0.0.1:{listener.getsockname()[1]}")
                await served.happens("Product List Viewed", "Product Added", user="ada")
                await served.happens("Product List Viewed", "Order Completed", user="bob")
                while await gateway.events.underived(WORKSPACE):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                yield served
        await gateway.database.drop_database()


# -- the files --------------------------------------------------------------------------------------------------------


def test_the_files_are_those_of_strawberrys_page() -> None:
    page = get_graphql_ide_html("graphiql")
    named = re.findall(rf'(?:src|href)="{CDN}([^"]+)"\s+integrity="([^"]+)"', page)
    assert len(named) == page.count(CDN) == 7
    assert [(one.name, one.integrity) for one in page_files()] == named


def test_a_file_that_is_not_as_published_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a@1").mkdir()
    (tmp_path / "a@1" / "b.js").write_text("1")
    good = "sha384-R7KBEl8IJ3l4CUDv2S8QnxHqyPLPV0tTQGm3AlYE1hMTRQ9XtPsYIfJiSjDNyYpN"
    assert not PageFile("a@1", "b.js", good).is_good(tmp_path)
    assert not PageFile("a@1", "c.js", good).is_good(tmp_path)
    assert set(graphiql_files.missing(tmp_path)) == {one.name for one in page_files()}


def test_without_npm_nothing_is_fetched_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(graphiql_files.FetchError, match="npm is not on PATH"):
        graphiql_files.fetch(tmp_path / "npm")
    assert not (tmp_path / "npm").exists()


NPM = """#!/bin/sh
while [ "$1" != --pack-destination ]; do shift; done
cp "{archive}" "$2/"
printf '[%s]' '{told}'
"""


def test_what_npm_gives_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "other.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(Path(__file__), "package/index.js")
    told = ",".join(f'{{"id": "{one.package}", "filename": "other.tgz"}}' for one in page_files())
    npm = tmp_path / "npm"
    npm.write_text(NPM.format(archive=archive, told=told))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(graphiql_files.FetchError, match="something else than expected"):
        graphiql_files.fetch(tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


# -- the examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "example", [one for one in examples() if "subscription" not in one.query], ids=lambda one: one.name
)
async def test_every_example_has_an_answer(served: Served, example: Example) -> None:
    token = await served.mint({"code": await served.code()})
    if example.caller == "visitor":
        token = await served.mint({"anonymousId": f"visitor-{example.name}"}, token)
    async with httpx2.AsyncClient(base_url=served.url) as client:
        answer = await client.post(
            "/graphql",
            json={"query": example.query, "variables": example.variables},
            headers={"authorization": f"Bearer {token}", "accept": "application/graphql-response+json"},
        )
    assert answer.status_code == 200, answer.text
    assert "errors" not in answer.json(), answer.text


def test_examples_show_one_of_everything() -> None:
    kinds = {kind for one in examples() for kind in ("query", "mutation", "subscription") if f"\n{kind} " in one.query}
    assert kinds == {"query", "mutation", "subscription"}
    assert {one.caller for one in examples()} == {"page", "visitor"}
    assert not any("# as:" in one.query or "# variables:" in one.query for one in examples())


# -- the page ---------------------------------------------------------------------------------------------------------


async def test_without_its_files_the_page_says_what_to_run(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.graphiql.FOLDER", tmp_path)
    async with httpx2.AsyncClient(base_url=served.url) as client:
        page = await client.get("/graphql", headers={"accept": "text/html"})
    assert page.status_code == 503
    assert "make graphiql" in page.text
    assert "graphiql@3.8.3/graphiql.min.js" in page.text


async def test_the_schema_is_there_as_text(served: Served) -> None:
    published = (Path(__file__).parents[2] / "schema" / "api.graphql").read_text()
    async with httpx2.AsyncClient(base_url=served.url) as client:
        first = await client.get("/schema.graphql")
        assert "type OrderCompletedEvent implements Event & Node {" in first.text
        changes = find_schema_changes(build_schema(published), build_schema(first.text))
        assert not [change for change in changes if isinstance(change, BreakingChange)]
        assert first.headers["content-type"] == "text/plain; charset=utf-8"
        again = await client.get("/schema.graphql", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        both = [await client.post(path, json={"query": "{ __typename }"}) for path in ("/graphql", "/graphql/")]
        assert [one.status_code for one in both] == [401, 401]


RUN = "document.querySelector('.graphiql-execute-button')"
SHOWN = "document.querySelector('.result-window .CodeMirror')?.CodeMirror.getValue() ?? ''"
EDITOR = ".graphiql-query-editor .CodeMirror"
QUERY = f"document.querySelector('{EDITOR}')?.CodeMirror.getValue() ?? ''"


async def visit(page: Page, url: str) -> None:
    """Without waiting for all of it: the script is 3.5 MB, which a busy machine takes its time to read."""
    await page.call("Page.navigate", {"url": url})
    await page.until("location.href !== 'about:blank'", LONG)


async def choose(page: Page, tab: str) -> None:
    await page.until(
        f"[...document.querySelectorAll('.graphiql-tab-button')].some((one) => one.textContent === '{tab}')"
    )
    await page.evaluate(
        f"[...document.querySelectorAll('.graphiql-tab-button')].find((one) => one.textContent === '{tab}').click()"
    )
    # GraphiQL takes a moment to read the operation's name, and would send that of the tab before: people are slower.
    await page.until(f"document.querySelector('{EDITOR}').CodeMirror.operationName === '{tab}'", LONG)


async def run(page: Page, tab: str, answered: str) -> str:
    await choose(page, tab)
    await page.evaluate(f"{RUN}.click()")
    return str(await page.until(f"({SHOWN}).includes('{answered}') && ({SHOWN})", LONG))


@pytest.mark.peers
@pytest.mark.skipif(chromium_binary() is None, reason="no Chromium on this machine; `make peers` installs it")
@pytest.mark.skipif(bool(graphiql_files.missing()), reason="GraphiQL's files are not here; `make graphiql` gets them")
async def test_everything_works_and_nothing_is_asked_elsewhere(served: Served, tmp_path: Path) -> None:
    async with open_page(str(chromium_binary()), tmp_path / "profile") as page:
        await page.resize(1280, 900)
        await visit(page, f"{served.url}/graphql")
        assert "journey-gateway page" in await run(page, "JourneyMap", "Nobody is signed in")

        await visit(page, f"{served.url}/?#code={await served.code()}")
        await page.until("sessionStorage.getItem('journey-gateway.page')", LONG)
        await visit(page, f"{served.url}/graphql")
        await page.until(f"{RUN} && ({QUERY}).includes('JourneyMap')", LONG)
        # Whoever came before: ada and bob, and visitors of other tests.
        assert re.search('"reached": [1-9]', await run(page, "JourneyMap", '"stages"'))
        assert '"hasNextPage": false' in await run(page, "Users", '"pageInfo"')
        assert '"steps"' in await run(page, "Conversion", '"steps"')
        await run(page, "Track", "ACCEPTED")
        async with asyncio.timeout(LONG):
            while '"me": null' in await run(page, "MyJourney", '"me"'):  # noqa: ASYNC110 - until it is derived
                await asyncio.sleep(0.1)
        assert '"label": "Browsing"' in await page.evaluate(SHOWN)

        await run(page, "JourneyChanged", '"cursor"')
        await served.happens("Checkout Started", user="ada")
        await page.until(f'({SHOWN}).includes(\'"label": "Checking out"\')', LONG)
        await page.evaluate(f"{RUN}.click()")

        kept = await page.evaluate("JSON.stringify({...localStorage}) + document.cookie")
        assert "Bearer" not in kept
        hosts = {request["url"].split("/")[2] for request in page.requests if "://" in request["url"]}
        assert hosts == {served.url.split("/")[2]}
        assert page.complaints == []

        await page.call("Page.reload")
        await page.until(f"{RUN} && ({QUERY}).includes('JourneyChanged')", LONG)
        assert await page.evaluate("document.querySelectorAll('.graphiql-tab-button').length") == len(examples())
        await run(page, "Users", '"pageInfo"')

        # What a browser has by itself, EventSource, opens a reserved stream without any header.
        assert await page.evaluate(NATIVE) == {"data": {"id": "1", "payload": {"data": {"__typename": "Query"}}}}


NATIVE = """(async () => {
  const { token } = JSON.parse(sessionStorage.getItem("journey-gateway.page"));
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const ticket = await (await fetch("/graphql", { method: "PUT", headers })).text();
  const source = new EventSource(`/graphql?token=${ticket}`);
  const told = new Promise((resolve) => source.addEventListener("next", ({ data }) => resolve(JSON.parse(data))));
  await fetch("/graphql", {
    method: "POST",
    headers: { ...headers, "x-graphql-event-stream-token": ticket },
    body: JSON.stringify({ query: "{ __typename }", extensions: { operationId: "1" } }),
  });
  const data = await told;
  source.close();
  return { data };
})()"""
