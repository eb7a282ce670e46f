"""A sound connector of every kind with the suite that it passes: what the broken ones of test_kit.py are made from."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from gateway.plugin import (
    Alert,
    AlertChannel,
    Answer,
    Capabilities,
    Config,
    Delivered,
    Denied,
    Destination,
    Enricher,
    FlagContext,
    FlagProvider,
    FlagResult,
    Found,
    Health,
    HttpFailed,
    Item,
    ItemResult,
    JsonObject,
    Manifest,
    Message,
    Page,
    PullSource,
    RawRequest,
    Rejected,
    Retry,
    Secret,
    Skip,
    Verified,
    WebhookSource,
    message_of,
    result_of,
)
from gateway.testing import (
    AlertChannelContract,
    DestinationContract,
    EnricherContract,
    FlagProviderContract,
    PullSourceContract,
    Received,
    Reply,
    WebhookSourceContract,
)


class Settings(Config):
    """What all of them are configured with."""

    token: Secret
    old_token: Secret | None = None
    region: Literal["us", "eu"] = "us"


SETTINGS = {"token": "env:TOKEN"}
MANIFEST = Manifest(name="acme", version="1", brief="For tests.", test_level="D")


class Asking:
    """How all of them ask."""

    config: Any
    context: Any

    @property
    def base(self) -> str:
        return f"https://{self.config.region}.acme.example"

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"authorization": f"Bearer {self.config.token.reveal()}"}
        answer: Answer = await self.context.http.request(method, f"{self.base}{path}", headers=headers, json=body)
        return answer

    async def got(self, path: str, body: Any = None) -> Any:
        """The JSON of a good answer; HttpFailed for every other."""
        answer = await self.ask("GET" if body is None else "POST", path, body)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status != 200 or found is None:
            raise HttpFailed(f"HTTP {answer.status}")
        return found

    async def check(self) -> Health:
        try:
            answer = await self.ask("GET", "/me")
        except HttpFailed as failed:
            return Health(False, failed.reason)
        return Health(answer.status == 200, f"HTTP {answer.status}")


class Sink(Asking, Destination[Settings]):
    manifest = MANIFEST
    Config: ClassVar[type[Config]] = Settings
    capabilities = Capabilities(
        max_items=50, max_bytes=60_000, max_item_bytes=20_000, partial=True, idempotency="by id",
        kinds=frozenset({"event"}),
    )  # fmt: skip

    def map(self, message: Message) -> dict[str, Any] | Skip:
        return Skip("no event") if message.event is None else {**message_of(message.event), "id": message.key}

    def body(self, items: Sequence[Item]) -> bytes:
        rows = [item.payload for item in items]
        return json.dumps({"rows": rows}, ensure_ascii=False, separators=(",", ":")).encode()

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        answer = await self.context.http.request(
            "POST",
            f"{self.base}/rows",
            headers={"authorization": f"Bearer {self.config.token.reveal()}"},
            content=self.body(items),
        )
        return self.results(answer, items)

    def results(self, answer: Answer, items: Sequence[Item]) -> Sequence[ItemResult]:
        said = result_of(answer, self.context.clock.now())
        if not isinstance(said, Delivered):
            return [said] * len(items)
        try:
            wrong = answer.json()["wrong"]
        except (ValueError, KeyError):
            return [Retry("an answer that cannot be read")] * len(items)
        return [Rejected("wrong") if "all" in wrong or at in wrong else Delivered() for at in range(len(items))]


class SinkSuite(DestinationContract):
    connector = Sink
    settings: ClassVar[Mapping[str, Any]] = SETTINGS

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"wrong": []})

    def refuse(self, request: Received, at: int) -> Reply:
        return Reply(200, {"wrong": [at]})

    def lies(self, request: Received) -> Reply:
        return Reply(200, {"wrong": ["all"]})


class Hook(Asking, WebhookSource[Settings]):
    manifest = MANIFEST
    Config: ClassVar[type[Config]] = Settings

    async def check(self) -> Health:
        return Health(True)

    def signature(self, secret: str, stamp: str, body: bytes) -> str:
        return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()

    def secrets(self) -> list[str]:
        return [one.reveal() for one in (self.config.token, self.config.old_token) if one is not None]

    def verify(self, request: RawRequest) -> Verified | Denied:
        stamp, given = request.headers.get("x-time", ""), request.headers.get("x-signature", "")
        if not stamp.isdecimal() or abs(int(stamp) - request.received_at) > 300_000:
            return Denied("old")
        wanted = [self.signature(secret, stamp, request.body) for secret in self.secrets()]
        held = [hmac.compare_digest(one.encode(), given.encode()) for one in wanted]
        return Verified() if any(held) else Denied("no")

    def parse(self, request: RawRequest) -> Iterable[JsonObject]:
        found = json.loads(request.body)
        if not isinstance(found, dict) or "id" not in found:
            raise ValueError("none of theirs")
        rows = found.get("rows", [0])
        return [{"type": "track", "event": "Seen", "userId": "ada", "messageId": f"{found['id']}:{at}"} for at in rows]


class HookSuite(WebhookSourceContract):
    connector = Hook
    settings: ClassVar[Mapping[str, Any]] = {**SETTINGS, "old_token": "env:OLD_TOKEN"}
    signing = ("TOKEN", "OLD_TOKEN")
    bodies = (b'{"id": "a", "rows": [0, 1]}', b'{"id": "b"}')

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Time": str(at), "X-Signature": signature}


class Feed(Asking, PullSource[Settings]):
    manifest = MANIFEST
    Config: ClassVar[type[Config]] = Settings

    async def read(self, state: Any) -> Page:
        after = 0 if state is None else state["after"]
        found = await self.got(f"/rows?after={after}")
        rows = [
            {"type": "track", "event": "Seen", "userId": "ada", "messageId": f"row-{one['id']}"}
            for one in found["rows"]
        ]
        last = found["rows"][-1]["id"] if found["rows"] else after
        return Page(rows, {"after": last}, more=found["more"])


class FeedSuite(PullSourceContract):
    connector = Feed
    settings: ClassVar[Mapping[str, Any]] = SETTINGS
    rows: ClassVar[Sequence[Any]] = [{"id": number} for number in range(1, 6)]

    def listing(self, request: Received, rows: Sequence[Any]) -> Reply:
        after = int(request.url.partition("after=")[2] or 0)
        rest = [one for one in rows if one["id"] > after]
        return Reply(200, {"rows": rest[:2], "more": len(rest) > 2})


class Crm(Asking, Enricher[Settings]):
    manifest = MANIFEST
    Config: ClassVar[type[Config]] = Settings

    def key_of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> str | None:
        email = traits.get("email")
        return email if isinstance(email, str) else None

    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        found = await self.got("/people", {"emails": list(keys)})
        return {one["email"]: Found({"plan": one["plan"]}) for one in found["people"]}


class CrmSuite(EnricherContract):
    connector = Crm
    settings: ClassVar[Mapping[str, Any]] = SETTINGS
    known = ("ada@shop.example", "bob@shop.example")

    def answer(self, request: Received) -> Reply:
        asked = request.json().get("emails", []) if request.body else []
        return Reply(200, {"people": [{"email": one, "plan": "pro"} for one in asked if one in self.known]})


class Flags(Asking, FlagProvider[Settings]):
    manifest = MANIFEST
    Config: ClassVar[type[Config]] = Settings

    async def open(self) -> None:
        try:
            self.values: dict[str, Any] = (await self.got("/flags")).get("flags", {})
        except HttpFailed:
            self.values = {}

    def one(self, key: str, context: FlagContext) -> FlagResult:
        if key not in self.values:
            return FlagResult(key, error="FLAG_NOT_FOUND")
        return FlagResult(key, self.values[key])

    async def evaluate(self, keys: Sequence[str] | None, context: FlagContext) -> Sequence[FlagResult]:
        return [self.one(key, context) for key in (self.values if keys is None else keys)]

    async def changes(self) -> AsyncIterator[frozenset[str]]:
        await asyncio.Event().wait()
        yield frozenset()


class FlagsSuite(FlagProviderContract):
    connector = Flags
    settings: ClassVar[Mapping[str, Any]] = SETTINGS
    flags = ("new-cart", "colour")

    def answer(self, request: Received) -> Reply:
        return Reply(200, {"flags": {"new-cart": True, "colour": "red"}})


class Pager(Asking, AlertChannel[Settings]):
    manifest = MANIFEST
    Config: ClassVar[type[Config]] = Settings

    async def notify(self, alert: Alert) -> ItemResult:
        text = f"{'over' if alert.resolved_at else 'raised'}: {alert.title}"
        answer = await self.ask("POST", "/page", {"id": alert.id, "text": text})
        said = result_of(answer, self.context.clock.now())
        return Rejected("not taken") if isinstance(said, Delivered) and b'"ok": false' in answer.body else said


class PagerSuite(AlertChannelContract):
    connector = Pager
    settings: ClassVar[Mapping[str, Any]] = SETTINGS

    def lies(self, request: Received) -> Reply:
        return Reply(200, {"ok": False})


#: Every suite with the sound connector in it.
SUITES = (SinkSuite, HookSuite, FeedSuite, CrmSuite, FlagsSuite, PagerSuite)
