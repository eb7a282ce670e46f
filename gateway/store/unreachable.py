"""Why no MongoDB answers: each host of the connection string is asked alone; the first that says something counts."""

from __future__ import annotations

import asyncio
import re
import socket
from urllib.parse import parse_qsl, urlencode

from gateway.errors import GatewayError, Unavailable
from gateway.model.finding import Finding
from gateway.store.database import Document, connect

_CHECK = "mongodb.reachable"
_URI = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?://)(?P<user>[^@/]*@)?(?P<hosts>[^/?]*)(?P<path>/[^?]*)?\??(?P<query>.*)"
)
# A host is asked alone, for long enough to end with the reason and not without, whatever the URI says.
_ALONE = {"directConnection": "true", "connectTimeoutMS": "700", "serverSelectionTimeoutMS": "2500"}
_A_TRY_SECONDS = 0.1
_SAID_OTHERWISE = {name.lower() for name in _ALONE}
# What the driver adds to every cause: its own limits, and all it knows of the others.
_ALWAYS_SAID = re.compile(r"\(configured timeouts[^)]*\)|, Timeout: .*", re.DOTALL)
# What the operating system or the driver says of a host -> what is wrong, what to do.
_CAUSES = (
    (
        r"name or service not known|nodename nor servname|name resolution|getaddrinfo|no address associated",
        "the name {host} is not known here",
        "Correct it in GATEWAY_MONGO_URI; in a container, use the service's name and the same network.",
    ),
    (
        r"connection refused|connect call failed|errno (111|61)\b",
        "nothing listens at {host}",
        "Start mongod there, or correct GATEWAY_MONGO_URI.",
    ),
    (
        r"ssl|tls|certificate",
        "{host} and the gateway do not agree on TLS",
        "Set tls=true and tlsCAFile=… in GATEWAY_MONGO_URI, or leave them out if mongod has no TLS.",
    ),
    (
        # The driver has three ways to say that the other has hung up, depending on when it notices.
        r"connection (is )?(already )?closed|reset by peer|broken pipe|message length|protocol",
        "{host} does not speak as mongod does",
        "Check host and port in GATEWAY_MONGO_URI; if that mongod wants TLS, set tls=true there.",
    ),
    (
        r"timed out|timeout|no route|unreachable|no servers found yet",
        "{host} does not answer",
        "Check that mongod runs there and that no firewall is in between.",
    ),
)


async def why_unreachable(uri: str, error: GatewayError) -> Finding:
    """The finding for an `error` that the first call gave."""
    parts = _URI.fullmatch(uri)
    if not isinstance(error, Unavailable):
        if parts is not None and parts["scheme"] == "mongodb+srv://" and "credentials" not in error.message:
            unknown = f"DNS gives no members for {parts['hosts']}"
            return Finding(_CHECK, "fail", unknown, "Correct the name in GATEWAY_MONGO_URI, or check DNS.")
        return Finding(_CHECK, "fail", error.message.rstrip("."), error.hint)
    fallback = Finding(_CHECK, "fail", "MongoDB does not answer", "Check GATEWAY_MONGO_URI, and that mongod runs.")
    if parts is None or parts["scheme"] != "mongodb://":
        return _explained(error, "the cluster") or fallback
    options = {name: value for name, value in parse_qsl(parts["query"]) if name.lower() not in _SAID_OTHERWISE}
    wanted = options.pop("replicaSet", None)
    options |= _ALONE
    said: list[Finding] = []
    for host in parts["hosts"].split(","):
        direct = f"mongodb://{parts['user'] or ''}{host}{parts['path'] or '/'}?{urlencode(options)}"
        answer = await _ask(direct)
        if isinstance(answer, dict):
            return await _of_member(host, answer, wanted)
        said += [finding] if (finding := _explained(answer, host)) else []
    return said[0] if said else fallback


async def _ask(uri: str) -> Document | GatewayError:
    try:
        database = connect(uri, "admin")
    except GatewayError as error:
        return error
    try:
        return await database.hello()
    except GatewayError as error:
        # The driver gives up at the moment of its next try, and leaves a socket open when that is broken off.
        await asyncio.sleep(_A_TRY_SECONDS)
        return error
    finally:
        await database.close()


def _explained(error: GatewayError, host: str) -> Finding | None:
    if not isinstance(error, Unavailable):
        return Finding(_CHECK, "fail", error.message, error.hint)
    text = _ALWAYS_SAID.sub("", str(error.__cause__))
    for pattern, said, fix in _CAUSES:
        if re.search(pattern, text, re.IGNORECASE):
            return Finding(_CHECK, "fail", said.format(host=host), fix)
    return None


async def _of_member(host: str, hello: Document, wanted: str | None) -> Finding:
    """A mongod answers when it is asked alone: its set is not what the connection string takes it for."""
    if hello.get("isreplicaset"):
        return Finding(_CHECK, "fail", f"the replica set at {host} is not initiated", "Run rs.initiate() there once.")
    name = hello.get("setName")
    if name is None:
        return Finding(
            _CHECK,
            "fail",
            f"MongoDB at {host} runs as a standalone server; the gateway needs a replica set (one member is enough)",
            f"Start mongod with --replSet {wanted or 'rs0'} and run rs.initiate() once.",
        )
    if wanted is not None and name != wanted:
        return Finding(
            _CHECK,
            "fail",
            f"the replica set at {host} is called {name}",
            f"Write replicaSet={name} in GATEWAY_MONGO_URI.",
        )
    strangers = [member for member in hello.get("hosts", []) if not await _resolves(member)]
    if strangers:
        return Finding(
            _CHECK,
            "fail",
            f"the members of {name} call themselves {', '.join(strangers)}, which is not known here",
            "Make the names known here (/etc/hosts, one Docker network for both), or give them others: rs.reconfig().",
        )
    return Finding(
        _CHECK,
        "fail",
        f"the replica set {name} has no primary",
        "Start more of its members: rs.status() says which are down.",
    )


async def _resolves(member: str) -> bool:
    host, _, port = member.rpartition(":")
    try:
        await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return False
    return True
