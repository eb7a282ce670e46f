"""What all that speaks to HubSpot's API shares: the token, the address, the check, and what answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from gateway.plugin import (
    Answer,
    BaseUrl,
    Config,
    Health,
    Http,
    HttpFailed,
    ItemResult,
    Secret,
    Throttled,
    result_of,
    retry_after,
)

VERSION = "1.0.0"
DOCS = "plugins/hubspot/README.md"
#: HubSpot counts requests over ten seconds, and over a day.
_SECONDLY, _DAILY = 10.0, 3_600.0


class HubspotConfig(Config):
    """Whose HubSpot."""

    token: Secret = Field(description="The access token of a private app.")
    base_url: BaseUrl = Field(default="https://api.hubapi.com", description="Where HubSpot's API is.")


async def ask(http: Http, config: HubspotConfig, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
    """One request. Raises HttpFailed."""
    headers = {"authorization": f"Bearer {config.token.reveal()}", "accept": "application/json"}
    return await http.request(method, f"{config.base_url}{path}", headers=headers, json=body)


async def check(http: Http, config: HubspotConfig) -> Health:
    """Whether the token is good: asks for the account's details."""
    try:
        answer = await ask(http, config, "GET", "/account-info/v3/details")
    except HttpFailed as failed:
        return Health(False, failed.reason, "Check base_url, and the way out to the internet.")
    if answer.status == 200:
        return Health(True, "The token is good.")
    if answer.status in (401, 403):
        return Health(False, "The token is refused.", "Check the private app's token and its scopes.")
    return Health(False, f"HubSpot answers HTTP {answer.status}.", "Try again later.")


def read(answer: Answer) -> dict[str, Any]:
    """The answer's object; empty when it is none."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def meaning(answer: Answer, now: int) -> ItemResult:
    """What an answer means for all items of its request. A limit without a time to wait tells by its name how long."""
    if answer.status == 429:
        daily = str(read(answer).get("policyName", "")).upper() == "DAILY"
        after = retry_after(answer.headers, now)
        return Throttled("HTTP 429", after if after is not None else (_DAILY if daily else _SECONDLY))
    return result_of(answer, now)


def strings(found: Mapping[str, Any]) -> dict[str, str]:
    """Values as HubSpot's properties take them; what is no plain value is left out."""
    made = {}
    for key, value in found.items():
        if isinstance(value, bool):
            made[key] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            made[key] = str(value)
    return made
