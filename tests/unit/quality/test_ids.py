"""Each way to use ids wrongly is found by name, and no id is told."""

from __future__ import annotations

import pytest

from gateway.quality.ids import Sender, inconsistent_ids

CLEAN = [Sender(f"u-{number}" if number % 2 else None, f"a-{number}", "web", "1.0") for number in range(40)]
ODD = {
    "userId = anonymousId": [Sender("v-7", "v-7", "ios", "2.1")],
    "userId as anonymousId": [Sender(None, "u-1", "ios", "2.1")],
    "e-mail as userId": [Sender("ada@example.com", "a-100", "ios", "2.1")],
    "one anonymousId, many users": [Sender(f"w-{number}", "kiosk", "ios", "2.1") for number in range(5)],
    "userId of nobody": [Sender("undefined", "a-101", "ios", "2.1")],
}


def test_a_clean_log_is_silent() -> None:
    assert inconsistent_ids(CLEAN) == []
    assert inconsistent_ids([]) == []
    mails = [Sender(f"u{number}@example.com", None) for number in range(20)]
    assert inconsistent_ids(mails) == [], "addresses everywhere are not mixed"


@pytest.mark.parametrize("subject", ODD)
def test_what_is_planted_is_found_alone(subject: str) -> None:
    (found,) = inconsistent_ids(CLEAN + ODD[subject])
    assert found.subject == subject
    assert found.shares == (("ios", "2.1", len(ODD[subject])),)
    told = f"{found.message} {found.evidence} {found.fix}"
    assert not any(one.user_id in told for one in ODD[subject] if one.user_id not in (None, "undefined"))
