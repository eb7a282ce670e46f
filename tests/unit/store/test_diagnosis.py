"""What is said of a MongoDB's version, and of members that cannot be found by their names."""

from __future__ import annotations

import pytest

from gateway.store.diagnosis import judge_version
from gateway.store.unreachable import _of_member


@pytest.mark.parametrize(
    ("version", "local", "state", "fix"),
    [
        ("8.0.17", False, "ok", ""),
        ("8.0.16", False, "warn", "Upgrade to 8.0.17."),
        ("8.0.16", True, "ok", ""),
        ("7.0.28", False, "ok", ""),
        ("8.2.2-rc0", False, "warn", "Upgrade to 8.2.3."),
        ("8.3.0", False, "ok", ""),
        ("6.1.0", False, "warn", "Upgrade to 8.0.17 or newer."),
        ("5.0.32", True, "warn", "Upgrade to 8.0.17."),
    ],
)
def test_versions(version: str, local: bool, state: str, fix: str) -> None:
    finding = judge_version(version, embedded=False, local=local)
    assert (finding.state, finding.fix) == (state, fix)


async def test_members_whose_names_are_not_known_here() -> None:
    finding = await _of_member("127.0.0.1:1", {"setName": "rs0", "hosts": ["mongo.invalid:27017"]}, "rs0")
    assert finding.said == "the members of rs0 call themselves mongo.invalid:27017, which is not known here"
    assert "/etc/hosts" in finding.fix
    finding = await _of_member("127.0.0.1:1", {"setName": "rs0", "hosts": ["127.0.0.1:1"]}, "rs0")
    assert finding.said == "the replica set rs0 has no primary"
