"""The suite for sources that take signed requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from gateway.plugin import Denied, RawRequest, Response, Verified
from gateway.testing.rig import NOW, Rig
from gateway.testing.suites.base import ConnectorContract

_WINDOW_MS = 900_000


class WebhookSourceContract(ConnectorContract):
    """Set `connector`, `settings`, `bodies` (what the vendor sends, at least one), and write `signed`.

    `signing`: the names in `env:NAME` of the secrets that are good for signing now; with two of them rotation is
    tested. `timestamped`: whether the signature covers a time, so that an old request is refused.
    """

    bodies: ClassVar[tuple[bytes, ...]] = ()
    signing: ClassVar[tuple[str, ...]] = ()
    timestamped: ClassVar[bool] = True
    url: ClassVar[str] = "https://gateway.example/v1/hooks/tested"

    def signed(self, body: bytes, secret: str, at: int) -> Mapping[str, str]:
        """The headers with which the vendor sends this body at this time (ms since 1970), signed with the secret."""
        raise NotImplementedError

    def covered(self, body: bytes) -> bytes:
        """The part of the body that the signature covers."""
        return body

    async def exercise(self, connector: Any) -> Any:
        """Verify and parse the first body; refuse it unsigned."""
        body = self.bodies[0]
        denied = connector.verify(RawRequest("POST", self.url, {}, body, NOW))
        return denied, connector.verify(self._request(body, "no secret of ours"))

    # -- signatures -------------------------------------------------------------------------------------------------

    def test_a_good_request_is_verified_and_read(self) -> None:
        """Each of the bodies, signed as the vendor signs; the order of the headers does not matter."""
        for body in self.bodies:
            with self.rig() as rig:
                request = self._good(rig, body)
                turned = replace(request, headers=dict(reversed(list(request.headers.items()))))
                for one in (request, turned):
                    verified, rows = self._taken(rig, one)
                    assert isinstance(verified, Verified), f"a good request is refused: {verified}"
                    assert rows is not None

    def test_a_flipped_byte_is_refused(self) -> None:
        """At the beginning, in the middle and at the end of what is signed."""
        for body in self.bodies:
            covered = self.covered(body)
            start = body.index(covered)
            for at in sorted({start, start + len(covered) // 2, start + len(covered) - 1}):
                with self.rig() as rig:
                    request = self._good(rig, body)
                    flipped = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
                    said = self._verified(rig, replace(request, body=flipped))
                    assert isinstance(said, Denied), f"a body with byte {at} flipped is verified"

    def test_unsigned_requests_are_refused(self) -> None:
        """Without any header, without one of them, with another's signature: Denied, never an exception."""
        body = self.bodies[0]
        with self.rig() as rig:
            good = self._good(rig, body)
            plain = {"content-type", "content-length", "user-agent"}
            without = [
                {k: v for k, v in good.headers.items() if k != name} for name in good.headers if name not in plain
            ]
            nonsense = {name: "é, =" for name in good.headers if name not in plain}
            for headers in ({}, *without, nonsense):
                said = self._verified(rig, replace(good, headers=headers))
                missing = ", ".join(sorted(good.headers.keys() - headers.keys())) or "nothing, but all is nonsense"
                assert isinstance(said, Denied), f"verified although this is missing: {missing}"
            stranger = self._request(body, self._stranger(rig))
            assert isinstance(self._verified(rig, stranger), Denied), "a signature with another secret is verified"

    def test_an_old_request_is_refused(self) -> None:
        """A quarter of an hour old, or ahead."""
        if not self.timestamped:
            pytest.skip("the vendor signs no time")
        with self.rig() as rig:
            good = self._good(rig, self.bodies[0])
            for off, words in ((_WINDOW_MS, "old"), (-_WINDOW_MS, "ahead")):
                said = self._verified(rig, replace(good, received_at=NOW + off))
                assert isinstance(said, Denied), f"a request 15 minutes {words} is verified"

    def test_two_secrets_are_good_during_rotation(self) -> None:
        """Each of `signing`; requests of both sides of the change are taken."""
        if len(self.signing) < 2:
            pytest.skip("`signing` names one secret")
        with self.rig() as rig:
            for name in self.signing:
                said = self._verified(rig, self._request(self.bodies[0], rig.secrets[name]))
                assert isinstance(said, Verified), f"what is signed with {name} is refused"

    # -- reading ----------------------------------------------------------------------------------------------------

    def test_the_content_type_does_not_matter(self) -> None:
        """None, or another one: the same rows, or ValueError; nothing else is raised."""
        with self.rig() as rig:
            good = self._good(rig, self.bodies[0])
            _, rows = self._taken(rig, good)
            without = {name: value for name, value in good.headers.items() if name != "content-type"}
            for headers in (without, {**without, "content-type": "application/octet-stream"}):
                try:
                    _, found = self._taken(rig, replace(good, headers=headers))
                except ValueError:
                    continue
                assert found == rows, "another content type brings other rows"

    def test_nonsense_cannot_be_read(self) -> None:
        """A verified body that is none of the vendor's is a ValueError, so that it is answered 400."""
        with self.rig() as rig:
            for body in (b"", b"\xff\xfe", b'{"cut', b"[1, null]", b'"text"'):
                request = self._good(rig, body)
                try:
                    rows = self._parsed(rig, request)
                except ValueError:
                    continue
                except Exception as error:
                    pytest.fail(f"parse raised {type(error).__name__} for {body!r}; raise ValueError")
                assert not rows, f"parse brings {len(rows)} rows out of {body!r}"

    def test_a_replay_brings_nothing_new(self) -> None:
        """The same request again has the same ids, and no two rows of it share one."""
        for body in self.bodies:
            with self.rig() as rig:
                ids = []
                for _ in range(2):
                    request = self._good(rig, body)
                    verified, rows = self._taken(rig, request)
                    assert isinstance(verified, Verified)
                    ids.append([_id_of(row, verified.id, at) for at, row in enumerate(rows)])
            assert ids[0] == ids[1], "the same request again has other ids: it would be stored twice"
            assert len(set(ids[0])) == len(ids[0]), "two rows of one request share an id: one of them would be lost"

    # -- the parts ----------------------------------------------------------------------------------------------

    def _stranger(self, rig: Rig) -> str:
        """Another secret of the same form."""
        good = rig.secrets[self.signing[0]]
        middle = len(good) // 2
        other = "A" if good[middle] != "A" else "B"
        return good[:middle] + other + good[middle + 1 :]

    def _good(self, rig: Rig, body: bytes) -> RawRequest:
        return self._request(body, rig.secrets[self.signing[0]])

    def _request(self, body: bytes, secret: str) -> RawRequest:
        headers = {name.lower(): value for name, value in self.signed(body, secret, NOW).items()}
        return RawRequest("POST", self.url, {"content-type": "application/json", **headers}, body, NOW)

    def _verified(self, rig: Rig, request: RawRequest) -> Verified | Denied:
        async def work(connector: Any) -> Any:
            try:
                return connector.verify(request)
            except Exception as error:
                raise AssertionError(f"verify raised {type(error).__name__}; return Denied") from error

        said = rig.run(work)
        assert isinstance(said, Verified | Denied), "verify returns neither Verified nor Denied"
        return said

    def _parsed(self, rig: Rig, request: RawRequest) -> list[Any]:
        async def work(connector: Any) -> list[Any]:
            return list(connector.parse(request))

        return rig.run(work)

    def _taken(self, rig: Rig, request: RawRequest) -> tuple[Verified | Denied, list[Any]]:
        return self._verified(rig, request), self._parsed(rig, request)


def _id_of(row: Any, request_id: str | None, at: int) -> str:
    """As the gateway identifies a row."""
    if isinstance(row, Response):
        return f"{row.source}:{row.external_id}"
    own = row.get("messageId")
    return str(own) if own is not None else f"{request_id or 'of the body'}:{at}"
