"""The suite for channels that tell people about alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from gateway.plugin import (
    Alert,
    AuthFailed,
    Delivered,
    Duplicate,
    Rejected,
    Retry,
    Severity,
    Throttled,
    TooLarge,
)
from gateway.testing.faults import Received, Reply
from gateway.testing.rig import HANG_SECONDS, NOW, Rig
from gateway.testing.suites.base import ConnectorContract, is_unsent, outcome_of
from gateway.testing.suites.destination import MEANINGS

_RESULTS = (Delivered, Duplicate, Retry, Throttled, Rejected, AuthFailed, TooLarge)
_GOT = (Delivered, Duplicate)

#: An alert whose texts are as awkward as they can be.
ALERT = Alert(
    id="0123456789abcdef0123456789abcdef",
    workspace="main",
    key="connector:crm",
    severity=Severity.CRITICAL,
    title="crm is paused: its credentials are refused",
    text='HTTP 401 <!channel> & "quoted" \\ Grüße 🎉 ' + "long " * 2_000,
    hint="Renew the token.",
    about=("connector", "crm"),
    first_at=NOW - 60_000,
    last_at=NOW,
    count=3,
)


class AlertChannelContract(ConnectorContract):
    """Set `connector` and `settings`; write `answer` when a good answer is not 200 and `{}`, and `lies` when the vendor
    answers 200 and refuses all the same. `means` and `heeds_retry_after` are as of DestinationContract."""

    means: ClassVar[Mapping[int, tuple[type[Any], ...]]] = {}
    heeds_retry_after: ClassVar[bool] = True

    def lies(self, request: Received) -> Reply | None:
        """A 2xx answer that takes nothing; None: the vendor has none."""
        return None

    def told(self, request: Received) -> bool:
        """Whether a request is the one that tells (and not one that looks something up)."""
        return request.method not in ("GET", "HEAD")

    async def exercise(self, connector: Any) -> Any:
        """Tell about an alert."""
        return await connector.notify(ALERT)

    def test_it_tells_of_what_is_raised_and_of_what_is_over(self) -> None:
        """Both are delivered, and what is over is told otherwise than what is raised."""
        sent = []
        for alert in (ALERT, replace(ALERT, resolved_at=NOW)):
            with self.rig() as rig:
                result = self._outcome(rig, alert)
                assert isinstance(result, _GOT), f"all is well there, but: {result!r}"
                sent.append([(one.url, one.body) for one in rig.server.requests if self.told(one)])
        assert sent[0], "nothing is sent"
        assert sent[0] != sent[1], "an alert that is over is told like one that is raised"

    def test_it_says_what_is_wrong(self) -> None:
        """The title is in what is sent."""
        with self.rig() as rig:
            self._outcome(rig, ALERT)
            sent = " ".join(one.body.decode("utf-8", "replace") for one in rig.server.requests)
        assert "crm is paused" in sent, "the alert's title is not in what is sent"

    def test_every_status_means_what_it_should(self) -> None:
        """As of destinations."""
        wrong = []
        for status, wanted in {**MEANINGS, **self.means}.items():
            with self.rig() as rig:
                rig.server.answer = lambda request, status=status: Reply(status, {"error": "told"})  # type: ignore[misc]
                result = self._outcome(rig, ALERT)
            if not isinstance(result, wanted):
                names = " or ".join(kind.__name__ for kind in wanted)
                wrong.append(f"{status} is {type(result).__name__}, not {names}")
        assert not wrong, "; ".join(wrong)

    def test_retry_after_is_heeded(self) -> None:
        """In seconds."""
        if not self.heeds_retry_after:
            pytest.skip("the vendor sends no Retry-After")
        with self.rig() as rig:
            rig.server.answer = lambda request: Reply(429, {}, {"retry-after": "7"})
            result = self._outcome(rig, ALERT)
        assert getattr(result, "after", None) == 7.0, f"Retry-After: 7 gave {result!r}"

    def test_a_broken_connection_is_tried_again(self) -> None:
        """Reset in the answer, closed before it, or no answer."""
        for fault in ("reset", "close", "hang"):
            with self.rig() as rig:
                rig.server.answer = lambda request, fault=fault: Reply(fault=fault)  # type: ignore[misc]
                rig.http.most_seconds = HANG_SECONDS if fault == "hang" else rig.http.most_seconds
                result = self._outcome(rig, ALERT)
            good = isinstance(result, Retry) or (isinstance(result, Exception) and is_unsent(result))
            assert good, f"a connection that meets `{fault}` gave {type(result).__name__}"

    def test_200_with_errors_is_no_success(self) -> None:
        """What the vendor's `lies` says is believed, and what is no JSON is no bug."""
        with self.rig() as rig:
            rig.server.answer = lambda request: Reply(200, b"<html>")
            result = self._outcome(rig, ALERT)
            assert not isinstance(result, Exception), f"an answer that is no JSON raised {type(result).__name__}"
        if self.lies(Received("POST", "http://vendor.example/")) is None:
            return
        with self.rig() as rig:
            rig.server.answer = lambda request: self.lies(request) or Reply()
            result = self._outcome(rig, ALERT)
        assert not isinstance(result, (Exception, *_GOT)), f"200 with errors gave {result!r}"

    def _outcome(self, rig: Rig, alert: Alert) -> Any:
        result: Any = outcome_of(lambda: rig.run(lambda connector: connector.notify(alert)))
        known = (*_RESULTS, Exception)
        assert isinstance(result, known), f"notify returned {type(result).__name__}, which is no result"
        return result
