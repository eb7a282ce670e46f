"""GraphiQL, in development: Strawberry's page with its files from here, our examples in its tabs, and no other host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from strawberry.http.ides import get_graphql_ide_html

from gateway.api.graphiql_files import FOLDER, STATIC, page_files
from gateway.clock import random_secret

PATH = "/graphiql"
EXAMPLES = Path(__file__).parent / "examples"
CDN = "https://unpkg.com/"

_INLINE_SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)
_ICON = re.compile(r'<link\s+rel="icon".*?/>', re.DOTALL)
_NOTE = re.compile(r"# (as|variables): (.*)\n")
_NONCE = "{nonce}"
_FOR_EVER = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>GraphiQL is not built</title>
<h1>GraphiQL is not built</h1>
<p>Its files come from npm, and these are not here: {missing}.</p>
<p>In the folder of the gateway's sources, with Node and npm on the PATH, run <code>make graphiql</code>
(or <code>python -m gateway.api.graphiql_files</code>), then reload this page. Published packages have them inside.</p>
<p>Everything else works: queries and mutations by POST to this address, the schema at
<a href="/schema.graphql">/schema.graphql</a>.</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class Example:
    """An operation to begin with. `caller` says whose token it is for: the page's, or one visitor's."""

    name: str
    caller: str
    variables: dict[str, Any]
    query: str

    @property
    def tab(self) -> dict[str, str | None]:
        """As GraphiQL takes it; the page's script puts the token in place of `<page>` or `<visitor>`."""
        variables = orjson.dumps(self.variables, option=orjson.OPT_INDENT_2).decode() if self.variables else None
        headers = orjson.dumps({"Authorization": f"Bearer <{self.caller}>"}, option=orjson.OPT_INDENT_2).decode()
        return {"query": self.query, "variables": variables, "headers": headers}


def examples() -> list[Example]:
    """Those in examples/, in the order of their names; `# as:` and `# variables:` are notes to this function."""
    found = []
    for file in sorted(EXAMPLES.glob("*.graphql")):
        text = file.read_text(encoding="utf-8")
        notes = dict(_NOTE.findall(text))
        variables = orjson.loads(notes.get("variables", "{}"))
        found.append(Example(file.stem, notes.get("as", "page"), variables, _NOTE.sub("", text)))
    return found


def graphiql_routes() -> list[BaseRoute]:
    """What the page is made of. The page itself is at the GraphQL path."""
    return [
        Route(f"{PATH}/start.js", _start, name="graphiql"),
        Mount(f"{PATH}/npm", _Versioned(directory=FOLDER, check_dir=False), name="graphiql files"),
    ]


def graphiql_page() -> Response:
    """The page, or what to do to get it."""
    missing = [one.name for one in page_files() if not (FOLDER / one.name).exists()]
    if missing:
        listed = ", ".join(f"<code>{escape(name)}</code>" for name in missing)
        return HTMLResponse(_NOT_BUILT.format(missing=listed), 503, _headers("'none'"))
    nonce = random_secret()
    return HTMLResponse(_template().replace(_NONCE, nonce), headers=_headers(f"'nonce-{nonce}'"))


@cache
def _template() -> str:
    """Strawberry's page, its seven files at our addresses with their hashes, its own script replaced by ours."""
    tabs = orjson.dumps([one.tab for one in examples()]).decode().replace("<", "\\u003c")
    ours = (
        f'<script type="application/json" id="examples">{tabs}</script>\n'
        f'    <script type="module" src="{PATH}/start.js"></script>'
    )
    page = get_graphql_ide_html("graphiql").replace(CDN, f"{PATH}/npm/")
    page = _INLINE_SCRIPT.sub(lambda _: ours, page)
    page = _ICON.sub('<link rel="icon" href="/assets/icon.svg" type="image/svg+xml" />', page)
    page = page.replace("<title>Strawberry GraphiQL</title>", "<title>GraphiQL · Journey Gateway</title>")
    return re.sub(r"<(script|style|link)\b", rf'<\1 nonce="{_NONCE}"', page)


def _headers(ours: str) -> dict[str, str]:
    policy = (
        "default-src 'none'",
        f"script-src {ours}",
        f"style-src {ours}",
        "img-src 'self' data:",
        "font-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "vary": "Accept",
    }


async def _start(request: Request) -> Response:
    script = (STATIC / "graphiql.js").read_text(encoding="utf-8")
    return Response(script, media_type="text/javascript", headers={"cache-control": "no-cache"})


class _Versioned(StaticFiles):
    """Files whose address holds their version."""

    async def check_config(self) -> None:
        """Nothing to check: where the folder is not built, no file is found in it."""

    def file_response(self, *given: Any, **more: Any) -> Response:
        response = super().file_response(*given, **more)
        response.headers.update(_FOR_EVER)
        return response
