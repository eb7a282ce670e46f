"""Who is erased is in no answer any more, whatever is asked, from the next question on, and soon in no file."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.flow.served import Served, serve
from tests.flow.test_columnar import ERASE, ERASURE, bytes_below, until

DAY = 86_400
VIEW, ADD, BUY = ([{"event": name}] for name in ("Product List Viewed", "Product Added", "Order Completed"))
SHARE = "hits n"


def at(seconds_ago: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds_ago, UTC).isoformat(timespec="milliseconds")


def questions(between: dict[str, str]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every question: its input, what is asked of it, and about what; all are about the same time."""
    steps = [{"event": one[0]["event"]} for one in (VIEW, ADD, BUY)]
    users = "users { totalCount }"
    usage = {"usage": {"events": VIEW, "inactive": "1d"}}
    asked: dict[str, tuple[str, str, dict[str, Any]]] = {
        "funnel": ("FunnelInput", "funnel { steps { reached } }", {"steps": steps}),
        "paths": ("PathsInput", "total columns { nodes { label paths } }", {"anchor": VIEW, "depth": 3}),
        "variants": ("VariantsInput", f"total different variants {{ events count {users} }}", {}),
        "directlyFollows": ("DirectlyFollowsInput", "different edges { source target count }", {}),
        "sessionStats": ("SessionStatsInput", f"sessions people {users} duration {{ mean }}", {"views": VIEW}),
        "trend": ("TrendInput", "series { points { value } }", {"events": VIEW, "statistic": "UNIQUES"}),
        "retention": (
            "RetentionInput",
            f"cohorts {{ size cells {{ share {{ {SHARE} }} }} }}",
            {"start": VIEW, "back": VIEW, "buckets": 2},
        ),
        "stickiness": ("StickinessInput", "activeUsers bars { exactly }", {"events": VIEW}),
        "lifecycle": ("LifecycleInput", "points { new { count } returning { count } }", {"events": VIEW}),
        "churn": ("ChurnInput", f"churn {{ {SHARE} }} open {users}", {"by": usage}),
        "friction": ("FrictionInput", "stages { key visits people }", {"map": "purchase"}),
    }
    return {
        name: (kind, fields, {**given, "range": {"between": between}}) for name, (kind, fields, given) in asked.items()
    }


KPIS = (
    "click_through",
    "csat",
    "purchase_conversion",
    "session_length",
    "engagement_depth",
    "retention",
    "form_error_rate",
)


async def answers(served: Served, between: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (kind, fields, given) in questions(between).items():
        query = f"query($input: {kind}!) {{ {name}(input: $input) {{ {fields} }} }}"
        answer = (await served.graphql(query, input=given)).json()
        assert "errors" not in answer, (name, answer)
        found[name] = answer["data"][name]
    kpi = "query($key: ID!, $range: RangeInput!) { kpi(key: $key) { result(range: $range) { value n open } } }"
    for key in KPIS:
        answer = (await served.graphql(kpi, key=key, range={"between": between})).json()
        assert "errors" not in answer, (key, answer)
        found[f"kpi {key}"] = answer["data"]["kpi"]["result"]
    return found


async def visit(served: Served, who: str) -> int:
    """Somebody comes on two days, answers, and buys; how many events."""
    sent = 0
    for days in (5, 4):
        for number, (event, properties) in enumerate(
            (
                ("Promotion Viewed", {}),
                ("Promotion Clicked", {}),
                ("Product List Viewed", {"list": who}),
                ("Product Added", {}),
                ("Form Submitted", {"error_count": 1}),
                ("Order Completed", {"total": 30}),
                ("Survey Response Submitted", {"survey": "csat", "score": 5}),
            )
        ):
            said = {"userId": who, "event": event, "properties": properties, "timestamp": at(days * DAY - 60 * number)}
            answer = await served.track(f"{who}-{days}-{number}", **said)
            assert answer.status_code == 200, answer.text
            sent += 1
    return sent


async def test_an_erasure_changes_every_answer_and_leaves_the_files(mongo_uri: str, tmp_path: Path) -> None:
    between = {"from": at(7 * DAY), "to": at(DAY)}
    url = str(tmp_path / "parts")
    async with serve(mongo_uri, columnar_url=url, columnar_seconds=1.0, erase_again_seconds=0.5) as served:
        columnar = served.gateway.columnar
        sent = await visit(served, "ada")

        async def written() -> bool:
            one = await columnar.standing("main")
            return one.state == "ready" and one.rows == sent and not one.lag_seconds and not one.behind

        async def settled() -> Any:
            await until(written)
            return await answers(served, between)

        without = await settled()
        sent += await visit(served, "kim")
        together = await settled()
        assert not [name for name, answer in together.items() if answer == without[name]]
        answer = (await served.graphql(ERASE)).json()["data"]["eraseUser"]
        assert not answer["errors"]
        assert await answers(served, between) == without, "from the answer on"

        async def erased() -> bool:
            told = (await served.graphql(ERASURE, id=answer["erasure"]["id"])).json()["data"]["erasure"]
            return bool(told["status"] == "DONE")

        await until(erased)
        files = bytes_below(url)
        assert files
        assert not any(b"kim" in each for each in files)
        assert await answers(served, between) == without
