"""`examples/<name>.pass.json` and `examples/<name>.fail.json`."""

from __future__ import annotations

from typing import Any

from gateway.contract.examples import Example
from gateway.contract.sources import Source
from gateway.model.misfit import Misfit


def check_example(source: Source) -> None:
    """Report a file that does not say whether it must pass, and a reason that is missing or too much."""
    _, _, verdict = source.stem.rpartition(".")
    if verdict not in ("pass", "fail"):
        fix = "end its name in .pass.json or .fail.json"
        source.report((), "the file's name does not say whether the example must pass", fix)
    if not isinstance(source.value, dict):
        return
    if verdict == "fail" and "reason" not in source.value:
        fix = 'add "reason": {"property": ..., "rule": ...}'
        source.report((), "key 'reason' is missing: an example can fail for the wrong one", fix)
    elif verdict == "pass" and "reason" in source.value:
        source.report(("reason",), "an example that must pass has no reason to fail", "remove it")


def build_example(stem: str, content: dict[str, Any]) -> Example:
    """What a file without a problem says; `stem` is its name without `.json`."""
    reason = content.get("reason")
    misfit = None if reason is None else Misfit(reason["property"], reason["rule"])
    return Example(stem, content["event"], content["message"], misfit)
