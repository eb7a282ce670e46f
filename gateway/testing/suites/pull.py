"""The suite for sources that are pulled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from gateway.plugin import Page, Response
from gateway.testing.faults import Received, Reply
from gateway.testing.rig import HANG_SECONDS, Rig
from gateway.testing.suites.base import ConnectorContract, outcome_of

_MOST_PAGES = 50


class PullSourceContract(ConnectorContract):
    """Set `connector`, `settings`, `rows` (the vendor's, at least four, oldest first), and write `listing`.

    `stored`: how many messages or responses the rows make, if not one each.
    """

    rows: ClassVar[Sequence[Any]] = ()
    stored: ClassVar[int | None] = None

    def listing(self, request: Received, rows: Sequence[Any]) -> Reply:
        """The vendor's answer to a request for a page, when it has these rows: small pages, so that there are some."""
        raise NotImplementedError

    def answer(self, request: Received) -> Reply:
        """All rows are there."""
        return self.listing(request, self.rows)

    async def exercise(self, connector: Any) -> Any:
        """Read the first page."""
        return await connector.read(None)

    def test_everything_is_read_once(self) -> None:
        """From the beginning to the end: every row, and none twice."""
        with self.rig() as rig:
            ids, _ = self._all(rig, None)
        assert len(set(ids)) == self._expected(len(self.rows)), f"{len(set(ids))} rows were read"
        assert len(ids) == len(set(ids)), "rows were read twice on one way"

    def test_a_crash_between_page_and_state_loses_nothing(self) -> None:
        """A new object reads the same page from the same state: what it needs is in the state, not in itself."""
        with self.rig() as rig:
            state, ids = None, list[str]()
            for _ in range(_MOST_PAGES):
                lost = self._page(rig, state)
                page = self._page(rig, state)
                assert _ids(lost) == _ids(page), "another object reads another page from the same state"
                ids += _ids(page)
                state = page.state
                if not page.more:
                    break
        assert len(set(ids)) == self._expected(len(self.rows)), "rows are lost when the process dies after each page"

    def test_the_state_is_json(self) -> None:
        """It is kept in the database."""
        with self.rig() as rig:
            state = self._page(rig, None).state
        assert json.loads(json.dumps(state)) == state, "the state is not made of JSON values"

    def test_what_comes_later_is_read(self) -> None:
        """From the state of the end, a row that came since is found."""
        with self.rig() as rig:
            rig.server.answer = lambda request: self.listing(request, self.rows[:-1])
            before, state = self._all(rig, None)
            rig.server.answer = self.answer
            after, _ = self._all(rig, state)
        found = {*before, *after}
        assert len(found) == self._expected(len(self.rows)), "a row that came later was not read"

    def test_a_failure_is_not_the_end(self) -> None:
        """What is no page raises, so that the state stays: refused, too fast, failing, unreadable, broken off."""
        faults = (Reply(401), Reply(403), Reply(429, {}, {"retry-after": "7"}), Reply(500), Reply(200, b'{"cut'))
        for reply in (*faults, Reply(fault="reset"), Reply(fault="hang")):
            with self.rig() as rig:
                rig.server.answer = lambda request, reply=reply: reply  # type: ignore[misc]
                if reply.fault == "hang":
                    rig.http.most_seconds = HANG_SECONDS
                said = reply.fault or f"HTTP {reply.status}"
                page = outcome_of(lambda rig=rig: self._page(rig, None))  # type: ignore[misc]
                assert isinstance(page, Exception), f"{said} was taken for a page of {len(page.rows)} rows"

    def _expected(self, count: int) -> int:
        return count if self.stored is None else self.stored

    def _page(self, rig: Rig, state: Any) -> Page:
        page = rig.run(lambda connector: connector.read(state))
        assert isinstance(page, Page), f"read returned {type(page).__name__}, not a Page"
        return page

    def _all(self, rig: Rig, state: Any) -> tuple[list[str], Any]:
        async def work(connector: Any) -> tuple[list[str], Any]:
            ids, at = list[str](), state
            for _ in range(_MOST_PAGES):
                page = await connector.read(at)
                ids += _ids(page)
                at = page.state
                if not page.more:
                    return ids, at
            raise AssertionError(f"there is more after {_MOST_PAGES} pages: the state does not move")

        return rig.run(work)


def _ids(page: Page) -> list[str]:
    found = []
    for row in page.rows:
        if isinstance(row, Response):
            found.append(f"{row.source}:{row.external_id}")
        else:
            assert row.get("messageId"), "a row has no messageId: read again, it would be stored twice"
            found.append(str(row["messageId"]))
    return found
