"""`simulate`: synthetic journeys as NDJSON, or played into a running gateway."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime

import click
import httpx2

from gateway.clock import ServerClock
from gateway.errors import InvalidInput, Unavailable
from gateway.testing.load import Player
from gateway.testing.simulate import Population, ndjson

_SHARE = click.FloatRange(0, 1)


@click.command()
@click.option("--seed", default=1, show_default=True, help="The same seed and --now give the same bytes.")
@click.option("--now", metavar="TIME", help="When the history ends (ISO 8601; default: now).")
@click.option("--weeks", default=8, show_default=True, type=click.IntRange(1, 520))
@click.option("--visitors", default=150, show_default=True, type=click.IntRange(1), help="New visitors a week.")
@click.option("--late", default=0.0, type=_SHARE, help="Share of events that arrive long after they happened.")
@click.option("--duplicates", default=0.0, type=_SHARE, help="Share of events that are sent twice.")
@click.option("--skew", default=0.0, type=_SHARE, help="Share of devices with a wrong clock.")
@click.option("--disorder", default=0.0, type=_SHARE, help="Share of events sent after later ones.")
@click.option("--live", is_flag=True, help="Go on from now, endlessly and at --rate, instead of the history.")
@click.option("--rate", default=2.0, show_default=True, help="Events a second of --live.")
@click.option("--url", help="Play into this gateway instead of printing.")
@click.option("--write-key", help="The key for --url.")
def simulate(
    seed: int,
    now: str | None,
    weeks: int,
    visitors: int,
    late: float,
    duplicates: float,
    skew: float,
    disorder: float,
    live: bool,
    rate: float,
    url: str | None,
    write_key: str | None,
) -> None:
    """Made-up visitors of a shop: personas, sessions, purchases, drop-offs, survey answers.

    \b
    Examples:
      journey-gateway simulate --seed 7 --now 2026-01-01T00:00:00Z > events.ndjson
      journey-gateway simulate --live --rate 5
      journey-gateway simulate --url http://127.0.0.1:8000 --write-key wk_…
    """
    population = Population(
        seed,
        _moment(now),
        weeks=weeks,
        visitors_per_week=visitors,
        late=late,
        duplicates=duplicates,
        skew=skew,
        disorder=disorder,
    )
    if url is not None:
        if write_key is None:
            raise InvalidInput("--url needs --write-key.", hint="`journey-gateway init` prints one.")
        asyncio.run(_play(population, url, write_key, live=live, rate=rate))
        return
    if live:
        with suppress(KeyboardInterrupt):
            asyncio.run(_print_live(population, rate))
        return
    for line in ndjson(population.backfill()):
        sys.stdout.buffer.write(line)


async def _print_live(population: Population, rate: float) -> None:
    """Each line when it is due, so that what reads them sees a shop at its real pace."""
    clock = ServerClock()
    began = clock.monotonic()
    for offset, emission in population.live(rate=rate):
        await asyncio.sleep(max(0.0, began + offset - clock.monotonic()))
        for line in ndjson([emission]):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


async def _play(population: Population, url: str, write_key: str, *, live: bool, rate: float) -> None:
    player = Player(url, write_key, now=_wall)
    await _check_there(url)
    if live:
        await player.play_live(population.live(rate=rate))
        return
    tally = await player.play(population.backfill())
    click.echo(
        f"{tally.sent:,} sent, {tally.accepted:,} accepted, {tally.duplicate:,} duplicate, "
        f"{tally.quarantined:,} quarantined in {tally.seconds:.1f} s ({tally.sent / tally.seconds:,.0f} events/s)"
    )


async def _check_there(url: str) -> None:
    """Raise Unavailable when nothing answers: the player waits long for a gateway that is on its way back."""
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
            await client.get(url.rstrip("/") + "/healthz")
    except (httpx2.TransportError, httpx2.InvalidURL, ExceptionGroup) as error:  # the last: no such port
        raise Unavailable(f"No gateway answers at {url}.", hint="Is it running? Check --url.") from error


def _moment(text: str | None) -> datetime:
    if text is None:
        return _wall().replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"--now {text!r} is not a time.", hint="For example 2026-01-01T00:00:00Z.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _wall() -> datetime:
    return datetime.fromtimestamp(ServerClock().now() / 1000, UTC)
