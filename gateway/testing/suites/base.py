"""What every connector has to keep, whatever its kind."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from gateway.errors import PluginError
from gateway.plugin import Connector, Health, HttpFailed
from gateway.plugin.checking import check_connector
from gateway.testing.faults import FaultServer, Received, Reply, idle
from gateway.testing.rig import HANG_SECONDS, PATIENCE_SECONDS, Rig, overheard

_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:secret|password|passwd|token|credential|credentials|(?:api|write|private|access|signing)_?key)(?:$|_)"
)
#: How often a piece of work is looked at, every 10 ms, before it is cancelled although it has asked nothing.
_LOOKS = 100
T = TypeVar("T")

_CLOSE_SECONDS = 5.0
_HARMLESS = ("GET", "HEAD", "OPTIONS")


class ConnectorContract:
    """The base of the suites. Set `connector` and `settings`; `answer` says what the other side answers when all is
    well.

    `settings` are the keys of the connector's table. Secrets stand in them as `env:NAME`; the suite sets the variables
    to made-up values, or to those in `secrets` where a value must have a form.
    """

    connector: ClassVar[type[Connector[Any]]]
    settings: ClassVar[Mapping[str, Any]] = {}
    secrets: ClassVar[Mapping[str, str]] = {}

    def answer(self, request: Received) -> Reply:
        """The other side's answer when all is well; 200 and `{}` unless you say otherwise."""
        return Reply()

    def configured(self, server: FaultServer) -> Mapping[str, Any]:
        """The settings. A connector that does not ask through `context.http` is pointed at `server.url` here."""
        return self.settings

    def harmless(self, request: Received) -> bool:
        """Whether a request that `check` makes changes nothing there; true of GET, HEAD and OPTIONS."""
        return request.method in _HARMLESS

    async def exercise(self, connector: Any) -> Any:
        """One ordinary piece of work; what it returns is looked through for secrets."""
        raise NotImplementedError

    def rig(self) -> Rig:
        """The connector between a server and a clock; a context manager."""
        rig = Rig(self.connector, self.settings, self.secrets)
        rig.server.answer = self.answer
        return _Configuring(rig, self)  # type: ignore[return-value]

    # -- configuration and manifest -------------------------------------------------------------------------------

    def test_the_manifest_is_accepted(self) -> None:
        """What the gateway checks before it makes anything of a connector."""
        try:
            check_connector(self.connector.manifest.name.partition(".")[0], self.connector, {})
        except PluginError as error:
            pytest.fail(f"the gateway would refuse it: {error}")
        assert self.connector.manifest.brief.strip(), "the manifest's `brief` says nothing"

    def test_the_configuration_round_trips(self) -> None:
        """Its JSON Schema can be written, its values read back, and unknown keys are refused."""
        model = self.connector.Config
        json.dumps(model.model_json_schema())
        with self.rig() as rig:
            settings = rig.settings
            config = model.model_validate(settings)
            dumped = json.loads(json.dumps(config.model_dump(mode="json")))
            assert model.model_validate(dumped) == config, "what it dumps is not what it reads"
        with pytest.raises(ValidationError):
            model.model_validate({**settings, "no_such_key": 1})

    def test_no_secret_is_configured_as_plain_text(self) -> None:
        """What is named like a secret is a `Secret`: a reference, whose value no dump shows."""
        for name, field in _fields(self.connector.Config.model_json_schema()):
            if _SECRET_NAMES.search(name.lower()):
                assert _is_reference(field), f"`{name}` is named like a secret: make it a gateway.plugin.Secret"
        with self.rig() as rig:
            config = self.connector.Config.model_validate(rig.settings)
            shown = f"{config!r} {config} {config.model_dump_json()}"
            assert not rig.secrets_told(shown), "the configuration shows the secret's value"

    def test_the_region_chooses_the_host(self) -> None:
        """Where the configuration has a `region`, each one is another host."""
        field = dict(_fields(self.connector.Config.model_json_schema())).get("region")
        if field is None:
            pytest.skip("the configuration has no `region`")
        hosts = {}
        for region in field.get("enum", ()):
            with self.rig() as rig:
                outcome_of(lambda rig=rig, region=region: rig.run(self.exercise, region=region))  # type: ignore[misc]
                asked = {urlsplit(request.url).hostname for request in rig.server.requests}
            hosts[region] = asked
        if not any(hosts.values()):
            pytest.skip("it asks nobody")
        for region, asked in hosts.items():
            for other, others in hosts.items():
                assert region == other or not asked & others, (
                    f"{region} and {other} ask the same host: {asked & others}"
                )

    # -- check ------------------------------------------------------------------------------------------------------

    def test_check_changes_nothing(self) -> None:
        """`check` asks only what has no effect there, and finds a healthy side healthy."""
        with self.rig() as rig:
            health = rig.run(lambda connector: connector.check())
            asked = rig.server.requests
        assert isinstance(health, Health), "check must return a Health"
        assert health.ok, f"all is well there, but check says: {health.said}"
        for request in asked:
            said = f"check sent {request.method} {urlsplit(request.url).path}, which may have an effect"
            assert self.harmless(request), said

    def test_check_says_what_is_wrong(self) -> None:
        """`check` never raises: refused credentials and a broken connection are an answer of its own."""
        for reply in (Reply(401), Reply(503), Reply(fault="reset"), Reply(fault="hang")):
            with self.rig() as rig:
                rig.server.answer = lambda request, reply=reply: reply  # type: ignore[misc]
                if reply.fault == "hang":
                    rig.http.most_seconds = HANG_SECONDS
                try:
                    health = rig.run(lambda connector: connector.check())
                except Exception as error:
                    pytest.fail(f"check raised {type(error).__name__} at {_told(reply)}; return a Health")
                if rig.server.requests:
                    assert not health.ok, f"check says all is well at {_told(reply)}"

    # -- leftovers and secrets --------------------------------------------------------------------------------------

    def test_nothing_is_left_behind(self) -> None:
        """Work that is cancelled, and `close`, leave no task, no thread and no connection."""
        with self.rig() as rig:
            rig.server.answer = lambda request: Reply(fault="hang")
            threads = set(threading.enumerate())
            tasks, shut = rig.alone(lambda: self._cancelled(rig))
            started = [one for one in threading.enumerate() if one not in threads and one.is_alive()]
            for thread in started:
                thread.join(PATIENCE_SECONDS if not thread.daemon else 5.0)
            assert not tasks, f"tasks go on after close: {', '.join(tasks)}"
            left = [one.name for one in started if one.is_alive() and not one.name.startswith("asyncio_")]
            assert not left, f"threads go on after close: {', '.join(left)}"
            assert shut, "connections are open after close"

    async def _cancelled(self, rig: Rig) -> tuple[list[str], bool]:
        """Cancel a piece of work in the middle, close; the names of the tasks that are left, and whether no connection
        is."""
        connector = rig.make()
        opening = asyncio.create_task(connector.open())
        await asyncio.wait({opening}, timeout=HANG_SECONDS)
        work = asyncio.create_task(self.exercise(connector)) if opening.done() else opening
        for _ in range(_LOOKS):
            if rig.server.requests or work.done():
                break
            await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.gather(work, opening, return_exceptions=True)
        await connector.close()
        await rig.http.close()
        await asyncio.sleep(0)
        left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        return left, await idle(rig.server, _CLOSE_SECONDS)

    def test_no_secret_is_ever_told(self) -> None:
        """Neither in a log, nor in an exception, nor in what is returned, whatever the other side answers."""
        for reply in (None, Reply(401), Reply(400), Reply(500), Reply(200, b"<html>"), Reply(fault="reset")):
            with self.rig() as rig, overheard() as log:
                if reply is not None:
                    rig.server.answer = lambda request, reply=reply: reply  # type: ignore[misc]
                said = [rig.alone(lambda work=work: _telling(rig, work)) for work in (_checked, self.exercise)]  # type: ignore[misc]
                text = log.getvalue()
                assert not (told := rig.secrets_told(text)), f"the log shows {told} at {_told(reply)}"
                assert not (told := rig.secrets_told(" ".join(said))), (
                    f"a result or an exception shows {told} at {_told(reply)}"
                )


class _Configuring:
    """A rig whose settings are asked for once the server has its address."""

    def __init__(self, rig: Rig, suite: ConnectorContract) -> None:
        self._rig = rig
        self._suite = suite

    def __enter__(self) -> Rig:
        self._rig.__enter__()
        self._rig.settings = dict(self._suite.configured(self._rig.server))
        return self._rig

    def __exit__(self, *error: Any) -> None:
        self._rig.__exit__(*error)


async def _checked(connector: Any) -> Any:
    return await connector.check()


async def _telling(rig: Rig, work: Any) -> str:
    """What a piece of work returns or raises, as text, with all that hangs on the exception."""
    connector = rig.make()
    try:
        await connector.open()
        text = repr(await work(connector))
    except Exception as error:
        parts: list[str] = []
        raised: BaseException | None = error
        while raised is not None:
            parts += [repr(raised), str(raised)]
            raised = raised.__cause__ or (None if raised.__suppress_context__ else raised.__context__)
        text = " ".join(parts)
    with suppress(Exception):
        await connector.close()
    await rig.http.close()
    return f"{text} {connector!r} {connector.config!r}"


def _fields(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and JSON Schema of every field, of nested models too."""
    models = [schema, *schema.get("$defs", {}).values()]
    return [pair for model in models for pair in model.get("properties", {}).items()]


def _is_reference(field: Mapping[str, Any]) -> bool:
    parts = [field, *field.get("anyOf", ()), *([field["items"]] if isinstance(field.get("items"), dict) else [])]
    return any(part.get("format") == "secret-reference" for part in parts)


def _told(reply: Reply | None) -> str:
    if reply is None:
        return "an answer that is well"
    return f"a connection that meets `{reply.fault}`" if reply.fault else f"HTTP {reply.status}"


def outcome_of(call: Callable[[], T]) -> T | Exception:
    """What it returns, or what it raises; but for what a suite itself has found."""
    try:
        return call()
    except AssertionError:
        raise
    except Exception as error:
        return error


def is_unsent(error: BaseException) -> bool:
    """Whether an exception says that there was no whole answer, and that trying again may help."""
    return isinstance(error, HttpFailed) and not error.final
