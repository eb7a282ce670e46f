"""Events to Mixpanel by its import API, with a result for each of them."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from gateway.plugin import (
    Answer,
    BaseUrl,
    Capabilities,
    Config,
    Context,
    Delivered,
    Destination,
    Health,
    HttpFailed,
    Item,
    ItemResult,
    Manifest,
    Message,
    Rejected,
    Retry,
    Secret,
    Skip,
    Throttled,
    TooLarge,
    result_of,
)
from gateway_mixpanel.mapping import payload_of

Region = Literal["us", "eu", "in"]

_IMPORTS: Mapping[Region, str] = {
    "us": "https://api.mixpanel.com",
    "eu": "https://api-eu.mixpanel.com",
    "in": "https://api-in.mixpanel.com",
}
_APPS: Mapping[Region, str] = {
    "us": "https://mixpanel.com",
    "eu": "https://eu.mixpanel.com",
    "in": "https://in.mixpanel.com",
}
#: Mixpanel names no time to wait: from the first to the longest doubling, and some seconds at random.
_FIRST, _LONGEST, _JITTER = 2.0, 60.0, (1.0, 5.0)
_EXCERPT = 200


class MixpanelConfig(Config):
    """Which project, and the service account that may import into it."""

    project_id: str = Field(pattern=r"^\d{1,20}$", description="The project's number, from its settings.")
    username: str = Field(
        min_length=1, description="The name of the service account, such as `gateway.1a2b.mp-service-account`."
    )
    secret: Secret = Field(description="The service account's secret.")
    region: Region = Field(default="us", description="Where the project's data lives: us, eu or in.")
    gzip: bool = Field(default=True, description="Whether requests are packed.")
    base_url: BaseUrl | None = Field(
        default=None, description="Another address in place of the region's, such as a proxy's."
    )


class Mixpanel(Destination[MixpanelConfig]):
    """Imports track, page and screen events. Mixpanel orders by time itself, so that nothing waits for anything."""

    manifest: ClassVar[Manifest] = Manifest(
        name="mixpanel",
        version="1.0.0",
        brief="Events to Mixpanel, by its import API.",
        test_level="B",
        docs="plugins/mixpanel/README.md",
    )
    Config = MixpanelConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_items=2_000,
        max_bytes=2_000_000,
        max_item_bytes=1_000_000,
        concurrency=4,
        ordering="none",
        partial=True,
        idempotency="one event per $insert_id, event, distinct_id and time",
    )

    def __init__(self, config: MixpanelConfig, context: Context) -> None:
        super().__init__(config, context)
        self._refusals = 0
        self._waits_until = 0.0

    async def check(self) -> Health:
        """Ask who the service account is."""
        base = self.config.base_url or _APPS[self.config.region]
        try:
            answer = await self.context.http.request("GET", f"{base}/api/app/me", headers=self._headers())
        except HttpFailed as failed:
            return Health(False, failed.reason, "Check region or base_url, and the way out to the internet.")
        if answer.status == 200:
            return Health(True, "The service account is known.")
        if answer.status in (401, 403):
            return Health(False, "The service account is refused.", "Check username, secret and region.")
        return Health(False, f"Mixpanel answers HTTP {answer.status}.", "Try again later.")

    def map(self, message: Message) -> dict[str, Any] | Skip:
        """An event as Mixpanel's import takes it."""
        return payload_of(message)

    async def send(self, items: Sequence[Item]) -> Sequence[ItemResult]:
        """One request; strict, so that each event that is refused is told."""
        # Not escaped: the limits count bytes, and escapes are up to three times as many.
        payloads = [item.payload for item in items]
        content = json.dumps(payloads, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {**self._headers(), "content-type": "application/json"}
        if self.config.gzip:
            content = gzip.compress(content, compresslevel=5, mtime=0)
            headers["content-encoding"] = "gzip"
        base = self.config.base_url or _IMPORTS[self.config.region]
        params = {"strict": "1", "project_id": self.config.project_id}
        try:
            answer = await self.context.http.request(
                "POST", f"{base}/import", params=params, headers=headers, content=content
            )
        except HttpFailed as error:
            if error.final:
                raise
            return [Retry(error.reason, self._wait())] * len(items)
        return self._results(answer, len(items))

    def _results(self, answer: Answer, count: int) -> list[ItemResult]:
        if answer.status == 429:
            return [Throttled("HTTP 429", self._wait())] * count
        if answer.status >= 500 and answer.status != 501:
            return [Retry(f"HTTP {answer.status}", self._wait())] * count
        said = _read(answer)
        if answer.status == 200 and (said is None or said.get("code") != 200):
            # Something on the way answers in its place.
            return [Retry("HTTP 200, but not Mixpanel's answer", self._wait())] * count
        self._refusals = 0
        if answer.status == 400:
            return _per_item(said, answer, count)
        if answer.status == 413:
            return [TooLarge("HTTP 413")] * count
        return [result_of(answer, self.context.clock.now())] * count

    def _wait(self) -> float:
        """Seconds to wait. Requests that ran side by side and were all refused count as one."""
        now = self.context.clock.monotonic()
        if now >= self._waits_until:
            self._refusals += 1
        seconds = min(_LONGEST, _FIRST * 2.0 ** (self._refusals - 1)) + random.uniform(*_JITTER)
        self._waits_until = now + _FIRST / 2
        return seconds

    def _headers(self) -> dict[str, str]:
        account = f"{self.config.username}:{self.config.secret.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(account).decode()}", "accept": "application/json"}


def _read(answer: Answer) -> dict[str, Any] | None:
    try:
        said = answer.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _per_item(said: dict[str, Any] | None, answer: Answer, count: int) -> list[ItemResult]:
    """A 400 names the events it refuses; the others are stored. Without names, all are refused."""
    failed = said.get("failed_records") if said is not None else None
    if not isinstance(failed, list) or not failed:
        why = str(said.get("error", "")) if said is not None else answer.text
        return [Rejected(f"HTTP 400: {why[:_EXCERPT]}", code="http_400")] * count
    results: list[ItemResult] = [Delivered()] * count
    for record in failed:
        at = record.get("index") if isinstance(record, dict) else None
        if isinstance(at, int) and 0 <= at < count:
            where = str(record.get("field") or "") or None
            results[at] = Rejected(str(record.get("message", "refused"))[:_EXCERPT], code="invalid_event", field=where)
    return results
