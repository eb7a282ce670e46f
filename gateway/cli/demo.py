"""The demo: a made-up shop's visitors, played through the real intake into the workspace `demo`."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.errors import Denied, GatewayError, SetupError
from gateway.model.identity import Identity, digest
from gateway.model.scope import PERMISSIONS
from gateway.settings import Settings
from gateway.testing.load import Player
from gateway.testing.simulate import Population

if TYPE_CHECKING:
    from gateway.app.building import Gateway

log = logging.getLogger("gateway.cli")

WORKSPACE = "demo"
SEED = 1
RATE = 2.0
_FILE = "demo.env"
_LOCK = "demo.lock"
_PART = 1_000
_USER = Identity("userId", "ada")
_TOKEN_MINUTES = 7 * 24 * 60


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the demo prints, and keeps in the data folder for its owner alone."""

    write_key: str
    api_key: str
    user_token: str


class Demo:
    """The demo of one running gateway."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        self._gateway = gateway
        self._url = url
        self._file = gateway.settings.data_dir / _FILE

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Print how to get in; play the population for as long as this is open, unless another process does."""
        with _alone(self._file.parent) as alone:
            credentials = await self._credentials(keep=alone)
            page = await page_address(self._gateway, self._url)
            click.echo(_welcome(self._url, page, credentials, self._file.parent))
            if not alone:
                other = _read(self._file).get("URL", "another address")
                click.echo(f"The visitors come from the gateway at {other}; {self._file} goes on naming that one.")
                yield
                return
            task = asyncio.create_task(self._play(credentials.write_key))
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _play(self, write_key: str) -> None:
        player = Player(self._url, write_key, now=self._now, batch_size=250, concurrency=4)
        try:
            population = await self._backfill(player)
            await player.play_live(population.live(self._now(), RATE))
        except GatewayError as error:
            log.error("the demo's visitors have stopped", extra={"reason": error.code})

    async def _backfill(self, player: Player) -> Population:
        """Eight weeks, once: begun anew after a crash, where what arrived before counts as duplicate."""
        imports = self._gateway.imports
        key = digest(WORKSPACE, "backfill", str(SEED))
        row = await imports.begin(key, WORKSPACE, self._gateway.clock.now())
        population = Population(SEED, datetime.fromtimestamp(row["base"] / 1000, UTC))
        if not row["rows"]:
            sent = 0
            emissions = population.backfill()
            while part := list(islice(emissions, _PART)):
                sent += (await player.play(part)).sent
                await self._derived()
            await imports.reached(key, WORKSPACE, sent)
            click.echo(f"Eight weeks of visitors are in: {sent:,} events.")
        return population

    async def _derived(self) -> None:
        """Wait for derivation, so that somebody who tries the shop meanwhile does not stand behind eight weeks."""
        await self._gateway.events.derived(WORKSPACE, interval=0.02)

    async def _credentials(self, *, keep: bool) -> Credentials:
        """Those of the last start as long as they still open; else new ones. `keep`: write them into the file."""
        keyring, tokens = self._gateway.keyring, self._gateway.tokens
        kept = _read(self._file)
        write_key, api_key = kept.get("WRITE_KEY", ""), kept.get("API_KEY", "")
        try:
            await keyring.write_key(write_key)
            await keyring.api_key(api_key)
        except Denied:
            write_key = await keyring.create_write_key(WORKSPACE, "shop")
            api_key = await keyring.create_api_key(WORKSPACE, frozenset(PERMISSIONS))
        user_token = tokens.mint_user(WORKSPACE, _USER, minutes=_TOKEN_MINUTES)
        credentials = Credentials(write_key, api_key, user_token)
        if keep:
            _write(self._file, self._url, credentials)
        return credentials

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._gateway.clock.now() / 1000, UTC)


async def page_address(gateway: Gateway, url: str) -> str:
    """The page's address with a one-time code in its fragment, which no server ever sees."""
    return f"{url}/#code={await gateway.keyring.create_page_code(WORKSPACE, minutes=60)}"


def demo_url(settings: Settings) -> str:
    """Where the demo of this data folder was served last. Raises SetupError when there was none."""
    kept = _read(settings.data_dir / _FILE)
    if "URL" not in kept:
        raise SetupError(
            f"There is no demo in {settings.data_dir.resolve()}.",
            hint="Run this in the folder of `make run`, or set GATEWAY_DATA_DIR.",
        )
    return kept["URL"]


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other process plays the demo of this folder; none can while this is open, and it ends with us."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _read(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    return dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)


def _write(file: Path, url: str, credentials: Credentials) -> None:
    """Readable by its owner alone; `. .gateway/demo.env` sets the variables that the README's commands use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = {
        "URL": url,
        "WRITE_KEY": credentials.write_key,
        "API_KEY": credentials.api_key,
        "USER_TOKEN": credentials.user_token,
    }
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.writelines(f"{name}={value}\n" for name, value in lines.items())


def _welcome(url: str, page: str, credentials: Credentials, folder: Path) -> str:
    event = '{"userId":"ada","event":"Product Viewed","properties":{"name":"Desk lamp"}}'
    bearer = f"-H 'Authorization: Bearer {credentials.user_token}' -H 'Content-Type: application/json'"
    query = '{"query":"{ me { journey(map: \\"purchase\\") { stage { label } because { text } } } }"}'
    return f"""
Journey Gateway is running, with a made-up shop in the workspace "demo".

  Page        {page}
              (the address opens it once; `journey-gateway page` prints another)
  Write key   {credentials.write_key}    for SDKs: send events
  API key     {credentials.api_key}    for servers and tools
  User token  {credentials.user_token}
              (opens the user "ada" only)

Send an event, ask for that user's journey, watch all journeys live:

  curl -s {url}/v1/track -u {credentials.write_key}: -d '{event}'
  curl -s {url}/graphql {bearer} -d '{query}'
  {_command()} watch --url {url} --token {credentials.api_key}

Ctrl-C stops it; the data stays in {folder}.
"""


def _command() -> str:
    """How this program was called, so that the printed command works as pasted."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "journey-gateway" else f"{sys.executable} -m gateway"
