"""`audit`: the plan beside what comes in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import click

from gateway.app.opening import open_store
from gateway.cli.options import json_option, print_json
from gateway.cli.trial import lasting
from gateway.errors import InvalidInput, NotFound
from gateway.model.scope import Scope
from gateway.pipeline.contracts import load_version
from gateway.quality.auditing import MOST_DAYS, Audit, Auditor
from gateway.quality.findings import KINDS, AuditFinding
from gateway.settings import read_settings
from gateway.store.catalog import DAY_MS
from gateway.store.contracts import Versions
from gateway.store.keys import Keys

_ANY = "any"


@click.command()
@click.option("--workspace", default="main", show_default=True)
@click.option(
    "--range", "span", default="7d", show_default=True, metavar="TIME", help=f"Up to now, at most {MOST_DAYS}d."
)
@click.option("--fail-on", metavar="KINDS", help="Exit 1 when there is one of these, separated by commas; or `any`.")
@json_option
def audit(workspace: str, span: str, fail_on: str | None, as_json: bool) -> None:
    """Say what is wrong with what is sent: the plan beside what comes in.

    \b
    Kinds: never_seen, unplanned, near_duplicate, dead_property, type_drift, misfit, volume, silence,
    inconsistent_ids, loss.

    \b
    Examples:
      journey-gateway audit --range 28d
      journey-gateway audit --fail-on never_seen,type_drift,silence --json
    """
    failing, lasts = _kinds(fail_on), lasting(span)
    if lasts > MOST_DAYS * DAY_MS:
        raise InvalidInput(f"{span} is longer than {MOST_DAYS} days.", hint="Ask for less.")
    done = asyncio.run(_audit(workspace, lasts))
    if as_json:
        print_json(_as_json(done))
    else:
        for line in _lines(done):
            click.echo(line)
    if any(one.kind in failing for one in done.findings):
        raise SystemExit(1)


async def _audit(workspace: str, span: int) -> Audit:
    async with open_store(read_settings()) as (database, clock):
        if workspace not in await Keys(database).workspaces():
            raise NotFound(
                f"There is no workspace {workspace!r}.", hint=f"`journey-gateway init {workspace}` makes it."
            )
        version = await Versions(database).newest()
        plan = [] if version is None else [*load_version(version).events.values()]
        now = clock.now()
        return await Auditor(database).audit(Scope.system(workspace), plan, (now - span, now), now)


def _kinds(given: str | None) -> frozenset[str]:
    asked = frozenset(part.strip() for part in (given or "").split(",") if part.strip())
    if _ANY in asked:
        return frozenset(KINDS)
    unknown = sorted(asked - set(KINDS))
    if unknown:
        raise InvalidInput(f"An audit finds no {unknown[0]!r}.", hint=f"It finds: {', '.join(KINDS)}.")
    return asked


def _lines(done: Audit) -> list[str]:
    if not done.findings:
        return [f"Nothing found: {done.event_types:,} event types, the ids of {done.senders:,} events."]
    lines = []
    for one in done.findings:
        lines.append(f"{one.severity.value:<8} {one.kind:<16} {one.message}")
        lines += [f"{'':26}{text}" for text in (*one.evidence, *_shares(one), one.fix)]
    return lines


def _shares(one: AuditFinding) -> list[str]:
    if not one.shares:
        return []
    parts = [
        f"{platform}{'' if version is None else f' {version}'}: {count:,}" for platform, version, count in one.shares
    ]
    return ["from " + ", ".join(parts)]


def _as_json(done: Audit) -> dict[str, object]:
    begin, end = (datetime.fromtimestamp(at / 1000, UTC).isoformat() for at in done.between)
    return {
        "from": begin,
        "to": end,
        "eventTypes": done.event_types,
        "senders": done.senders,
        "findings": [
            {
                "kind": one.kind,
                "severity": one.severity.value,
                "subject": one.subject,
                "message": one.message,
                "fix": one.fix,
                "evidence": [*one.evidence],
                "shares": [
                    {"platform": platform, "appVersion": version, "count": count}
                    for platform, version, count in one.shares
                ],
            }
            for one in done.findings
        ],
    }
