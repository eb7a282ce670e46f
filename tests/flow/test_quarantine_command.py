"""`journey-gateway quarantine`: what could not become an event, beside a running gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli.quarantine import quarantine
from tests.flow.conftest import RunningGateway


def wrong(number: int, **rest: Any) -> dict[str, Any]:
    """A good event but for its userId, which is a list."""
    return {"type": "track", "event": "View", "userId": ["ada"], "messageId": f"m{number}", **rest}


def listed(running: RunningGateway, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.command("quarantine", "list", "--json", *arguments).stdout)
    return found


def test_quarantine_is_listed_mended_and_replayed(running: RunningGateway) -> None:
    running.batch(*(wrong(number) for number in range(3)), {"type": "nothing", "messageId": "n"})
    some = listed(running, "--code", "wrong_type", "--first", "2", "--original")
    assert ([row["code"] for row in some["quarantined"]], some["more"]) == (["wrong_type"] * 2, True)
    one = some["quarantined"][0]
    assert json.loads(one["original"])["userId"] == ["ada"]
    found = listed(running, "--id", one["id"], "--message-id", one["messageId"], "--from", "2026-01-01")
    assert [row["id"] for row in found["quarantined"]] == [one["id"]]
    assert "original" not in found["quarantined"][0]
    text = running.command("quarantine", "list").stdout
    assert one["id"].removeprefix("quarantined_") in text
    assert "must be a string" in text
    assert "ada" not in text, "what was sent is not printed unasked"

    patch = ("--code", "wrong_type", "--patch", '{"userId": "ada"}')
    tried = json.loads(running.command("quarantine", "replay", *patch, "--dry-run", "--json").stdout)
    assert (tried["dryRun"], tried["matched"], tried["accepted"]) == (True, 3, 3)
    done = json.loads(running.command("quarantine", "replay", *patch, "--json").stdout)
    assert (done["matched"], done["accepted"], done["reasons"]) == (3, 3, {}), "a dry run has changed nothing"
    left = running.command("quarantine", "replay", "--all", check=False)
    assert left.returncode == 1
    assert "1 stay: unknown_type" in left.stdout
    assert "quarantine list" in left.stderr
    unknown = running.command("quarantine", "list", "--workspace", "nowhere", check=False)
    assert (unknown.returncode, "--workspace" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("replay", "give --all"),
        ("replay --all --source web", "give --all"),
        ("replay --all --patch [1]", "must be a JSON object"),
        ("replay --all --patch {", "must be a JSON object"),
        ("replay --all --first 0", "--first"),
        ("list --id 7", "first column"),
        ("list --from yesterday", "is not a time"),
        ("list --original", "--json"),
    ],
)
def test_a_call_that_makes_no_sense_says_what_would(arguments: str, told: str) -> None:
    done = CliRunner().invoke(quarantine, arguments.split())
    assert done.exit_code != 0
    assert told in done.output + str(done.exception)
