"""schema/openapi.yaml is valid OpenAPI, and describes exactly the paths and methods that the gateway serves.

Served is what does not answer 405: doors are ASGI applications, whose routes name no methods. Not described are `HEAD`,
which comes with `GET`, `OPTIONS`, which browsers may ask of every path, and WebSockets, for which OpenAPI has no words.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import httpx2
import jsonschema_rs
import pytest
import schemathesis
import yaml
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp

from gateway.api.schema import NO_CONTRACT
from gateway.app.building import Gateway
from gateway.app.cors import Cors
from gateway.app.metrics import Metrics
from gateway.app.roles import DUTIES
from gateway.app.serving import build_app
from gateway.app.spans import Spans
from gateway.pipeline.contracts import Contracts
from gateway.plugin.configuring import Plugged
from gateway.plugin.host import Host
from gateway.settings import Settings
from tests.rules.sources import ROOT

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT", "TRACE")
_PARAMETER = re.compile(r"\{[^}]*\}")


def document() -> dict[str, Any]:
    # No aliases: schemathesis changes what it is given.
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "schema/openapi.yaml").read_text(encoding="utf-8"))
    return copy.deepcopy(loaded)


def described(openapi: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (path, method.upper())
        for path, item in openapi["paths"].items()
        for method in item
        if method.upper() in (*METHODS, "HEAD", "OPTIONS")
    }


async def served(routes: Sequence[BaseRoute], app: ASGIApp) -> set[tuple[str, str]]:
    found = set()
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for path in paths(routes):
            for method in METHODS:
                if (await client.request(method, _PARAMETER.sub("x", path))).status_code != 405:
                    found.add((path, method))
    return found


def paths(routes: Sequence[BaseRoute]) -> list[str]:
    """Their templates, those with and without a slash at the end as one; fails for a kind of route it does not know."""
    found = {}
    for route in routes:
        match route:
            case Route(path=path):
                found[path.rstrip("/") or "/"] = True
            case Mount(path=path):
                found[f"{path}/{{path}}"] = True
            case WebSocketRoute():
                pass
            case _:
                raise AssertionError(f"what does {type(route).__name__} serve?")
    return list(found)


def differences(openapi: set[tuple[str, str]], app: set[tuple[str, str]]) -> list[str]:
    return [
        *(f"{method} {path} is not in schema/openapi.yaml" for path, method in sorted(app - openapi)),
        *(f"{method} {path} is described and not served" for path, method in sorted(openapi - app)),
    ]


def doors() -> tuple[Starlette, ASGIApp]:
    """The application of role `all`, with nothing behind its doors: only whether they open is asked."""
    gateway = Mock(spec=Gateway)
    gateway.settings, gateway.duties = Settings(), DUTIES["all"]
    gateway.contracts = Contracts.fixed(NO_CONTRACT)
    gateway.metrics, gateway.spans = Metrics("all"), Spans()
    gateway.connectors = Mock(plugged=Plugged(Host()))
    outermost = build_app(gateway)
    assert isinstance(outermost.app, Cors)
    assert isinstance(outermost.app.app, Starlette)
    return outermost.app.app, outermost


async def test_what_is_served_is_what_is_described() -> None:
    starlette, app = doors()
    assert differences(described(document()), await served(starlette.routes, app)) == []


def test_the_description_is_openapi() -> None:
    schemathesis.openapi.from_dict(document()).validate()


def test_a_description_that_is_no_openapi_is_found() -> None:
    broken = document()
    broken["components"]["securitySchemes"]["writeKey"]["no password."] = None
    with pytest.raises(jsonschema_rs.ValidationError, match="no password"):
        schemathesis.openapi.from_dict(broken).validate()


async def test_a_difference_is_found_on_either_side() -> None:
    async def answer(request: object) -> Response:
        return Response()

    app = Starlette(
        routes=[
            Route("/a", answer),
            *(Route(path, answer, methods=["GET", "POST"]) for path in ("/b/{key}", "/b/{key}/")),
        ]
    )
    found = await served(app.routes, app)
    assert found == {("/a", "GET"), ("/b/{key}", "GET"), ("/b/{key}", "POST")}
    planted = {"paths": {"/a": {"get": {}, "parameters": []}, "/b/{key}": {"post": {}, "delete": {}}}}
    assert differences(described(planted), found) == [
        "GET /b/{key} is not in schema/openapi.yaml",
        "DELETE /b/{key} is described and not served",
    ]
