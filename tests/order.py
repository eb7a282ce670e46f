"""The files that a run in several processes begins with: those that take longest.

xdist deals out whole files, the ones with the most tests first. Some with few tests take minutes: dealt out last, one
process would work on them while the others have ended.
"""

from __future__ import annotations

from collections import Counter

import pytest

#: By the CPU they take, the longest first.
LONGEST = (
    "tests/flow/test_derive_equals_oracle.py",
    "tests/flow/test_erasure_equals_oracle.py",
    "tests/flow/test_start.py",
    "tests/unit/insights/test_kpis.py",
    "tests/flow/test_contract.py",
    "tests/flow/test_export.py",
    "tests/hostile/test_fuzz.py",
    "tests/api/test_policy.py",
    "tests/flow/test_refold.py",
    "tests/flow/test_import.py",
    "tests/flow/test_doctor.py",
)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only where tests are dealt out: a run in one process keeps the order of the folders."""
    if not hasattr(config, "workerinput"):
        return
    places = {name: place for place, name in enumerate(LONGEST)}
    files = Counter(_file(item) for item in items)
    items.sort(key=lambda item: (places.get(_file(item), len(places)), -files[_file(item)], _file(item)))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
