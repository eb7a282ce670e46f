"""`keys`: create, list, rotate and revoke the keys of a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import click

from gateway.access.keybook import KeyBook, KeyEntry, NewKey
from gateway.access.keys import KNOWN_SECONDS
from gateway.cli.data import place
from gateway.cli.opened import open_gateway
from gateway.cli.options import json_option, print_json
from gateway.contract import parse_duration
from gateway.errors import InvalidInput
from gateway.model.scope import PERMISSIONS
from gateway.settings import read_settings

if TYPE_CHECKING:
    from gateway.app.building import Gateway

T = TypeVar("T")

_workspace = click.option("--workspace", default="main", show_default=True)
_label = click.option("--label", default="", help="What it is for, in your words.")
_expires = click.option("--expires", metavar="WHEN", help="When it ends: 90d, 12h, or 2027-01-31. Without: never.")
_KEY = "KEY is its id, the beginning that `keys list` shows (wk_1a2B3c4D), or the key itself."


@click.group()
def keys() -> None:
    """Write keys (they send events) and API keys (they read and manage), stored as hashes and shown once."""


@keys.group()
def create() -> None:
    """Make a key; it is printed once."""


@create.command("write")
@_workspace
@click.option("--source", default="main", show_default=True, help="What sends: part of every event's id.")
@click.option("--origin", "origins", multiple=True, help="Only browsers there, as https://*.shop.example. Repeatable.")
@click.option("--rate", type=float, metavar="N", help="Most events a second, in each process.")
@click.option("--burst", type=float, metavar="N", help="Most events at once. Default: 10 seconds of the rate.")
@click.option("--user-hash", is_flag=True, help="Secure mode: a userId must come with its HMAC, made by your server.")
@_label
@_expires
@json_option
def create_write(
    workspace: str,
    source: str,
    origins: tuple[str, ...],
    rate: float | None,
    burst: float | None,
    user_hash: bool,
    label: str,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a write key: public, it sends events of one SOURCE and nothing else.

    \b
    Examples:
      journey-gateway keys create write --source web --origin https://shop.example
      journey-gateway keys create write --source app --rate 500 --user-hash --label "iOS and Android"
    """
    end = _end(expires)

    async def make(gateway: Gateway, book: KeyBook) -> NewKey:
        return await book.create_write_key(
            workspace,
            source,
            label=label,
            origins=origins,
            rate=rate,
            burst=burst,
            user_hash=user_hash,
            expires_at=end(gateway.clock.now()),
        )

    _show_new("Write key", _run(make, workspace), as_json=as_json)


@create.command("api", epilog="Permissions: " + ", ".join(PERMISSIONS))
@_workspace
@click.option("--may", "permissions", multiple=True, metavar="PERMISSION", help="What it opens. Repeatable.")
@click.option("--may-all", is_flag=True, help="Every permission there is now.")
@click.option("--team", "teams", multiple=True, help="A team it speaks for, as the contract's owners. Repeatable.")
@_label
@_expires
@json_option
def create_api(
    workspace: str,
    permissions: tuple[str, ...],
    may_all: bool,
    teams: tuple[str, ...],
    label: str,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make an API key: secret, for servers and tools.

    \b
    Examples:
      journey-gateway keys create api --may journeys:read --may kpis:read --label dashboard
      journey-gateway keys create api --may tokens:mint --expires 90d --json
      journey-gateway keys create api --may contract:read --may contract:propose --team ux-research
    """
    if bool(permissions) == may_all:
        raise InvalidInput(
            "The key needs permissions.", hint=f"Give --may for each, or --may-all: {', '.join(PERMISSIONS)}."
        )
    wanted = frozenset(PERMISSIONS if may_all else permissions)
    end = _end(expires)

    async def make(gateway: Gateway, book: KeyBook) -> NewKey:
        return await book.create_api_key(
            workspace, wanted, label=label, teams=teams, expires_at=end(gateway.clock.now())
        )

    _show_new("API key", _run(make, workspace), as_json=as_json)


@keys.command("list")
@_workspace
@click.option("--all", "every", is_flag=True, help="Expired and revoked ones too.")
@json_option
def list_keys(workspace: str, every: bool, as_json: bool) -> None:
    """List the keys of a workspace; never their values.

    \b
    Example:
      journey-gateway keys list --json | jq '.[] | select(.lastUsedAt == null)'
    """

    async def read(gateway: Gateway, book: KeyBook) -> tuple[list[KeyEntry], int]:
        return await book.entries(workspace), gateway.clock.now()

    entries, now = _run(read, workspace)
    shown = [entry for entry in entries if every or entry.status(now) in ("active", "rotated")]
    if as_json:
        print_json([_as_json(entry, now) for entry in shown])
        return
    rows = [("ID", "KEY", "OPENS", "STATUS", "LAST USED", "LABEL")]
    rows += [
        (
            entry.id,
            f"{entry.shown}…" if entry.shown else "–",
            _opens(entry),
            _status(entry, now),
            _time(entry.last_used_at) or "–",
            entry.label,
        )
        for entry in shown
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command(epilog=_KEY)
@click.argument("key")
@_workspace
@click.option("--overlap", default="24h", show_default=True, metavar="TIME", help="How long the old value opens too.")
@click.option("--now", "at_once", is_flag=True, help="The old value opens nothing any more: for a key that leaked.")
@click.option("--new-user-hash", is_flag=True, help="With a new secret for `userHash` (write keys in secure mode).")
@_expires
@json_option
def rotate(
    key: str, workspace: str, overlap: str, at_once: bool, new_user_hash: bool, expires: str | None, as_json: bool
) -> None:
    """Give KEY a new value; the old one opens a while longer, so that nothing breaks meanwhile.

    \b
    Examples:
      journey-gateway keys rotate sk_1a2B3c4D
      journey-gateway keys rotate sk_1a2B3c4D --now
    """
    overlap_ms = 0 if at_once else _milliseconds(overlap)
    end = _end(expires)

    async def change(gateway: Gateway, book: KeyBook) -> NewKey:
        return await book.rotate(
            await book.find(workspace, key),
            overlap_ms=overlap_ms,
            expires_at=end(gateway.clock.now()),
            new_user_hash=new_user_hash,
        )

    _show_new("New value", _run(change, workspace), as_json=as_json)
    until = "nothing any more" if at_once else f"for another {overlap}"
    click.echo(f"The old value opens {until}.{_soon() if at_once else ''}", err=True)


@keys.command(epilog=_KEY)
@click.argument("key")
@_workspace
@json_option
def revoke(key: str, workspace: str, as_json: bool) -> None:
    """End KEY for good, with every token it minted and every subscription that runs on either.

    \b
    Example:
      journey-gateway keys revoke sk_1a2B3c4D
    """

    async def end(gateway: Gateway, book: KeyBook) -> tuple[KeyEntry, int]:
        await book.revoke(await book.find(workspace, key))
        return await book.find(workspace, key), gateway.clock.now()

    entry, now = _run(end, workspace)
    if as_json:
        print_json(_as_json(entry, now))
    else:
        click.echo(f"Revoked {entry.id}{f' ({entry.label})' if entry.label else ''}.{_soon()}")


def _run(work: Callable[[Gateway, KeyBook], Awaitable[T]], workspace: str) -> T:
    """Do something with the keys of a workspace that there is."""

    async def run() -> T:
        async with open_gateway(read_settings()) as gateway:
            if workspace not in await gateway.keyring.workspaces():
                raise InvalidInput(
                    f"There is no workspace {workspace!r} in {place(gateway)}.",
                    hint=f"`journey-gateway init {workspace}` makes it, with its first keys.",
                )
            return await work(gateway, gateway.keyring.book)

    return asyncio.run(run())


def _show_new(title: str, key: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "id": key.id,
                "key": key.value,
                "userHashSecret": key.user_hash_secret,
                "expiresAt": _time(key.expires_at, exactly=True),
            }
        )
    else:
        click.echo(f"{title:<15}  {key.value}")
        if key.user_hash_secret is not None:
            click.echo(f"userHash secret  {key.user_hash_secret}")
        click.echo(f"{'Id':<15}  {key.id}")
    click.echo("Keep it: it cannot be shown again.", err=True)


def _end(expires: str | None) -> Callable[[int], int | None]:
    """When `--expires` is, in milliseconds, told what the time is. Raises InvalidInput before a database is asked."""
    if expires is None:
        return lambda now: None
    if expires[:4].isdigit() and "-" in expires:
        try:
            when = datetime.fromisoformat(expires)
        except ValueError:
            raise InvalidInput(f"--expires {expires!r} is no date.", hint="Write 2027-01-31 (UTC).") from None
        at = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
        return lambda now: at
    lasting = _milliseconds(expires, "; or a date, such as 2027-01-31")
    return lambda now: now + lasting


def _milliseconds(duration: str, more: str = "") -> int:
    try:
        return int(parse_duration(duration).total_seconds() * 1000)
    except ValueError as error:
        raise InvalidInput(f"{duration!r} is no time.", hint=f"{str(error).capitalize()}{more}.") from None


def _soon() -> str:
    return f" Every process knows within {KNOWN_SECONDS:.0f} seconds, usually one."


def _opens(entry: KeyEntry) -> str:
    if entry.kind == "api":
        opens = "everything" if PERMISSIONS.keys() <= set(entry.permissions) else " ".join(entry.permissions)
        teams = f" for {', '.join(entry.teams)}" if entry.teams else ""
        return (opens or "nothing") + teams
    limits = [f"source {entry.source}"]
    if entry.origins:
        limits.append(f"{len(entry.origins)} origin{'s' if len(entry.origins) > 1 else ''}")
    if entry.rate is not None:
        limits.append(f"{entry.rate:g}/s")
    if entry.user_hash:
        limits.append("userHash")
    return ", ".join(limits)


def _status(entry: KeyEntry, now: int) -> str:
    status = entry.status(now)
    if status == "revoked" or entry.expires_at is None:
        return status
    return f"{status} {'since' if status == 'expired' else 'until'} {_time(entry.expires_at)}"


def _time(at: int | None, *, exactly: bool = False) -> str | None:
    if at is None:
        return None
    when = datetime.fromtimestamp(at / 1000, UTC)
    return when.isoformat() if exactly else when.strftime("%Y-%m-%d %H:%M")


def _as_json(entry: KeyEntry, now: int) -> dict[str, object]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "shown": entry.shown,
        "label": entry.label,
        "workspace": entry.workspace,
        "status": entry.status(now),
        "source": entry.source,
        "permissions": entry.permissions,
        "teams": entry.teams,
        "origins": entry.origins,
        "rate": entry.rate,
        "burst": entry.burst,
        "userHash": entry.user_hash,
        "createdAt": _time(entry.created_at, exactly=True),
        "expiresAt": _time(entry.expires_at, exactly=True),
        "revokedAt": _time(entry.revoked_at, exactly=True),
        "lastUsedAt": _time(entry.last_used_at, exactly=True),
        "replacedBy": entry.replaced_by,
    }
