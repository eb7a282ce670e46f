"""An OpenID Connect provider on this machine: keys of every kind, a server that lists them, and tokens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.access.callers import Callers
from gateway.access.grant import Grant
from gateway.access.issuers import Issuers
from gateway.access.keys import KeyRing
from gateway.access.tokens import Tokens
from gateway.clock import FrozenClock
from gateway.errors import Unauthenticated
from gateway.model.identity import Identity
from gateway.model.scope import Scope
from gateway.settings import Issuer
from gateway.store.keys import Keys

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_2 = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
EC_384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()

AUDIENCE = "shop-frontend"
#: In seconds; the machine's own clock says something else.
NOW = 1_710_325_274
ADA = Scope("acme", subject=Identity("userId", "ada"))


def jwk(private_key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public part of a key as a provider lists it."""
    public = private_key.public_key()
    algorithm: Any
    if isinstance(private_key, rsa.RSAPrivateKey):
        algorithm = RSAAlgorithm
    else:
        algorithm = ECAlgorithm if isinstance(private_key, ec.EllipticCurvePrivateKey) else OKPAlgorithm
    found: dict[str, Any] = algorithm.to_jwk(public, as_dict=True)
    found.pop("key_ops", None)
    return {**found, "use": "sig", **({} if kid is None else {"kid": kid}), **more}


def pem(private_key: Any) -> bytes:
    """The public part as anybody can write it down."""
    found: bytes = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


@dataclass
class Provider:
    """`keys` is what it lists; `status`, `body`, `headers` and `pause` are how it answers; `asked` the paths so far."""

    port: int = 0
    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def issuer(self, **settings: Any) -> Issuer:
        """How the gateway is told of it."""
        given = {"jwks_url": f"{self.url}/jwks", "audience": (AUDIENCE,), "workspace": "acme"}
        return Issuer(issuer=f"{self.url}/", **(given | settings))

    def token(self, now: int, key: Any = RSA, kid: str | None = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
        """A token for ada, for an hour; a claim that is None is left out, `headers` are added to its header."""
        headers = claims.pop("headers", {}) | ({} if kid is None else {"kid": kid})
        good = {"iss": f"{self.url}/", "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 3600}
        said = {name: value for name, value in (good | claims).items() if value is not None}
        return jwt.encode(said, key, algorithm, headers=headers)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.asked.append(path)
            await asyncio.sleep(self.pause)
            content: dict[str, Any] = {"keys": self.keys}
            if path.endswith("openid-configuration"):
                content = {"issuer": f"{self.url}/", "jwks_uri": f"{self.url}/discovered"}
            body = json.dumps(content).encode() if self.body is None else self.body
            headers = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {self.status} X\r\n{lines}connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has had enough
        finally:
            writer.close()


@asynccontextmanager
async def running_provider() -> AsyncIterator[Provider]:
    """It listens as long as this is open."""
    provider = Provider(keys=[jwk(RSA, "rsa"), jwk(EC, "ec"), jwk(ED, "ed")])
    server = await asyncio.start_server(provider.answer, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        await server.wait_closed()


def callers_for(clock: FrozenClock, *issuers: Issuer, development: bool = True) -> Callers:
    """Without a database: no key is asked for here."""
    keyring = KeyRing(Keys(None), clock)  # type: ignore[arg-type]
    return Callers(keyring, Tokens("s" * 43, clock), Issuers(issuers, clock, development=development))


async def opened(callers: Callers, token: str) -> Grant:
    return await callers.grant_of(f"Bearer {token}")


async def refused(callers: Callers, token: str) -> str:
    with pytest.raises(Unauthenticated) as error:
        await opened(callers, token)
    assert token not in str(error.value)
    assert error.value.hint
    return error.value.message
