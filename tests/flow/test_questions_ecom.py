"""A real log through the import door: questions over GraphQL give the figures that its README publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.collect.files import Importer, Mapping
from gateway.store.database import Database
from gateway.store.imports import Imports
from tests.api.gateway_api import WORKSPACE, Gateway, load_shop

ECOM = Path(__file__).parents[3] / "shared" / "data" / "ecom.csv.gz"
MAPPING = Mapping.parse(["userId=user_id", "event=event", "timestamp=timestamp"])
ALL = {"range": {"between": {"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}}}
STEPS = [{"event": "catalog"}, {"event": "add_to_cart"}, {"event": "purchase"}]

QUESTIONS = """query($ordered: FunnelInput!, $any: FunnelInput!, $sessions: FunnelInput!) {
  ordered: funnel(input: $ordered) { funnel { ...Reached } }
  any: funnel(input: $any) { funnel { ...Reached } }
  sessions: funnel(input: $sessions) { funnel { ...Reached } } }
fragment Reached on Funnel { steps { reached } }"""
OTHERS = """query($stats: SessionStatsInput!, $variants: VariantsInput!, $edges: DirectlyFollowsInput!) {
  sessionStats(input: $stats) { sessions people events { mean } duration { mean } }
  variants(input: $variants) { total different }
  directlyFollows(input: $edges) { different } }"""


@pytest.mark.skipif(not ECOM.exists(), reason="the event log ecom.csv.gz is not here")
async def test_the_published_figures(database: Database) -> None:
    gateway = Gateway(database, load_shop())
    await gateway.prepare()
    try:
        importer = Importer(gateway.intake, Imports(database), gateway.clock)
        report = await importer.run(ECOM, MAPPING, WORKSPACE, "file")
        assert report.accepted == 31_106
        await gateway.derive()
        key = await gateway.api_key("kpis:read")
        ordered: dict[str, Any] = {**ALL, "steps": STEPS}
        sessions = {**ordered, "counting": "SESSIONS"}
        found = await gateway.ask(
            QUESTIONS, key, ordered=ordered, any={**ordered, "order": "ANY_ORDER"}, sessions=sessions
        )
        reached = {name: [step["reached"] for step in one["funnel"]["steps"]] for name, one in found.items()}
        assert reached == {"ordered": [600, 511, 285], "any": [600, 522, 328], "sessions": [2837, 819, 213]}
        found = await gateway.ask(OTHERS, key, stats=ALL, variants=ALL, edges=ALL)
        stats = found["sessionStats"]
        assert (stats["sessions"], stats["people"]) == (3605, 600)
        assert stats["events"]["mean"] == pytest.approx(8.63, abs=0.005)
        assert stats["duration"]["mean"] == pytest.approx(1039.55, abs=0.005)
        assert found["variants"] == {"total": 3605, "different": 3003}
        assert found["directlyFollows"] == {"different": 336}
    finally:
        await gateway.close()
