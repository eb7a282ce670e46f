"""The fault suite in short: some seconds of faults on a real replica set under real gateways, then the judgment.

Nothing here judges times: on a slow machine fewer faults find room, and every wait is patient.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.__main__ import tell
from tests.faults.checker import summary
from tests.faults.run import Options, Run, run

KINDS = (
    "primary_killed",
    "gateway_killed",
    "stepdown",
    "gateway_frozen",
    "fail_command",
    "clock_jump",
    "connections_reset",
)
SEED = 20_261
_SECONDS = 20.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def ended(tmp_path_factory: pytest.TempPathFactory) -> Run | Exception:
    """The run, or why it did not come to its end (which is another matter than what is judged)."""
    output: Path = tmp_path_factory.mktemp("faults") / "result.json"
    try:
        return await run(Options(seed=SEED, events=1_500, kinds=KINDS, seconds=_SECONDS, output=output))
    except (TimeoutError, AssertionError) as reason:
        return reason


def test_a_run_under_faults_comes_to_its_end(ended: Run | Exception) -> None:
    if isinstance(ended, Exception):
        raise ended
    tell(ended)
    assert ended.nemesis.faults
    assert len(list(ended.history.acknowledged())) >= 1_000


def test_after_faults_everything_is_as_the_oracle_says(ended: Run | Exception) -> None:
    if isinstance(ended, Exception):
        pytest.skip("the run did not come to its end")
    assert ended.verdict.good, "\n".join(summary(ended.verdict))
