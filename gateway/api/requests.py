"""Reading GraphQL requests: from a JSON body or from the address, under limits, checked for their form."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from gateway.errors import GatewayError, InvalidInput, Late, TooLarge

MAX_BODY_BYTES = 256 * 1024
#: Sooner than the server ends a connection that is silent, without a word.
BODY_SECONDS = 30.0

_LONG_NUMBER = re.compile("[0-9]{19}")
HINT = 'Send {"query": "…", "variables": {…}} as application/json.'


class NotJson(InvalidInput):
    """A body of another content type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a client asks to be run."""

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None


#: What to do instead of sending more than MAX_BODY_BYTES.
TOO_MUCH = "Many events go to /v1/batch, a large change of the contract to `journey-gateway contract apply`."


async def read_body(request: Request) -> Operation:
    """The operation in a POST's body. Raises NotJson, TooLarge, Late or InvalidInput."""
    content_type, _, _ = request.headers.get("content-type", "").partition(";")
    if content_type.strip().lower() != "application/json":
        raise NotJson("The body is not application/json.", hint=HINT)
    body = await read_bytes(request, MAX_BODY_BYTES, TOO_MUCH)
    try:
        data = read_json(body)
    except orjson.JSONDecodeError:
        raise InvalidInput("The body is not JSON in UTF-8, or nested too deeply.", hint=HINT) from None
    return _operation(data, InvalidInput("The body is not a GraphQL request.", hint=HINT))


async def read_bytes(request: Request, most: int, hint: str) -> bytes:
    """The whole body. Raises TooLarge, and Late when it does not come in time."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLarge(f"The body has more than {most // 1024} KB.", hint=hint)
    except TimeoutError:
        raise Late(f"The body did not arrive within {BODY_SECONDS:g} seconds.", hint="Send it again.") from None
    return bytes(body)


def read_address(request: Request) -> Operation:
    """The operation in the parameters of a GET. Raises InvalidInput."""
    given = request.query_params
    data: dict[str, Any] = {"query": given.get("query"), "operationName": given.get("operationName")}
    for name in ("variables", "extensions"):
        if given.get(name):
            try:
                data[name] = read_json(given[name])
            except (orjson.JSONDecodeError, UnicodeEncodeError):
                raise InvalidInput(f"`{name}` is not JSON.", hint="Encode a JSON object for the address.") from None
    if data["query"] is None:
        raise InvalidInput("There is no `query`.", hint=HINT)
    return _operation(data, InvalidInput("The parameters are not a GraphQL request.", hint=HINT))


def read_json(data: str | bytes) -> object:
    """JSON with its integers exact; orjson would round those beyond 64 bits, and an id would become another."""
    value = orjson.loads(data)
    text = data if isinstance(data, str) else data.decode()
    if not _LONG_NUMBER.search(text):
        return value
    try:
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        raise orjson.JSONDecodeError("nested too deeply", "", 0) from None


def is_request(data: object) -> bool:
    """Whether it has the form of a GraphQL request."""
    return (
        isinstance(data, dict)
        and isinstance(data.get("query"), str)
        and isinstance(data.get("variables"), dict | None)
        and isinstance(data.get("operationName"), str | None)
        and isinstance(data.get("extensions"), dict | None)
    )


def _operation(data: Any, otherwise: GatewayError) -> Operation:
    if not is_request(data):
        raise otherwise
    return Operation(
        query=data["query"],
        variables=data.get("variables"),
        operation_name=data.get("operationName"),
        extensions=data.get("extensions"),
    )


def _integer(digits: str) -> int:
    return int(digits[:4_000])  # Python refuses to read longer ones; this one is out of range in any case
