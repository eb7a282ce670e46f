"""The writer of parts: its own consumer of the feed, one at a time in a workspace, whatever processes there are.

A flush reads what the feed announced behind its positions, writes one uniquely named part, then commits part and
positions in one transaction under its epoch. Whatever fails in between leaves a file that no manifest names, which
whoever writes next removes. A rebuild is a new generation: all that is stored, read in its order, then the feed from
where it was when that began; the old generation is kept up and read until the new one has caught up.
Merging and rewriting for erasures are turns of the same writer, so that none of them ever meets another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.clock import Clock, random_id
from gateway.errors import GatewayError, SetupError, Unavailable
from gateway.insights.columnar import parts as files
from gateway.insights.columnar.engine import Engine
from gateway.insights.columnar.folder import Folder, PartsElsewhere, orphans, part_name
from gateway.store.columnar import Changes, Generation, Hold, Manifest, Manifests, Part, Positions, Reading, retired
from gateway.store.columnar_rows import ColumnarRows, distance
from gateway.store.database import Database, Document
from gateway.store.keys import Keys
from gateway.store.lanes import LeaseLost

log = logging.getLogger("gateway.columnar")

LEASE_SECONDS = 15.0
_BEAT_SECONDS = 3.0
_TURN_SECONDS = 1.0
#: Rows that one merged part has at most, about.
MOST_ROWS = 10_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How large and how old what has no part yet may get; how long a replaced file is kept for those who read it."""

    rows: int = 100_000
    seconds: float = 60.0
    grace_seconds: float = 60.0
    most_rows: int = MOST_ROWS


@dataclass(slots=True)
class _Workspace:
    hold: Hold
    flushed: float
    swept: bool = False
    lost: bool = False


@dataclass(slots=True)
class Writer:
    """Writes the parts of those workspaces that no other process writes."""

    database: Database
    folder: Folder
    engine: Engine
    clock: Clock
    pace: Pace = field(default_factory=Pace)
    owner: str = field(default_factory=random_id)
    #: What keeps a workspace's parts from being written, by workspace; shown to operators.
    trouble: dict[str, str] = field(default_factory=dict)
    _held: dict[str, _Workspace] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def _manifests(self) -> Manifests:
        return Manifests(self.database)

    @property
    def _rows(self) -> ColumnarRows:
        return ColumnarRows(self.database)

    def stop(self) -> None:
        """Return from `run` after the turn under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Write until stopped, through take-overs and outages."""
        beating = asyncio.create_task(self._beat())
        try:
            while not self._stopping.is_set():
                more = False
                with suppress(GatewayError):
                    for workspace in await Keys(self.database).workspaces():
                        more |= await self.turn(workspace)
                if not more:
                    await self._pause(_TURN_SECONDS)
        finally:
            self.stop()
            await beating
            await self.release()

    async def release(self) -> None:
        """Let other processes write at once."""
        for held in self._held.values():
            with suppress(GatewayError):
                await self._manifests.release(held.hold)
        self._held.clear()

    async def _beat(self) -> None:
        while not self._stopping.is_set():
            for held in [*self._held.values()]:
                try:
                    await self._manifests.beat(held.hold, LEASE_SECONDS)
                except LeaseLost:
                    held.lost = True
                except GatewayError:
                    continue
            await self._pause(_BEAT_SECONDS)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def turn(self, workspace: str, *, flush: bool = False) -> bool:
        """One step of whatever is due; whether there is more to do. `flush`: what came in is due whatever its age."""
        try:
            held = await self._hold(workspace)
            more = held is not None and await self._step(held, flush)
        except Exception as error:
            # Whether a commit went through may not be known: the next epoch settles it before anything else.
            self._held.pop(workspace, None)
            self._tell(workspace, error)
            return False
        if held is not None:
            self.trouble.pop(workspace, None)
        return more

    def _tell(self, workspace: str, error: Exception) -> None:
        said = str(error) if isinstance(error, GatewayError) else type(error).__name__
        if self.trouble.get(workspace) == said:
            return  # said once, however often it is tried again
        self.trouble[workspace] = said
        if isinstance(error, Unavailable | SetupError):
            log.warning("parts of the columnar projection wait", extra={"reason": said})
        else:
            log.exception("writing the columnar projection failed; trying again")

    async def _hold(self, workspace: str) -> _Workspace | None:
        held = self._held.get(workspace)
        if held is not None and not held.lost:
            return held
        self._held.pop(workspace, None)
        hold = await self._manifests.acquire(workspace, self.owner, LEASE_SECONDS)
        if hold is None:
            return None
        self._held[workspace] = _Workspace(hold, self.clock.monotonic())
        return self._held[workspace]

    # -- what is due --------------------------------------------------------------------------------------------

    async def _step(self, held: _Workspace, flush: bool) -> bool:
        workspace = held.hold.workspace
        manifest = await self._manifests.read(workspace)
        await self._look_at_folder(held, manifest)
        if not held.swept:
            await self._sweep(held, manifest)
        if any(not one.done for one in manifest.erasures):
            return await self._rewrite(held, manifest)
        heads, floors = await self._rows.heads_and_floors()
        if manifest.building is None and self._wants_building(manifest, floors):
            return await self._begin(held, manifest, heads)
        building = manifest.building is not None
        if manifest.building is not None and await self._build(held, manifest, manifest.building, heads, flush):
            return True
        if manifest.current is not None and not _behind(manifest.current, floors):
            behind = distance(manifest.current.positions, heads)
            late = self.clock.monotonic() - held.flushed >= self.pace.seconds
            if behind and (flush or late or behind >= self.pace.rows):
                return await self._flush(held, manifest, manifest.current, heads) or building
            if await self.merge(held, manifest, manifest.current):
                return True
        await self._clear(held, manifest)
        return building

    def _wants_building(self, manifest: Manifest, floors: Positions) -> bool:
        current = manifest.current
        if current is not None and _behind(current, floors):
            log.warning("the feed no longer has what the columnar projection lacks: it is built anew")
            return True
        return current is None or manifest.head.asked

    async def _look_at_folder(self, held: _Workspace, manifest: Manifest) -> None:
        """Write only where the parts are. Raises PartsElsewhere."""
        name = await self.engine.run(lambda _: self.folder.name(make=manifest.head.store is None))
        if manifest.head.store is None:
            await self._commit(held, Changes(head={"store": name}))
        elif manifest.head.store != name:
            raise PartsElsewhere(
                "The parts of the columnar projection lie in another folder than this process has.",
                hint="Set GATEWAY_COLUMNAR_URL to the folder that all gateways share, or have the parts built here: "
                "`journey-gateway columnar rebuild --here`.",
            )

    async def _begin(self, held: _Workspace, manifest: Manifest, heads: Positions) -> bool:
        """Begin a new generation: what the feed announces from now on is read behind all that is stored."""
        number = manifest.head.numbered + 1
        head = {"building": number, "numbered": number, "asked": False}
        await self._commit(held, Changes(generation=Generation(number, heads, Reading()), head=head))
        return True

    async def _build(
        self, held: _Workspace, manifest: Manifest, building: Generation, heads: Positions, flush: bool
    ) -> bool:
        """A step of the generation that is built; whether the old one need not be looked at in this turn."""
        workspace = held.hold.workspace
        if building.reading is not None:
            rows, reading = await self._rows.stored(workspace, building.reading, limit=self.pace.rows)
            scanned = max([building.scanned, *(row["receivedAt"] for row in rows)])
            moved = replace(building, reading=reading, scanned=scanned)
            await self._add(held, manifest, moved, rows)
            return manifest.current is None
        behind = distance(building.positions, heads)
        if behind >= self.pace.rows or (flush and behind):
            await self._flush(held, manifest, building, heads)
            return manifest.current is None
        return await self._switch(held, manifest, building)

    async def _switch(self, held: _Workspace, manifest: Manifest, building: Generation) -> bool:
        """From now on the new generation is read."""
        old = manifest.current
        await self._commit(
            held,
            Changes(
                head={"current": building.number, "building": 0},
                retire=retired(manifest.live(manifest.head.current), self.clock.now()),
                drop=[] if old is None else [old.number],
            ),
        )
        log.info("the columnar projection is built", extra={"generation": building.number})
        return True

    # -- parts --------------------------------------------------------------------------------------------------

    async def _flush(self, held: _Workspace, manifest: Manifest, generation: Generation, heads: Positions) -> bool:
        workspace = held.hold.workspace
        ids, ends = await self._rows.announced(workspace, generation.positions, heads, most=self.pace.rows)
        rows: list[Document] = []
        async for page in self._rows.events(workspace, ids):
            rows += page
        rows = await self._new_ones(manifest, generation, rows)
        await self._add(held, manifest, replace(generation, positions=ends), rows)
        left = distance(ends, heads)
        if generation.number == manifest.head.current and not left:
            held.flushed = self.clock.monotonic()
        return bool(left)

    async def _new_ones(self, manifest: Manifest, generation: Generation, rows: list[Document]) -> list[Document]:
        """Those that are not in parts already: of what had been stored before, the feed may tell late."""
        again = [row for row in rows if row["receivedAt"] <= generation.scanned]
        if not again:
            return rows
        times = [row["at"] for row in again]
        work = partial(
            files.known_ids,
            folder=self.folder,
            parts=manifest.live(generation.number),
            ids=[bytes(row["_id"]) for row in again],
            between=(min(times), max(times)),
        )
        known = await self.engine.run(work)
        return [row for row in rows if bytes(row["_id"]) not in known]

    async def _add(
        self, held: _Workspace, manifest: Manifest, generation: Generation, rows: Sequence[Document]
    ) -> None:
        changes = Changes(generation=generation)
        if rows:
            empty = self._empty(held, generation.number)
            work = partial(files.write, folder=self.folder, part=empty, workspace=held.hold.workspace, rows=rows)
            changes.add.append(await self.engine.run(work))
        await self._commit(held, changes)

    def _empty(self, held: _Workspace, generation: int, level: int = 0) -> Part:
        name = part_name(held.hold.workspace, generation, held.hold.epoch)
        return Part(name, generation, 0, 0, 0, 0, {}, level)

    async def merge(self, held: _Workspace, manifest: Manifest, generation: Generation) -> bool:
        """Make few large parts of many small ones; whether there were."""
        some = files.to_merge(manifest.live(generation.number), most_rows=self.pace.most_rows)
        if not some:
            return False
        level = 1 + max(part.level for part in some)
        into = self._names(held, generation.number, level)
        made = await self.engine.run(lambda cursor: files.merge(cursor, self.folder, some, into))
        await self._commit(held, Changes(add=made, retire=retired(some, self.clock.now())))
        return True

    def _names(self, held: _Workspace, generation: int, level: int) -> Iterator[Part]:
        while True:
            yield self._empty(held, generation, level)

    # -- what has to go -----------------------------------------------------------------------------------------

    async def _rewrite(self, held: _Workspace, manifest: Manifest) -> bool:
        """Take identities out of every part. It is done when no file has them any more, replaced ones included: who
        reads one now finds it gone, and reads the manifest anew."""
        wanted = [one for one in manifest.erasures if not one.done]
        sks = {sk for one in wanted for sk in one.sks}
        live = [part for part in manifest.parts if part.retired_at is None]
        found = await self.engine.run(
            partial(files.holding, folder=self.folder, parts=live, workspace=held.hold.workspace, sks=sks)
        )
        if found:
            old = [part for part in live if part.file in found]
            made = []
            for part in old:
                into = self._empty(held, part.generation, part.level)
                made.append(
                    await self.engine.run(partial(files.without, folder=self.folder, part=part, sks=sks, into=into))
                )
            await self._commit(
                held,
                Changes(
                    add=[part for part in made if part.rows],
                    retire=retired(old, self.clock.now()),
                    rewritten={wanted[0].id: sum(found.values())},
                ),
            )
            await self._delete([part.file for part in made if not part.rows])
            manifest = await self._manifests.read(held.hold.workspace)
        gone = [part for part in manifest.parts if part.retired_at is not None]
        await self._delete([part.file for part in gone])
        await self._commit(held, Changes(forget=gone, done=[one.id for one in wanted]))
        return True

    async def _clear(self, held: _Workspace, manifest: Manifest) -> None:
        """Delete files that were replaced a while ago."""
        before = self.clock.now() - int(self.pace.grace_seconds * 1000)
        gone = [part for part in manifest.parts if part.retired_at is not None and part.retired_at <= before]
        if gone:
            await self._delete([part.file for part in gone])
            await self._commit(held, Changes(forget=gone))

    async def _sweep(self, held: _Workspace, manifest: Manifest) -> None:
        """Delete files that whoever wrote before us did not commit."""
        known = {part.file for part in manifest.parts}
        there = await self.engine.run(lambda _: self.folder.files(held.hold.workspace))
        lost = list(orphans(there, known, held.hold.epoch))
        await self._delete(lost)
        if lost:
            log.info("files that no manifest names are removed", extra={"files": len(lost)})
        held.swept = True

    async def _delete(self, gone: list[str]) -> None:
        if gone:
            await self.engine.run(lambda _: self.folder.delete(gone))

    async def _commit(self, held: _Workspace, changes: Changes) -> None:
        if held.lost:
            raise LeaseLost("Another process writes the parts now.")
        await self._manifests.commit(held.hold, changes)

    # -- for commands -------------------------------------------------------------------------------------------

    async def drop(self, workspace: str, *, here: bool) -> bool:
        """Forget all parts, and delete their files where they are seen; False while another process writes them.
        `here`: this process's folder is theirs from now on."""
        held = await self._hold(workspace)
        if held is None:
            return False
        manifest = await self._manifests.read(workspace)
        name = await self.engine.run(lambda _: self.folder.name(make=here))
        if manifest.head.store in (None, name):
            await self._delete([part.file for part in manifest.parts])
        head: Document = {"current": 0, "building": 0, "asked": False, "store": name if here else None}
        if not here:
            head["numbered"] = 0
        await self._commit(held, Changes(forget=[*manifest.parts], drop=[*manifest.generations], head=head))
        return True


def _behind(generation: Generation, floors: Positions) -> bool:
    """Whether the feed no longer has what comes next."""
    return any(floor - 1 > position for floor, position in zip(floors, generation.positions, strict=True))
