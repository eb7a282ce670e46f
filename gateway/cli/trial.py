"""What a dry run on users says: a new contract tried on those who were seen lately."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from gateway.contract import Contract, parse_duration
from gateway.errors import InvalidInput
from gateway.pipeline.people import People
from gateway.pipeline.trial import ContractTrial, MapTrial, Place, try_contract
from gateway.store.database import Database
from gateway.store.exports import Exports
from gateway.store.identities import Identities
from gateway.store.keys import Keys

_MOST_MOVES = 20

#: In place of a stage: a run has left one and entered none since.
BETWEEN = "(between stages)"


def lasting(duration: str) -> int:
    """Milliseconds of `30d`. Raises InvalidInput."""
    try:
        return int(parse_duration(duration).total_seconds() * 1000)
    except ValueError as error:
        raise InvalidInput(f"{duration!r} is no time.", hint=f"{str(error).capitalize()}.") from None


async def try_on_users(
    database: Database, now: int, before: Contract | None, after: Contract, span: int, workspace: str | None = None
) -> ContractTrial:
    """Try `after` on everybody seen in the last `span` ms, of one workspace or of all."""
    people = People(Exports(database), Identities(database))
    workspaces = [workspace] if workspace is not None else await Keys(database).workspaces()
    columns = SpinnerColumn(), TextColumn("{task.completed:,} users tried")
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trial", total=None)
        return await try_contract(
            people,
            workspaces,
            before if before is not None else Contract("", {}, {}),
            after,
            since=now - span,
            as_of=now,
            progress=lambda users: progress.update(task, completed=users),
        )


def trial_as_json(trial: ContractTrial) -> dict[str, object]:
    return {
        "since": datetime.fromtimestamp(trial.since / 1000, UTC).isoformat(),
        "users": trial.users,
        "usersThatDoNotFold": trial.not_folding,
        "maps": {key: _map_as_json(counted) for key, counted in trial.maps.items()},
        "segments": {key: asdict(counted) for key, counted in trial.segments.items()},
    }


def _map_as_json(counted: MapTrial) -> dict[str, object]:
    return {
        "users": counted.users,
        "usersWithOtherRuns": counted.changed,
        "usersWhoseStageChanges": counted.moves.total(),
        "runs": [
            {"stage": stage, "status": status, "before": old, "after": new}
            for (stage, status), old, new in _places(counted)
        ],
        "moves": [
            {"from": _place_as_json(old), "to": _place_as_json(new), "users": users}
            for (old, new), users in counted.moves.most_common()
        ],
    }


def _place_as_json(place: Place | None) -> dict[str, str | None] | None:
    return None if place is None else {"stage": place[0], "status": place[1]}


def trial_lines(trial: ContractTrial) -> Iterator[str]:
    """The same for people."""
    since = datetime.fromtimestamp(trial.since / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield f"Tried on {trial.users:,} users seen since {since}:"
    if trial.not_folding:
        yield f"  {trial.not_folding:,} more have events that do not fold"
    if not trial.maps:
        yield "  no map says anything else, so no journey changes"
    for key, counted in trial.maps.items():
        yield (
            f"  {key}: {counted.users:,} users have runs, {counted.changed:,} of them other ones, "
            f"{counted.moves.total():,} stand elsewhere"
        )
        yield f"    {'stage':<24} {'status':<10} {'runs before':>12} {'after':>12}"
        for (stage, status), old, new in _places(counted):
            yield f"    {stage or BETWEEN:<24} {status:<10} {old:>12,} {new:>12,}"
        for (was, now), users in counted.moves.most_common(_MOST_MOVES):
            yield f"    {users:>8,} users  {_named(was)} -> {_named(now)}"
        if len(counted.moves) > _MOST_MOVES:
            yield f"    and {len(counted.moves) - _MOST_MOVES:,} moves more (--json lists them)"
    for key, segment in trial.segments.items():
        yield (
            f"  segment {key}: {segment.before:,} users before, {segment.after:,} after; {segment.entered:,} enter it, "
            f"{segment.left:,} leave it"
        )


def _places(counted: MapTrial) -> Iterator[tuple[Place, int, int]]:
    for place in sorted({*counted.before, *counted.after}, key=lambda place: (place[0] or "", place[1])):
        yield place, counted.before[place], counted.after[place]


def _named(place: Place | None) -> str:
    return "no run" if place is None else f"{place[0] or BETWEEN} ({place[1]})"
