"""A gateway in this process behind a line that can be cut, for clients that run as processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app.building import Gateway, open_gateway
from gateway.app.serving import listen, serving
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS
from gateway.pipeline.intake import Delivery
from gateway.settings import Settings
from tests.databases import lend
from tests.flow.line import Line, open_line

WORKSPACE = "main"


@dataclass(frozen=True)
class Stage:
    """The gateway, the line to it, and keys of its workspace."""

    gateway: Gateway
    line: Line
    write_key: str
    api_key: str

    async def happens(self, user: str, *events: str) -> None:
        """Events of a user, derived."""
        messages: list[Any] = [{"type": "track", "event": event, "userId": user} for event in events]
        await self.gateway.intake.ingest(Delivery(WORKSPACE, "test", messages))
        while await self.gateway.events.underived(WORKSPACE):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def environment(self, user: str) -> dict[str, str]:
        """What the demo would print, for this user."""
        return {
            "URL": self.line.url,
            "WRITE_KEY": self.write_key,
            "API_KEY": self.api_key,
            "USER_ID": user,
            "USER_TOKEN": self.gateway.tokens.mint_user(WORKSPACE, Identity("userId", user), 60),
        }


@asynccontextmanager
async def open_stage(mongo_uri: str, folder: Path) -> AsyncIterator[Stage]:
    """A gateway with a database of its own."""
    async with lend(mongo_uri) as name:
        settings = Settings(mongo_uri=mongo_uri, database=name, data_dir=folder)
        async with open_gateway(settings) as gateway, gateway.deriving():
            listener = listen("127.0.0.1", 0)
            async with serving(gateway, listener), open_line(listener.getsockname()[1]) as line:
                write_key = await gateway.keyring.create_write_key(WORKSPACE, "web")
                api_key = await gateway.keyring.create_api_key(WORKSPACE, frozenset(PERMISSIONS))
                yield Stage(gateway, line, write_key, api_key)
            listener.close()
