"""Requests that schemathesis makes up from schema/openapi.yaml, and how they are sent, with a good key and without."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, graphql

from tests.rules.sources import ROOT

EXAMPLES = int(os.environ.get("GATEWAY_TEST_FUZZ", "10"))
#: Doors of one description that get the same case: the next ones in turn.
PATHS_OF_A_CASE = 4
#: Longer lists take minutes to make up, and tell nothing more.
_LONGEST_LIST = 3
_READERS = {"Callers", "GraphQL", "OFREP", "Operation", "Page"}
_VENDORS_WITH_KEYS_IN_BODIES = {"PostHog", "Amplitude"}


@dataclass(frozen=True, slots=True)
class Doors:
    """Operations that are described in the same words (aliases in YAML): what is made up for one fits all of them."""

    operation: Any
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.operation.method.upper()} {' '.join(self.paths)}"

    @property
    def statuses(self) -> set[int]:
        """Those that are described."""
        return {int(status) for status in self.operation.definition.raw["responses"]}

    def cases(self) -> list[Any]:
        """Requests that keep to the description, and where it leaves anything to break, half as many that do not."""
        kept = self.operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        if not self._breakable:
            return drawn(kept)
        broken = self.operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
        with suppress(Unsatisfiable):  # nothing that it could say wrong
            return drawn(kept) + drawn(broken, EXAMPLES // 2)
        return drawn(kept)

    def turns(self) -> Iterator[tuple[str, ...]]:
        """The paths that a case goes to, for one case after the other."""
        at_a_time = min(len(self.paths), PATHS_OF_A_CASE)
        paths = itertools.cycle(self.paths)
        while True:
            yield tuple(itertools.islice(paths, at_a_time))

    def as_stranger(self, case: Any, path: str) -> httpx2.Request:
        """As it was made up; the keys in it, if any, are nobody's."""
        return _Sent(self.operation, case).request(path)

    def with_key(self, case: Any, path: str, credentials: Mapping[str, str]) -> httpx2.Request:
        """The same with a good key, wherever this door looks for one."""
        sent, key, tags = _Sent(self.operation, case), credentials["write_key"], set(self.operation.tags or ())
        if tags & _READERS:
            sent.headers["authorization"] = f"Bearer {credentials['api']}"
            return sent.request(path)
        sent.headers["authorization"] = f"Basic {credentials['write']}"
        if "key" in sent.places:
            sent.places["key"] = key
        if self._takes("token"):
            sent.query["token"] = key
        if tags & _VENDORS_WITH_KEYS_IN_BODIES and isinstance(sent.json, dict):
            sent.json = {**sent.json, "api_key": key}
        return sent.request(path)

    @property
    def _breakable(self) -> bool:
        raw = self.operation.definition.raw
        return "requestBody" in raw or any(one["in"] in ("query", "header") for one in raw.get("parameters", ()))

    def _takes(self, name: str) -> bool:
        return any(one["name"] == name for one in self.operation.definition.raw.get("parameters", ()))


def every_door() -> list[Doors]:
    """All that schema/openapi.yaml describes."""
    described = _shortened(yaml.safe_load((ROOT / "schema/openapi.yaml").read_text(encoding="utf-8")))
    same: dict[str, tuple[Any, list[str]]] = {}
    for operation in _operations(schemathesis.openapi.from_dict(described)):
        words = f"{operation.method} {operation.definition.raw} {operation.path if '{' in operation.path else ''}"
        same.setdefault(words, (operation, []))[1].append(operation.path)
    return [Doors(operation, tuple(paths)) for operation, paths in same.values()]


def every_field() -> list[Any]:
    """What can be asked of the API and what can be changed through it: an operation for each field of the two roots."""
    texts = st.text(max_size=40).map(graphql.nodes.String)
    times = st.datetimes().map(lambda time: graphql.nodes.String(f"{time.isoformat()}Z"))
    graphql.scalar("Cursor", texts)
    graphql.scalar("DateTime", times | texts)
    graphql.scalar("JSON", texts | st.integers().map(graphql.nodes.Int) | st.just(graphql.nodes.Null))
    return _operations(graphql.from_path(ROOT / "schema/api.graphql"))


def operation(case: Any, token: str) -> httpx2.Request:
    """The request for an operation that was made up from the API's schema."""
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.Request("POST", "http://gateway/graphql", headers=headers, json={"query": case.body})


def drawn(strategy: st.SearchStrategy[Any], many: int = EXAMPLES) -> list[Any]:
    """The same ones in each run."""
    found: list[Any] = []

    @settings(max_examples=many, derandomize=True, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(case: Any) -> None:
        found.append(case)

    collect()
    return found


def _operations(schema: Any) -> list[Any]:
    return [found.ok() for found in schema.get_all_operations()]


def _shortened(described: Any) -> Any:
    if isinstance(described, list):
        return [_shortened(each) for each in described]
    if not isinstance(described, dict):
        return described
    shorter = {key: _shortened(value) for key, value in described.items()}
    return {**shorter, "maxItems": _LONGEST_LIST} if shorter.get("type") == "array" else shorter


class _Sent:
    """What is sent of a case."""

    def __init__(self, operation: Any, case: Any) -> None:
        given = case.as_transport_kwargs(base_url="http://gateway")
        self.method: str = operation.method.upper()
        self.places: dict[str, Any] = dict(case.path_parameters or {})
        self.query: dict[str, Any] = dict(given.get("params") or {})
        self.headers = {name.lower(): value for name, value in given["headers"].items()}
        self.json = given.get("json")
        self._data = given.get("data")
        self._zipped = case.meta.generation.mode.is_positive and self.headers.get("content-encoding") == "gzip"

    def request(self, path: str) -> httpx2.Request:
        for name, value in self.places.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe="", errors="surrogatepass"))
        query = _form(self.query)
        url = f"http://gateway{path}" + (f"?{query}" if query else "")
        body = gzip.compress(self._body(), mtime=0) if self._zipped else self._body()
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        return httpx2.Request(self.method, url, headers=headers, content=body)

    def _body(self) -> bytes:
        if self._data is None:
            if self.json is None:
                return b""
            self.headers.setdefault("content-type", "application/json")
            return json.dumps(self.json).encode()
        if isinstance(self._data, Mapping):
            self.headers.setdefault("content-type", "application/x-www-form-urlencoded")
            return _form(self._data).encode()
        return self._data if isinstance(self._data, bytes) else str(self._data).encode("utf-8", "surrogatepass")


def _form(fields: Mapping[str, Any]) -> str:
    """Fields as a form and an address have them; objects and lists as JSON."""
    texts = {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in fields.items()}
    return urlencode(texts, errors="surrogatepass")
