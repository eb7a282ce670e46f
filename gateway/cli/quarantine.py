"""`quarantine`: what could not become an event, looked at and sent through intake again."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gateway.cli.data import place
from gateway.cli.opened import open_gateway
from gateway.cli.options import json_option, print_json
from gateway.errors import InvalidInput
from gateway.model.event import JsonObject
from gateway.model.scope import Scope
from gateway.pipeline.replaying import MAX_ROWS, Replayed, Replays
from gateway.pipeline.times import parse_time
from gateway.settings import read_settings
from gateway.store.database import Document
from gateway.store.quarantine import QuarantineFilter

if TYPE_CHECKING:
    from gateway.app.building import Gateway

_ID = re.compile(r"(?:quarantined_)?([0-9a-f]{32})")
_FEW = 20

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def quarantine() -> None:
    """Messages that could not become events: kept as they were sent, with the reason."""


def _filters(command: Command) -> Command:
    """The filters that the API has, for both commands."""
    for option in reversed(
        (
            click.option("--workspace", default="main", show_default=True),
            click.option("--code", "codes", multiple=True, help="Only those with this reason. Repeatable."),
            click.option("--source", help="Only those of this source."),
            click.option("--from", "since", metavar="TIME", help="Only those first seen from then on (ISO 8601)."),
            click.option("--to", "until", metavar="TIME", help="Only those first seen before then."),
            click.option("--message-id", metavar="ID", help="Only those sent with this messageId."),
            click.option(
                "--id", "ids", multiple=True, metavar="ID", help="Only this one, as `list` shows. Repeatable."
            ),
        )
    ):
        command = option(command)
    return command


@quarantine.command("list")
@_filters
@click.option("--first", type=click.IntRange(1, MAX_ROWS), default=_FEW, show_default=True, help="How many at most.")
@click.option("--original", is_flag=True, help="With --json: what was sent, too. It holds personal data.")
@json_option
def list_rows(workspace: str, first: int, original: bool, as_json: bool, **given: Any) -> None:
    """List what is in quarantine, the newest first.

    \b
    Examples:
      journey-gateway quarantine list --code wrong_type --from 2026-01-01
      journey-gateway quarantine list --json --original | jq '.quarantined[0].original'
    """
    if original and not as_json:
        raise click.UsageError("--original belongs to --json.")
    rows = asyncio.run(_list(workspace, _wanted(**given), first + 1))
    more, rows = len(rows) > first, rows[:first]
    if as_json:
        print_json({"quarantined": [_told(row, original=original) for row in rows], "more": more})
        return
    for row in rows:
        seen = _time(row["receivedAt"])
        click.echo(f"{bytes(row['_id']).hex()}  {seen}  {row.get('count') or 1:>4}x  {row['source']}  {row['code']}")
        click.echo(f"  {row.get('reason') or 'no reason was noted'}")
    click.echo(f"{len(rows) or 'Nothing'} in quarantine{', and more (--first)' if more else ''}.", err=True)


@quarantine.command()
@_filters
@click.option("--all", "everything", is_flag=True, help="All of it; otherwise name a filter or --id.")
@click.option("--patch", metavar="JSON", help="Changes each message: a JSON merge patch (RFC 7396); null removes.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
@click.option("--first", type=click.IntRange(1, MAX_ROWS), default=1_000, show_default=True, help="How many at most.")
@json_option
def replay(
    workspace: str, everything: bool, patch: str | None, dry_run: bool, first: int, as_json: bool, **given: Any
) -> None:
    """Send quarantined messages through intake again, the oldest first, each changed by --patch.

    Those that become events leave quarantine; the others stay, with what is still wrong. Twice is once: a message keeps
    its source and its messageId. Exit code 1 when some stay.

    \b
    Examples:
      journey-gateway quarantine replay --code wrong_type --patch '{"userId": null}' --dry-run
      journey-gateway quarantine replay --all
    """
    wanted = _wanted(**given)
    if everything == (wanted != QuarantineFilter()):
        raise click.UsageError("Name what to replay by a filter or --id, or give --all.")
    done = asyncio.run(_replay(workspace, wanted, _patch(patch), dry_run=dry_run, first=first))
    _show(done, dry_run=dry_run, as_json=as_json)
    if done.conflict + done.quarantined + done.refused:
        raise SystemExit(1)


async def _list(workspace: str, wanted: QuarantineFilter, limit: int) -> list[Document]:
    async with _opened(workspace) as gateway:
        return await gateway.quarantine.page(Scope.system(workspace), wanted, limit=limit)


async def _replay(
    workspace: str, wanted: QuarantineFilter, patch: JsonObject | None, *, dry_run: bool, first: int
) -> Replayed:
    async with _opened(workspace) as gateway:
        replays = Replays(gateway.quarantine, gateway.intake, gateway.clock)
        return await replays.run(Scope.system(workspace), wanted, patch=patch, dry_run=dry_run, limit=first)


@asynccontextmanager
async def _opened(workspace: str) -> AsyncIterator[Gateway]:
    async with open_gateway(read_settings()) as gateway:
        if workspace not in await gateway.keyring.workspaces():
            raise InvalidInput(
                f"There is no workspace {workspace!r} in {place(gateway)}.", hint="Name one with --workspace."
            )
        yield gateway


def _wanted(
    codes: tuple[str, ...],
    source: str | None,
    since: str | None,
    until: str | None,
    message_id: str | None,
    ids: tuple[str, ...],
) -> QuarantineFilter:
    return QuarantineFilter(
        codes=list(codes) or None,
        source=source,
        from_=_moment("--from", since),
        to=_moment("--to", until),
        message_id=message_id,
        ids=[_key(one) for one in ids] or None,
    )


def _moment(option: str, text: str | None) -> int | None:
    moment = None if text is None else parse_time(text)
    if text is not None and moment is None:
        raise InvalidInput(f"{option} {text!r} is not a time.", hint="For example 2026-01-01T00:00:00Z.")
    return moment


def _key(given: str) -> bytes:
    found = _ID.fullmatch(given)
    if found is None:
        raise InvalidInput(
            f"--id {given[:60]!r} is not an id of a quarantined message.",
            hint="Take the first column of `journey-gateway quarantine list`.",
        )
    return bytes.fromhex(found[1])


def _patch(text: str | None) -> JsonObject | None:
    if text is None:
        return None
    try:
        patch = json.loads(text)
    except ValueError:
        patch = None
    if not isinstance(patch, dict):
        raise InvalidInput("--patch must be a JSON object.", hint="""Such as --patch '{"userId": "42"}'.""")
    return patch


def _told(row: Document, *, original: bool) -> dict[str, object]:
    told = {
        "id": f"quarantined_{bytes(row['_id']).hex()}",
        "code": row["code"],
        "reason": row.get("reason"),
        "stage": row.get("stage"),
        "source": row["source"],
        "messageId": row.get("messageId"),
        "firstSeen": _time(row["receivedAt"]),
        "lastSeen": _time(row.get("lastSeen") or row["receivedAt"]),
        "count": row.get("count") or 1,
    }
    return told | ({"original": bytes(row["original"]).decode("utf-8", "replace")} if original else {})


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _show(done: Replayed, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        verdicts = ("matched", "accepted", "duplicate", "conflict", "quarantined", "refused", "more")
        counts = {name: getattr(done, name) for name in verdicts}
        print_json({"dryRun": dry_run, **counts, "reasons": dict(done.reasons.most_common())})
        return
    would = "would be " if dry_run else ""
    click.echo(f"{done.matched:,} tried{' (dry run: nothing was changed)' if dry_run else ''}.")
    click.echo(f"  {done.accepted:,} {would}accepted, {done.duplicate:,} were events already")
    for code, count in done.reasons.most_common():
        click.echo(f"  {count:,} {'would stay' if dry_run else 'stay'}: {code}")
    if done.more:
        click.echo("There are more: run it again, or give --first.", err=True)
    if done.reasons:
        click.echo("`journey-gateway quarantine list` says what to change; --patch changes it.", err=True)
