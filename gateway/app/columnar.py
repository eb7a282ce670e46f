"""The columnar projection in one process: its folder, its writer where events are derived, its scans where they are
asked for, and how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.insights.columnar.engine import Engine
from gateway.insights.columnar.folder import Folder
from gateway.insights.columnar.scan import Limits, Scans
from gateway.insights.columnar.users import Directory
from gateway.insights.columnar.writer import Pace, Writer
from gateway.settings import OFF, Settings
from gateway.store.columnar import Manifests
from gateway.store.columnar_rows import ColumnarRows, distance
from gateway.store.database import Database
from gateway.store.keys import Keys

_LOOK_SECONDS = 15.0
_MAXIMUM_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the projection of one workspace is. `behind` are feed rows of all kinds and workspaces that no part has
    yet, `lag_seconds` the age of the oldest event among them. `state`: off, none, building, ready."""

    workspace: str
    state: str
    generation: int
    parts: int
    rows: int
    bytes: int
    behind: int
    lag_seconds: float
    read: int | None = None
    """Rows that the generation under construction has, while there is one."""


@dataclass(slots=True)
class Columnar:
    """What one process has of it. `folder` and `writer` are None where it is switched off."""

    database: Database
    clock: Clock
    folder: Folder | None
    engine: Engine
    directory: Directory
    scans: Scans
    writer: Writer | None
    writing: Engine | None
    standings: list[Standing] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings, database: Database, clock: Clock) -> Columnar:
        """As it is set. Raises SetupError where the store cannot be used."""
        folder = folder_of(settings)
        memory, threads = settings.scan_memory_mb, settings.scan_threads
        engine = Engine(folder, threads=threads, memory_mb=memory, at_once=_MAXIMUM_AT_ONCE)
        directory = Directory(database, clock)
        limits = Limits(rows=settings.scan_rows, seconds=settings.scan_seconds)
        scans = Scans(database, folder, engine, directory, clock, limits)
        writer = writing = None
        if folder is not None:
            # Beside the scans: a merge is not to wait for them, nor they for it.
            writing = Engine(folder, threads=1, memory_mb=memory, at_once=1)
            pace = Pace(settings.columnar_rows, settings.columnar_seconds, max(60.0, 2 * settings.scan_seconds))
            writer = Writer(database, folder, writing, clock, pace)
        return cls(database, clock, folder, engine, directory, scans, writer, writing)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write parts in the background."""
        if self.writer is None:
            yield
            return
        task = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            self.writer.stop()
            await asyncio.wait([task], timeout=_LOOK_SECONDS)
            task.cancel()

    async def watch(self) -> None:
        """See how far it is, until cancelled."""
        while True:
            with suppress(GatewayError):
                self.standings = [await self.standing(one) for one in await Keys(self.database).workspaces()]
            await asyncio.sleep(_LOOK_SECONDS)

    async def standing(self, workspace: str) -> Standing:
        """How far the projection of a workspace is."""
        manifest = await Manifests(self.database).read(workspace)
        current, building = manifest.current, manifest.building
        rows = ColumnarRows(self.database)
        heads, _ = await rows.heads_and_floors()
        one = current or building
        state = "ready" if current else "building" if building else "none"
        live = manifest.live(manifest.head.current)
        behind = 0 if one is None else distance(one.positions, heads)
        lag = 0.0 if current is None else await rows.lag(workspace, current.positions, heads, self.clock.now())
        return Standing(
            workspace=workspace,
            state="off" if self.folder is None else state,
            generation=manifest.head.current,
            parts=len(live),
            rows=sum(part.rows for part in live),
            bytes=sum(part.bytes for part in live),
            behind=behind,
            lag_seconds=lag,
            read=None if building is None else sum(part.rows for part in manifest.live(building.number)),
        )

    def gauges(self) -> Iterable[tuple[str, str, float | None]]:
        """What /metrics reads: (name, explanation, value)."""
        if self.folder is None or not self.standings:
            return
        yield "columnar_parts", "Parts of the columnar projection.", sum(float(one.parts) for one in self.standings)
        yield "columnar_rows", "Events in these parts.", sum(float(one.rows) for one in self.standings)
        yield "columnar_bytes", "Size of these parts.", sum(float(one.bytes) for one in self.standings)
        lag = max(one.lag_seconds for one in self.standings)
        yield "columnar_lag_seconds", "Age of the oldest announced event that no part has yet.", lag
        yield "columnar_scans_waiting", "Scans that run or wait in this process.", float(self.engine.waiting)
        if self.writer is not None:
            yield "columnar_trouble", "Workspaces whose parts cannot be written.", float(len(self.writer.trouble))

    async def close(self) -> None:
        """Let threads and streams go."""
        await self.directory.close()
        for engine in (self.engine, self.writing):
            if engine is not None:
                await asyncio.to_thread(engine.close)


def folder_of(settings: Settings) -> Folder | None:
    """Where the parts lie; None: nowhere."""
    url = settings.columnar_url
    if url == OFF:
        return None
    return Folder.open(url or str((settings.data_dir / "columnar").absolute()), settings.database)
