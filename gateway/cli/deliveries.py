"""`deliveries`: what destinations have not got, how they are, and replays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from gateway.app.opening import open_store
from gateway.cli.options import json_option, print_json
from gateway.connectors.asking import MOST_LETTERS, Asked, Asking
from gateway.errors import InvalidInput
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.pipeline.times import parse_time
from gateway.plugin.configuring import WORKSPACE
from gateway.settings import Settings, read_settings
from gateway.store.database import Document
from gateway.store.identities import Identities
from gateway.store.lane_items import DeadFilter

STATUSES = ("dead", "pending", "waiting")


@click.group()
def deliveries() -> None:
    """What destinations have not got, how they are, and replays."""


@deliveries.command("list")
@click.option("--workspace", default="main", show_default=True)
@click.option("--destination", metavar="NAME", help="Only this instance.")
@click.option("--status", type=click.Choice(STATUSES), default="dead", show_default=True)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(0, 1000), help="How many of them.")
@json_option
def list_(workspace: str, destination: str | None, status: str, limit: int, as_json: bool) -> None:
    """Say how each destination is, and what it has not got.

    \b
    Examples:
      journey-gateway deliveries list
      journey-gateway deliveries list --destination crm --status pending --json
    """
    places, rows = asyncio.run(_list(workspace, destination, status, limit))
    if as_json:
        print_json({"destinations": places, "deliveries": rows})
        return
    for place in places:
        why = f": {place['reason'].rstrip('.')}. {place['hint']}".rstrip() if place["reason"] else ""
        owed = ", ".join(f"{place[state]} {state}" for state in ("pending", "waiting", "dead"))
        click.echo(f"{place['name']:<16} {place['state']}, {place['behind']} behind, {owed}{why}")
        if not place["configured"]:
            click.echo(f"{'':<16} is not in the settings: `deliveries forget {place['name']}` drops what it is owed")
    for row in rows:
        said = row["reason"] or "not tried yet"
        click.echo(f"{row['since']}  {row['destination']:<16} {row['what']:<24} {row['attempts']} tries  {said}")


@deliveries.command()
@click.option("--workspace", default="main", show_default=True)
@click.option("--destination", metavar="NAME", help="Only this instance; a span of the log needs it.")
@click.option("--code", "codes", multiple=True, metavar="CODE", help="Dead letters given up for this. Repeatable.")
@click.option("--user", metavar="USERID", help="Only what belongs to this userId.")
@click.option("--from", "from_", metavar="TIME", help="The log from this moment on, or letters given up since.")
@click.option("--to", metavar="TIME", help="Up to this moment.")
@click.option("--log", is_flag=True, help="Events of the log rather than dead letters.")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, MOST_LETTERS), help="Letters at most.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@json_option
def replay(
    workspace: str,
    destination: str | None,
    codes: tuple[str, ...],
    user: str | None,
    from_: str | None,
    to: str | None,
    log: bool,
    limit: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Deliver once more: dead letters, or a span of the log. A running gateway sends it, behind what is live.

    \b
    Examples:
      journey-gateway deliveries replay --destination crm --code http_422 --dry-run
      journey-gateway deliveries replay --log --destination crm --from 2026-03-01 --to 2026-03-02
    """
    span = _moment("--from", from_), _moment("--to", to)
    if log and (destination is None or None in span or codes):
        raise click.UsageError("--log needs --destination, --from and --to, and takes no --code.")
    done = asyncio.run(_replay(workspace, destination, codes, user, span, log=log, limit=limit, dry_run=dry_run))
    if as_json:
        print_json({"matched": done.matched, "replayed": done.taken, "more": done.more, "dryRun": dry_run})
    else:
        click.echo(f"{done.matched} match" if dry_run else f"{done.taken} on their way")
        if done.more:
            click.echo("There are more: run the same again.", err=True)


@deliveries.command()
@click.argument("destination")
@click.option("--workspace", default="main", show_default=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(destination: str, workspace: str, yes: bool) -> None:
    """Drop DESTINATION, which is gone from the settings, with all that it has not got.

    Until then what happens is kept ready for it, and erasures wait to be told to it. Should it come back under the same
    name, it begins anew.

    \b
    Examples:
      journey-gateway deliveries forget old-crm
    """
    if destination in _configured(read_settings(), workspace):
        raise click.UsageError(f"{destination} is in the settings: take [connectors.{destination}] out first.")
    if not yes:
        click.confirm(f"Drop {destination} and what it has not got?", abort=True)
    gone = asyncio.run(_forget(workspace, destination))
    owed = gone["lane_items"] + gone["dead_letters"]
    click.echo(f"{destination} is forgotten, with {owed} that it had not got")


def _configured(settings: Settings, workspace: str) -> set[str]:
    """Names of the instances that the settings enable for a workspace."""
    tables = settings.connectors.values.items()
    return {
        name
        for name, table in tables
        if table.get("workspace", WORKSPACE) == workspace and table.get("enabled", True) is not False
    }


async def _forget(workspace: str, destination: str) -> Mapping[str, int]:
    async with open_store(read_settings()) as (database, clock):
        return await Asking(database, clock).forget(Scope.system(workspace), destination)


async def _list(
    workspace: str, destination: str | None, status: str, limit: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    settings = read_settings()
    configured = _configured(settings, workspace)
    async with open_store(settings) as (database, clock):
        all_of = Asking(database, clock).deliveries
        behind, counts = await all_of.behind(workspace, clock.now()), await all_of.items.counts(workspace)
        places = [
            {
                "name": one.instance,
                "connector": one.connector,
                "state": one.state,
                "configured": one.instance in configured,
                "behind": behind.get(one.instance, (0, 0.0))[0],
                **{state: counts.get(one.instance, {}).get(state, 0) for state in STATUSES},
                "reason": one.reason,
                "hint": one.hint,
            }
            for one in await all_of.standings(workspace)
            if destination in (None, one.instance)
        ]
        if status == "dead":
            rows = await all_of.items.dead(workspace, DeadFilter(destination), limit=limit) if limit else []
        elif limit:
            rows = await all_of.items.rows(workspace, state=status, instance=destination, limit=limit)  # type: ignore[arg-type]
        else:
            rows = []
    return places, [_told(row, status) for row in rows]


async def _replay(
    workspace: str,
    destination: str | None,
    codes: tuple[str, ...],
    user: str | None,
    span: tuple[int | None, int | None],
    *,
    log: bool,
    limit: int,
    dry_run: bool,
) -> Asked:
    async with open_store(read_settings()) as (database, clock):
        asking, scope = Asking(database, clock), Scope.system(workspace)
        of_user = None
        if user is not None:
            of_user = await Identities(database).user_of(scope, Identity("userId", user))
            if of_user is None:
                raise InvalidInput(f"Nobody is known as {user!r}.", hint="Give a userId as it was sent.")
        if log:
            since, until = span[0] or 0, span[1] or 0
            return await asking.log(scope, destination or "", since, until, user=of_user, dry_run=dry_run)
        wanted = DeadFilter(destination, list(codes) or None, of_user, span[0], span[1])
        return await asking.dead_letters(scope, wanted, limit=limit, dry_run=dry_run)


def _told(row: Document, status: str) -> dict[str, Any]:
    return {
        "id": f"delivery_{bytes(row['_id']).hex()}",
        "destination": row["instance"],
        "status": status,
        "what": row["about"].get("name") or row["kind"],
        "attempts": row["attempts"],
        "code": row["code"],
        "reason": row["reason"],
        "since": datetime.fromtimestamp(row["since"] / 1000, UTC).isoformat(timespec="seconds"),
    }


def _moment(option: str, text: str | None) -> int | None:
    moment = None if text is None else parse_time(text)
    if text is not None and moment is None:
        raise click.BadParameter("Give a time such as 2026-03-01 or 2026-03-01T12:00:00Z.", param_hint=option)
    return moment
