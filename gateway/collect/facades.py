"""Facades: the HTTP calls of other vendors' SDKs in front of the one intake, so that those SDKs need only another host.

A vendor's module says how a request is read and what its SDKs want to hear; the rest is here, once for all.
"""

from __future__ import annotations

import binascii
import zlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.access.keys import WRITE_PREFIX
from gateway.collect.answers import REFUSED, REFUSED_CODE, Post
from gateway.collect.bodies import Bodies, read_json
from gateway.collect.senders import Senders, authorization_key
from gateway.collect.translating import message_ids
from gateway.errors import InvalidInput, TooLarge
from gateway.model.event import JsonObject, Problem, Receipt
from gateway.pipeline.intake import Intake

MAX_FIELDS = 100
_KEY_HINT = "Give the SDK a write key (wk_…) as its project's token or API key: `token` or `api_key` in what is sent."
_GZIP = 16 + zlib.MAX_WBITS
#: Of a scope: the events are in the address.
_IN_ADDRESS = "journey_gateway.in_address"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One request, read: the items that events are made of, and the key if the body or the address holds it.

    `sent_at` is the request's own time (ms). `historical` items keep their times whatever the sender's clock says.
    """

    key: object
    items: list[Any]
    translate: Callable[[list[Any]], list[Any]]
    reply: Callable[[Receipt], Response]
    sent_at: int | None = None
    historical: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What came: the query's and a form body's fields are texts by name, the first of each."""

    headers: Headers
    query: dict[str, str]
    body: bytes

    def fields(self) -> dict[str, str]:
        """The query's fields, and those of the body read as a form."""
        return fields_of(self.body) | self.query


#: Reads a request; raises InvalidInput.
Reader = Callable[[Request], Parcel]
#: What a vendor's SDKs want to hear beside our `code` and `message`: status, code, message to more JSON.
Phrase = Callable[[int, str, str], JsonObject]


class Facade:
    """An ASGI endpoint for the calls of one vendor; `get` ones carry in the address what others have in the body."""

    def __init__(
        self, bodies: Bodies, intake: Intake, senders: Senders, read: Reader, phrase: Phrase, *, get: bool = False
    ) -> None:
        self._intake = intake
        self._senders = senders
        self._read = read
        self._phrase = phrase
        self._get = get
        self._post = Post(bodies, self._answer, refused=REFUSED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = scope
        if self._get and scope["method"] == "GET":
            scope, receive = {**scope, "method": "POST", _IN_ADDRESS: True}, _empty
        await self._post(scope, receive, _rephrased(send, self._phrase, seen))

    async def _answer(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        value = authorization_key(headers.get("authorization"))
        key = None
        if value is not None and value.startswith(WRITE_PREFIX):  # asked before the body is parsed
            key = await self._senders.of_value(value, headers)
        parcel = self._read(Request(headers, fields_of(scope["query_string"]), body))
        if key is None:
            key = await self._senders.of_value(parcel.key, headers, hint=_KEY_HINT)
        if _IN_ADDRESS in scope:
            self._senders.check_page(key, headers)
        self._intake.check_size(len(parcel.items))
        messages = parcel.translate(parcel.items)
        stamped = parcel.sent_at is not None
        ids = message_ids(messages, blake2b(body, digest_size=16).digest(), stamped=stamped)
        delivery = self._senders.delivery(key, messages, scope, headers, body=body, sent_at=parcel.sent_at)
        receipt = await self._intake.ingest(
            replace(delivery, message_ids=ids, correct_skew=delivery.correct_skew and not parcel.historical)
        )
        return parcel.reply(receipt)


class Answered:
    """An ASGI endpoint that wants a good key and answers the same to all: what an SDK asks for beside sending."""

    def __init__(
        self,
        bodies: Bodies,
        senders: Senders,
        key_of: Callable[[Request], object],
        phrase: Phrase,
        document: JsonObject,
    ) -> None:
        self._senders = senders
        self._key_of = key_of
        self._phrase = phrase
        self._document = orjson.dumps(document)
        self._post = Post(bodies, self._answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = scope
        if scope["method"] == "GET":
            scope, receive = {**scope, "method": "POST"}, _empty
        await self._post(scope, receive, _rephrased(send, self._phrase, seen))

    async def _answer(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        key = scope.get("path_params", {}).get("key")
        if key is None:
            key = self._key_of(Request(headers, fields_of(scope["query_string"]), body))
        await self._senders.of_value(key, headers, hint=_KEY_HINT)
        return Response(self._document, media_type="application/json")


async def _empty() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _rephrased(send: Send, phrase: Phrase, scope: Scope) -> Send:
    """`send`, with refusals that say in the vendor's words too what went wrong; our code stays in the scope."""
    start: Message | None = None

    async def rephrasing(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start" and message["status"] >= 400:
            start = message
            return
        if start is not None and message["type"] == "http.response.body":
            said = orjson.loads(message["body"])
            scope[REFUSED_CODE] = said["code"]
            body = orjson.dumps(said | phrase(start["status"], said["code"], said["message"]))
            headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            message = {"type": "http.response.body", "body": body}
        await send(message)

    return rephrasing


def told_of(receipt: Receipt) -> JsonObject:
    """What was not accepted, and what was though it is not as planned, for whoever reads answers; SDKs take the events
    as delivered."""
    told = {"problems": receipt.problems, "warnings": receipt.warnings}
    return {name: [_told(one) for one in several] for name, several in told.items() if several}


def _told(problem: Problem) -> JsonObject:
    return {
        "index": problem.index,
        "verdict": problem.verdict.value,
        "code": problem.code,
        "message": problem.message,
        **({"misfits": [asdict(one) for one in problem.misfits]} if problem.misfits else {}),
    }


# -- reading --------------------------------------------------------------------------------------------------------


def fields_of(form: bytes) -> dict[str, str]:
    """The fields of a query or a form, the first of each name. Raises InvalidInput for too many."""
    try:
        pairs = parse_qsl(form.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidInput(f"A form may have {MAX_FIELDS} fields.", hint="Send JSON.") from None
    return dict(reversed(pairs))


def json_of(text: str | bytes) -> Any:
    """JSON, as it is or in base64. Raises InvalidInput."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if raw.lstrip()[:1] in (b"{", b"[") or raw.strip() in (b"null", b"true", b"false"):
        return read_json(raw)
    try:
        # A blank was a plus that the sender did not escape; some leave the padding away, some use the URL's alphabet.
        packed = b"".join(raw.strip().replace(b" ", b"+").translate(_STANDARD).split())
        return read_json(b64decode(packed + b"=" * (-len(packed) % 4), validate=True))
    except binascii.Error:
        raise InvalidInput("The data are neither JSON nor base64.", hint="Send them as the SDK does.") from None


_STANDARD = bytes.maketrans(b"-_", b"+/")


def unzip(body: bytes, at_most: int) -> bytes:
    """One gzip stream that no header announced. Raises InvalidInput, TooLarge beyond `at_most` bytes."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        text = inflate.decompress(body, at_most + 1)
    except zlib.error:
        raise InvalidInput("The body is not valid gzip.", hint="Compress it once, or send it plain.") from None
    if len(text) > at_most:
        raise TooLarge(f"The body has more than {at_most:,} bytes, counted unzipped.", hint="Send smaller batches.")
    if not inflate.eof:
        raise InvalidInput("The body ends in the middle of its gzip stream.", hint="Send it again.")
    return text


def as_items(value: Any) -> list[Any]:
    """A list as it is, an object as the one item it is. Raises InvalidInput for anything else."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value]
    raise InvalidInput("The body holds no events.", hint="Send a JSON object, or a list of them.")


def basic_password(headers: Headers) -> str | None:
    """The password of HTTP Basic authentication: a service account's secret."""
    scheme, _, encoded = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(encoded.strip()).decode().partition(":")[2] or None
    except (binascii.Error, ValueError):
        return None


def one_key(found: list[Any]) -> object:
    """The key that the items of a request agree on. Raises InvalidInput when they do not."""
    keys = {key for key in found if isinstance(key, str) and key}
    if len(keys) > 1:
        raise InvalidInput(
            "The events of one request carry different tokens.", hint="Send the events of each project by themselves."
        )
    return next(iter(keys), None)
