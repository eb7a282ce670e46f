"""Scans: every event that a question is about, with the users of now, as sorted arrays.

A scan is made of the parts that the manifest lists at one moment and of the tail: what the feed has announced since
and no part has yet. Each event comes once; so numbers are as fresh as derivation. Where there are no parts, all of it
is read from MongoDB, within a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from gateway.clock import Clock
from gateway.errors import TooLarge, Unavailable
from gateway.insights.columnar import selecting
from gateway.insights.columnar.engine import Connection, Engine, MissingPart, Queue, within
from gateway.insights.columnar.folder import Folder, PartsElsewhere
from gateway.insights.columnar.selecting import Array, Rows, Scalar, Selection
from gateway.insights.columnar.users import Codes, Directory, Users
from gateway.model.scope import Scope
from gateway.store.columnar import Generation, Manifest, Manifests, Part, Positions
from gateway.store.columnar_rows import ColumnarRows, distance, projection
from gateway.store.database import Database, Document
from gateway.store.measures import Measures

#: How often a scan begins anew because a part was replaced under it.
_TRIES = 3
#: Rows of the feed that are looked at, rather than the question be answered anew.
_MOST_LOOKED_AT = 20_000
_WIDER = "Ask for a shorter range or fewer events, or raise GATEWAY_SCAN_ROWS."


@dataclass(frozen=True, slots=True)
class Limits:
    """What one question may cost: rows of parts and tail, rows read from MongoDB alone, seconds with waiting."""

    rows: int = 20_000_000
    stored_rows: int = 200_000
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Version:
    """What a scan saw: equal versions and selections have equal rows, as long as nobody is merged, split, suppressed or
    changes their consent. `users` changes with the former."""

    generation: int
    version: int
    heads: Positions


@dataclass(frozen=True, slots=True)
class Scanned:
    """Events in the order of (user, at, seq, id), as columns of equal length n.

    `user` int32 are codes that `ids_of` turns into ids, `at` and `seq` int64 (ms; sequence), `name` uint16 places in
    `names`. `matches[r]` bool [n] says which events rule r of the selection matches. `numbers` are float64, NaN where
    there is none; `labels` int32 places in `values`, -1 where there is none.
    """

    selection: Selection
    version: Version
    user: Codes
    at: Array
    seq: Array
    name: Array
    matches: tuple[Array, ...]
    numbers: dict[str, Array]
    labels: dict[str, Array]
    values: dict[str, list[Scalar]]
    users: Users = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return self.selection.names

    def __len__(self) -> int:
        return len(self.at)

    def take(self, which: Array) -> Scanned:
        """Some of the rows, in the same order."""
        return replace(
            self,
            user=self.user[which],
            at=self.at[which],
            seq=self.seq[which],
            name=self.name[which],
            matches=tuple(column[which] for column in self.matches),
            numbers={path: column[which] for path, column in self.numbers.items()},
            labels={label: column[which] for label, column in self.labels.items()},
        )

    def ids_of(self, users: Sequence[int] | Codes) -> list[str]:
        """The ids of these users, by their codes."""
        return self.users.ids(users)


@dataclass(slots=True)
class Scans:
    """Scans for all callers of one process. `folder` None: there is no projection."""

    database: Database
    folder: Folder | None
    engine: Engine
    directory: Directory
    clock: Clock
    limits: Limits = field(default_factory=Limits)
    #: For questions that MongoDB alone answers: what they read lies in this process's memory.
    reads: Queue = field(default_factory=lambda: Queue(2, 64))

    async def version(self, scope: Scope) -> Version:
        """What a scan would see now: together with a definition's hash the key of a cached result."""
        head, (heads, _) = await asyncio.gather(
            Manifests(self.database).head(scope.workspace), ColumnarRows(self.database).heads_and_floors()
        )
        return Version(head.current, head.version, heads)

    async def same(self, scope: Scope, then: Version, now: Version, names: Collection[str] | None) -> bool:
        """Whether nothing came between two versions that an answer about events of these names (None: about anything)
        could tell."""
        if then == now:
            return True
        if (then.generation, then.version) != (now.generation, now.version):
            return False
        if distance(then.heads, now.heads) > _MOST_LOOKED_AT:
            return False
        rows = ColumnarRows(self.database)
        _, floors = await rows.heads_and_floors()
        kept = all(floor - 1 <= position for floor, position in zip(floors, then.heads, strict=True))
        return kept and not await rows.came(scope.workspace, then.heads, now.heads, names)

    async def scan(self, scope: Scope, selection: Selection, among: Collection[str] | None = None) -> Scanned:
        """The selected events of the scope's workspace, sorted; only those of these users, when given by their ids.

        Raises TooLarge for a question about too much, Unavailable when it takes too long or too many wait, and
        PartsElsewhere where this process does not see the parts. It ends when its task is cancelled.
        """
        # All of it counts: what is read from MongoDB, and who is whose, which the first question has to wait for.
        async with within(self.limits.seconds):
            for last in range(_TRIES - 1, -1, -1):
                try:
                    return await self._scan(scope, selection, among)
                except MissingPart as error:
                    if not last:
                        raise Unavailable(error.message, hint="`journey-gateway doctor` says what is wrong.") from error
        raise AssertionError("unreachable")

    async def _scan(self, scope: Scope, selection: Selection, among: Collection[str] | None) -> Scanned:
        workspace = scope.workspace
        manifest = await Manifests(self.database).read(workspace)
        heads, floors = await ColumnarRows(self.database).heads_and_floors()
        parts: list[Part] = []
        if self._usable(manifest, floors):
            assert manifest.current is not None
            parts = await self._parts(manifest, selection)
            tail = await self._tail(workspace, manifest.current, heads, selection)
        else:
            async with self.reads.turn(None):
                tail = await self._stored(workspace, selection)
        # Behind the events, so that nobody's identity is missing; before the work, so that it stays one moment.
        users = await self.directory.users(workspace)
        denying = users.codes((await Measures(self.database).denying(scope)).users)
        work = partial(
            _assembled,
            folder=self.folder,
            parts=parts,
            tail=tail,
            workspace=workspace,
            selection=selection,
            users=users,
            denying=denying,
            among=None if among is None else users.codes(among),
        )
        scanned = await self.engine.run(work)
        return replace(scanned, version=Version(manifest.head.current, manifest.head.version, heads))

    def _usable(self, manifest: Manifest, floors: Positions) -> bool:
        """Whether parts and tail have everything."""
        current = manifest.current
        if self.folder is None or current is None:
            return False
        return all(floor - 1 <= position for floor, position in zip(floors, current.positions, strict=True))

    async def _parts(self, manifest: Manifest, selection: Selection) -> list[Part]:
        start, end = selection.between
        chosen = [
            part
            for part in manifest.live(manifest.head.current)
            if part.first < end and part.last >= start and part.rows_of(selection.names)
        ]
        rows = sum(part.rows_of(selection.names) for part in chosen)
        if rows > self.limits.rows:
            raise TooLarge(
                f"The question is about {rows:,} stored events or nearly so; at most {self.limits.rows:,} are scanned.",
                hint=_WIDER,
            )
        if chosen:
            folder = self.folder
            assert folder is not None
            name = await self.engine.run(lambda _: folder.name(make=False))
            if name != manifest.head.store:
                raise PartsElsewhere(
                    "This gateway does not see the parts of the columnar projection.",
                    hint="Set GATEWAY_COLUMNAR_URL to the folder that all gateways share.",
                )
        return chosen

    async def _tail(
        self, workspace: str, current: Generation, heads: Positions, selection: Selection
    ) -> list[Document]:
        rows: list[Document] = []
        pages = ColumnarRows(self.database).tail(
            workspace, current.positions, heads, selection.names, selection.between, projection(selection.paths)
        )
        async for page in pages:
            rows += page
        return rows

    async def _stored(self, workspace: str, selection: Selection) -> list[Document]:
        """Everything from MongoDB, within the limit."""
        store, most = ColumnarRows(self.database), self.limits.stored_rows
        if await store.count(workspace, selection.names, selection.between, at_most=most + 1) > most:
            raise TooLarge(
                f"The question is about more than {most:,} stored events, and there is no columnar projection of them "
                "here (yet).",
                hint="`journey-gateway columnar status` says how far it is. Or ask for less.",
            )
        rows: list[Document] = []
        pages = store.all(workspace, selection.names, selection.between, projection(selection.paths))
        async for page in pages:
            rows += page
        return rows


# -- in a worker thread -------------------------------------------------------------------------------------------


def _assembled(
    cursor: Connection,
    *,
    folder: Folder | None,
    parts: Sequence[Part],
    tail: Sequence[Document],
    workspace: str,
    selection: Selection,
    users: Users,
    denying: Codes,
    among: Codes | None = None,
) -> Scanned:
    rows = selecting.from_documents(tail, workspace, selection)
    if parts:
        assert folder is not None
        rows = selecting.joined(selecting.from_parts(cursor, folder, parts, selection), rows)
    user = users.of(rows.who)
    order = in_order(user, rows.at, rows.seq)
    ties = _ties(user[order], rows.at[order], rows.seq[order])
    if ties.any():
        # Only ids tell whether those are one event, met in a part and in the tail, and which comes first otherwise.
        rows = _with_ids(cursor, folder, parts, tail, workspace, selection, rows, order[ties])
        user = users.of(rows.who)
        order, ties = in_order(user, rows.at, rows.seq), np.zeros(len(rows), bool)
    kept = user[order] != -1
    if len(denying):
        kept &= ~np.isin(user[order], denying)
    if among is not None:
        kept &= np.isin(user[order], among)
    order = order[kept]
    rows = selecting.taken(rows, order)
    if among is not None:
        rows = selecting.met(rows)
    names = selection.names
    return Scanned(
        selection=selection,
        version=Version(0, 0, ()),
        user=user[order],
        at=rows.at,
        seq=rows.seq,
        name=rows.name,
        matches=tuple(
            rows.matches[place] if rule.where else rows.name == names.index(rule.event)
            for place, rule in enumerate(selection.rules)
        ),
        numbers=dict(rows.numbers),
        labels=dict(rows.labels),
        values=dict(rows.values),
        users=users,
    )


def in_order(user: Codes, at: Array, seq: Array) -> Array:
    """Places of rows in the order of (user, at, seq); equal ones stay as they are.

    User and time are packed into one int64 where they fit, which sorts several times faster than three keys.
    """
    if not len(at):
        return np.empty(0, np.int64)
    first, last = int(at.min()), int(at.max())
    bits = max(1, (last - first).bit_length())
    if bits + (int(user.max()) + 1).bit_length() > 63:
        return np.lexsort((seq, at, user))
    packed = (user.astype(np.int64) + 1) << bits | (at - first)
    # Parts are in the order of name, identity and time: runs, which this merges; another sort begins from nothing.
    order = np.argsort(packed, kind="stable")
    packed = packed[order]
    same = packed[1:] == packed[:-1]
    if same.any():
        # Runs of one user and millisecond, by sequence.
        within = np.zeros(len(packed), bool)
        within[1:] |= same
        within[:-1] |= same
        places = np.flatnonzero(within)
        some = order[places]
        order[places] = some[np.lexsort((some, seq[some], packed[places]))]
    return order


def _ties(user: Codes, at: Array, seq: Array) -> Array:
    """Which rows of a sorted scan have a neighbour that only the id tells apart."""
    ties = np.zeros(len(user), bool)
    if len(user):
        same = (user[1:] == user[:-1]) & (at[1:] == at[:-1]) & (seq[1:] == seq[:-1])
        ties[1:] |= same
        ties[:-1] |= same
    return ties


def _with_ids(
    cursor: Connection,
    folder: Folder | None,
    parts: Sequence[Part],
    tail: Sequence[Document],
    workspace: str,
    selection: Selection,
    rows: Rows,
    tied: Array,
) -> Rows:
    """The same rows, the tied ones read anew with their ids: each event once, and in the order of ids."""
    rest = np.ones(len(rows), bool)
    rest[tied] = False
    keys = (rows.who[tied], rows.at[tied], rows.seq[tied])
    wanted = set(zip(*(key.tolist() for key in keys), strict=True))
    again = selecting.from_documents(tail, workspace, selection)
    mine = [key in wanted for key in zip(again.who.tolist(), again.at.tolist(), again.seq.tolist(), strict=True)]
    again = selecting.taken(again, np.array(mine, bool))
    if parts:
        assert folder is not None
        stored = selecting.from_parts(cursor, folder, parts, selection, tied=keys)
        again = selecting.joined(stored, again)
    assert again.id is not None
    once: dict[bytes, int] = {}
    for place, key in enumerate(again.id.tolist()):
        once.setdefault(bytes(key), place)
    chosen = np.array([once[key] for key in sorted(once)], np.int64)
    return selecting.joined(selecting.taken(rows, rest), selecting.taken(again, chosen))
