"""The host: finds plugins, checks them, and keeps those that fail apart from those that do not.

Installed is not enabled: only plugins that the configuration names are imported, and one-file plugins of a folder that
it names. A plugin that cannot be imported is left out and shown; one whose hooks are written wrongly refuses the start,
with file and line, because nobody would notice a hook that is never called.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from gateway.clock import monotonic
from gateway.errors import PluginError, PluginFailure, SetupError
from gateway.plugin import hooks
from gateway.plugin.checking import check_connector, check_graphql, check_kpi_functions
from gateway.plugin.connectors import Connector
from gateway.plugin.failures import refused, traced
from gateway.plugin.hooks import PROJECT, GraphqlFields
from gateway.plugin.kpis import KpiFunction

log = logging.getLogger("gateway.plugins")
calls = logging.getLogger("gateway.plugins.calls")

#: Module names of one-file plugins begin so.
_FOLDER = "gateway_plugins_dir"
#: How long a plugin may take to be imported, or to answer a hook.
HOOK_SECONDS = 30.0

Value = TypeVar("Value")


@dataclass(slots=True)
class Plugin:
    """One plugin as the host knows it. `origin` is its distribution or file; `failure` why it is not in use."""

    name: str
    origin: str
    version: str = ""
    module: object | None = None
    connectors: tuple[type[Connector[Any]], ...] = ()
    graphql: GraphqlFields | None = None
    kpi_functions: tuple[KpiFunction, ...] = ()
    failure: PluginFailure | None = None

    @property
    def loaded(self) -> bool:
        return self.failure is None


@dataclass(frozen=True, slots=True)
class _Found:
    """A plugin that could be loaded, and how."""

    name: str
    origin: str
    version: str
    load: Callable[[], object] = field(repr=False)


def installed() -> dict[str, list[_Found]]:
    """Every installed plugin by name; more than one under a name is a clash."""
    found: dict[str, list[_Found]] = {}
    for entry in importlib.metadata.entry_points(group=PROJECT):
        distribution = entry.dist
        name, version = (distribution.name, distribution.version) if distribution else ("?", "")
        origin = f"{name} {version}"
        if all(other.origin != origin for other in found.get(entry.name, [])):
            found.setdefault(entry.name, []).append(_Found(entry.name, origin, version, entry.load))
    return found


class Host:
    """The plugins of one gateway."""

    def __init__(self, *, trace: bool = False) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hooks)
        self._trace = trace
        self.plugins: dict[str, Plugin] = {}

    @classmethod
    def load(
        cls,
        enabled: Collection[str],
        *,
        only: Collection[str] | None = None,
        folder: Path | None = None,
        strict: bool = False,
        trace: bool = False,
        refuse: bool = True,
    ) -> Host:
        """A host with these plugins, and with those of a folder; `only`: none but these.

        Raises PluginError for one whose hooks are written wrongly, unless it is not to `refuse` but to show them; and
        for every one that fails if `strict`.
        """
        host = cls(trace=trace)
        available = installed()
        for found in _files(folder):
            available.setdefault(found.name, []).append(found)
        wanted = [*dict.fromkeys([*enabled, *(found.name for found in _files(folder))])]
        for name in wanted:
            if only is None or name in only:
                host._take(name, available, refuse)
        if strict:
            for plugin in host.plugins.values():
                if plugin.failure is not None:
                    raise PluginError(plugin.failure)
        return host

    def register(self, module: object, name: str, *, origin: str = "given", version: str = "") -> Plugin:
        """Take a plugin that is imported already. Raises PluginError when its hooks are written wrongly."""
        plugin = Plugin(name, origin, version or str(getattr(module, "__version__", "")), module)
        self.plugins[name] = plugin
        self._check_hooks(plugin)
        self._manager.register(module, name)
        try:
            self._ask(plugin)
        except Exception as error:
            plugin.failure = _failure(plugin, "register", error)
            self._fail(plugin)
        return plugin

    @property
    def connectors(self) -> dict[str, type[Connector[Any]]]:
        """The classes of all connectors that can be used, by name."""
        loaded = (plugin for plugin in self.plugins.values() if plugin.loaded)
        return {kind.manifest.name: kind for plugin in loaded for kind in plugin.connectors}

    @property
    def graphql(self) -> list[GraphqlFields]:
        """The fields that plugins add to the schema."""
        return [plugin.graphql for plugin in self.plugins.values() if plugin.loaded and plugin.graphql is not None]

    @property
    def kpi_functions(self) -> dict[str, KpiFunction]:
        """The functions that KPIs may name, by name."""
        return {one.name: one for plugin in self.plugins.values() if plugin.loaded for one in plugin.kpi_functions}

    def add_commands(self, group: Any) -> None:
        """Let plugins add their commands to the command line; one that fails is left out."""
        for plugin, function in self._functions("register_commands"):
            try:
                self._call(plugin, "register_commands", lambda call=function: call(group))  # type: ignore[misc]
            except Exception as error:
                plugin.failure = _failure(plugin, "register_commands", error)
                self._fail(plugin)

    # -- loading ----------------------------------------------------------------------------------------------------

    def _take(self, name: str, available: Mapping[str, list[_Found]], refuse: bool) -> None:
        candidates = available.get(name, [])
        if len(candidates) != 1:
            self.plugins[name] = Plugin(name, "", failure=_cannot_choose(name, candidates, available))
            self._fail(self.plugins[name])
            return
        (found,) = candidates
        plugin = Plugin(name, found.origin, found.version)
        self.plugins[name] = plugin
        try:
            module = self._call(plugin, "import", found.load)
        except (Exception, SystemExit) as error:
            plugin.failure = _failure(plugin, "import", error)
            self._fail(plugin)
            return
        try:
            self.register(module, name, origin=found.origin, version=found.version)
        except PluginError as error:
            if refuse:
                raise
            self.plugins[name].failure = error.failure
            self._fail(self.plugins[name])

    def _check_hooks(self, plugin: Plugin) -> None:
        """Whether its hooks are known, take known arguments, and are not asynchronous. Raises PluginError."""
        known = {
            name: [*inspect.signature(spec).parameters]
            for name, spec in vars(hooks).items()
            if getattr(spec, f"{PROJECT}_spec", None) is not None
        }
        marked = False
        for name in dir(plugin.module):
            function = getattr(plugin.module, name)
            if getattr(function, f"{PROJECT}_impl", None) is None:
                continue
            marked = True
            place = _place(function)
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                meant = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(sorted(known))}."
                raise _wrong(plugin, name, f"{place}: there is no hook {name}.", meant)
            unknown = [each for each in inspect.signature(function).parameters if each not in known[name]]
            if unknown:
                takes = f"It takes: {', '.join(known[name]) or 'nothing'}."
                raise _wrong(plugin, name, f"{place}: {name} has no argument {', '.join(unknown)}.", takes)
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                raise _wrong(
                    plugin, name, f"{place}: {name} must not be asynchronous.", "Write `def`, not `async def`."
                )
        if not marked:
            said = f"None of its functions is marked as a hook ({plugin.origin})."
            raise _wrong(plugin, "register", said, "Put @hookimpl of gateway.plugin above register_connectors.")

    def _ask(self, plugin: Plugin) -> None:
        """What the plugin registers, checked."""
        for owner, function in self._functions("register_connectors"):
            if owner is plugin:
                given = self._call(plugin, "register_connectors", function)
                known = self.connectors
                if not isinstance(given, Iterable):
                    said = f"register_connectors returned {type(given).__name__}."
                    raise _wrong(plugin, "register_connectors", said, "Return a list of connector classes.")
                for kind in given:
                    checked = check_connector(plugin.name, kind, known)
                    known[checked.manifest.name] = checked
                    plugin.connectors += (checked,)
        for owner, function in self._functions("register_graphql"):
            if owner is plugin:
                fields = self._call(plugin, "register_graphql", function)
                plugin.graphql = check_graphql(plugin.name, fields, self.graphql)
        for owner, function in self._functions("register_kpi_functions"):
            if owner is plugin:
                # Inside: what it returns may be a generator, whose code is the plugin's too.
                asked = partial(_checked_kpi_functions, plugin.name, function)
                plugin.kpi_functions = self._call(plugin, "register_kpi_functions", asked)
        if not plugin.version:
            versions = [one.manifest.version for one in plugin.connectors]
            plugin.version = next(iter([*versions, *(one.version for one in plugin.kpi_functions)]), "")

    def _functions(self, hook: str) -> Iterator[tuple[Plugin, Callable[..., Any]]]:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            plugin = self.plugins[implementation.plugin_name]
            if plugin.loaded:
                yield plugin, implementation.function

    def _call(self, plugin: Plugin, operation: str, call: Callable[[], Value]) -> Value:
        began = monotonic()
        said = "ended"
        try:
            return _in_time(call)
        except BaseException as error:
            said = type(error).__name__
            raise
        finally:
            if self._trace:
                seconds = round(monotonic() - began, 6)
                calls.info(
                    "plugin called",
                    extra={"plugin": plugin.name, "operation": operation, "seconds": seconds, "how": said},
                )

    def _fail(self, plugin: Plugin) -> None:
        assert plugin.failure is not None
        log.error("plugin left out", extra=plugin.failure.log_fields())


def _checked_kpi_functions(plugin: str, function: Callable[..., Any]) -> tuple[KpiFunction, ...]:
    return check_kpi_functions(plugin, function())


def _in_time(call: Callable[[], Value]) -> Value:
    """What it returns or raises; when it does neither in time it is left to itself, in a thread that ends nothing."""
    outcome: Future[Value] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="plugin", daemon=True).start()
    try:
        return outcome.result(HOOK_SECONDS)
    except TimeoutError:
        if outcome.done():
            raise  # its own
        raise _Late from None


class _Late(Exception):
    """A plugin did not come to an end."""


def _files(folder: Path | None) -> list[_Found]:
    """One-file plugins, by the names of their files. Raises SetupError when the folder is not there."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise SetupError(f"There is no folder {folder} for plugins.", hint="Mend plugins_dir, or make the folder.")
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    return [_Found(path.stem, str(path), "", lambda path=path: _import_file(path)) for path in files]  # type: ignore[misc]


def _import_file(path: Path) -> ModuleType:
    name = f"{_FOLDER}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _place(function: Any) -> str:
    code = inspect.unwrap(function).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def _wrong(plugin: Plugin, operation: str, message: str, fix: str) -> PluginError:
    return refused(
        PluginFailure(
            plugin=plugin.name, version=plugin.version, operation=operation, category="bug", message=message, fix=fix
        )
    )


def _cannot_choose(name: str, candidates: list[_Found], available: Iterable[str]) -> PluginFailure:
    if candidates:
        origins = " and ".join(found.origin for found in candidates)
        message, fix = f"Two plugins have this name: {origins}.", "Uninstall one, or rename the file."
    else:
        close = difflib.get_close_matches(name, available, n=1)
        message = "No plugin of this name is installed."
        fix = f"Did you mean {close[0]}?" if close else "Install its package, or take the name out of the settings."
    return traced(
        PluginFailure(plugin=name, version="", operation="import", category="config", message=message, fix=fix)
    )


def _failure(plugin: Plugin, operation: str, error: BaseException) -> PluginFailure:
    if isinstance(error, PluginError):
        return traced(error.failure)
    if isinstance(error, _Late):
        message = f"It has not come to an end within {HOOK_SECONDS:g} s."
        fix = "It must not wait or work there: what takes time belongs into `open`."
        category = "bug"
    elif isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        message = f"The package {missing} is missing."
        fix = f"Install it, or the plugin's extra: pip install 'journey-gateway[{plugin.name}]'"
        category = "config"
    else:
        # What the exception says is the plugin's own text, which may hold anything: its kind and place are enough.
        message, fix = f"{type(error).__name__} in {_where(error)}", "Report it to the plugin's author."
        category = "bug"
    return traced(
        PluginFailure(
            plugin=plugin.name,
            version=plugin.version,
            operation=operation,
            category=category,  # type: ignore[arg-type]
            message=message,
            fix=fix,
        )
    )


def _where(error: BaseException) -> str:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    if traceback is None:
        return "?"
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
