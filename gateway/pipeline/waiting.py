"""Rows of `work` that wait in our lanes, taken as they are inside the transaction that folds them."""

from __future__ import annotations

from gateway.model.scope import Scope
from gateway.pipeline.batch import Batch
from gateway.pipeline.folding import Fold
from gateway.store.work import Again, Work


async def take_waiting(work: Work, fold: Fold, batch: Batch) -> None:
    """Put what waits for our users into the batch's task, forward what belongs to others by now."""
    if not (batch.waiting.events or batch.waiting.users or batch.again):
        return
    ours = [user for user in batch.again if batch.owns(user)]
    events, again = await work.still_pending(batch.workspace, batch.waiting, ours, batch.session)
    for one in again:
        batch.ask_again(one)
    if events:
        await _take_events(work, fold, batch, events)
    await _take_users(work, batch, {one.user for one in again})


async def _take_events(work: Work, fold: Fold, batch: Batch, waiting: dict[bytes, str]) -> None:
    workspace, session = batch.workspace, batch.session
    found = await fold.events.get(Scope.system(workspace), waiting, session=session)
    identities = {event.identity for event in found.values()}
    members = await fold.identities.members(workspace, identities, session=session)
    users = {key: members[event.identity].user for key, event in found.items() if event.identity in members}
    ours = {key: user for key, user in users.items() if batch.owns(user)}
    for key, user in ours.items():
        batch.task.events.setdefault(user, []).append(found[key])
    # Events that are gone were erased: nothing is folded, and their rows are done with.
    gone = {key: user for key, user in waiting.items() if key not in users}
    await work.finish(workspace, ours | gone, (), now=batch.now, session=session)
    await work.forward(workspace, {key: user for key, user in users.items() if key not in ours}, session)


async def _take_users(work: Work, batch: Batch, rows: set[str]) -> None:
    """Users to fold again: ours now, and after them whoever got identities of theirs; the others' owners are told."""
    others: dict[str, Again] = {}
    reached: set[str] = set()
    waiting = list(batch.again)
    while waiting:
        user = waiting.pop()
        one = batch.again.get(user, Again(user))
        if not batch.owns(user):
            others[user] = one
        elif user not in reached:
            reached.add(user)
            waiting += one.to
            if one.heir is not None:
                batch.task.heirs[user] = one.heir
    batch.task.again |= reached
    await work.ask_again(batch.workspace, others.values(), batch.session)
    await work.finish(batch.workspace, {}, rows & reached, now=batch.now, session=batch.session)
