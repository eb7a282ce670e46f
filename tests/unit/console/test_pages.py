"""How the page is served: which files, under which headers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from gateway.console.pages import STATIC, page_routes

ASSETS = sorted(path.name for path in STATIC.iterdir())
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=page_routes())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as client:
        yield client


def policy(answer: httpx2.Response) -> dict[str, str]:
    """The Content-Security-Policy by directive."""
    directives = answer.headers["content-security-policy"].split("; ")
    return {name: value for name, _, value in (directive.partition(" ") for directive in directives)}


async def test_the_page_may_load_run_and_reach_nothing_but_this_gateway(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert policy(answer) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }


@pytest.mark.parametrize("path", ["/", *(f"/assets/{name}" for name in ASSETS)])
async def test_everything_is_served_with_its_type_and_the_same_headers(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)

    assert answer.status_code == 200
    kind = KINDS[Path(path).suffix or ".html"]
    assert answer.headers["content-type"].partition(";")[0].replace("application/javascript", KINDS[".js"]) == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert policy(answer)["default-src"] == "'none'"


async def test_a_file_the_browser_has_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    first = await client.get("/assets/main.js")
    again = await client.get("/assets/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("path", ["/assets/nothing.js", "/assets/", "/assets/screenshot.png", "/assets/README.md"])
async def test_only_what_the_page_is_made_of_is_served(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/assets/../pages.py", "/assets/%2e%2e/pages.py", "/assets/..%2fpages.py"])
async def test_no_path_leads_out_of_the_folder(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/assets/main.js"])
async def test_files_cannot_be_written(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.post(path)).status_code == 405


async def test_every_file_that_is_named_exists_and_every_file_is_named(client: httpx2.AsyncClient) -> None:
    index = (await client.get("/")).text
    named = set(re.findall(r'(?:href|src)="/assets/([^"]+)"', index))
    waiting = list(named)
    while waiting:
        text = (await client.get(f"/assets/{waiting.pop()}")).text
        found = set(re.findall(r'^import .* from "\./([^"]+)";$', text, re.MULTILINE)) - named
        named |= found
        waiting += found
    assert named == set(ASSETS) - {"index.html"}
