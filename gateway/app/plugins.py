"""Loads the plugins of a process and checks its connectors, as the settings say."""

from __future__ import annotations

from collections.abc import Collection

from gateway.errors import PluginError
from gateway.plugin.configuring import Plugged, check_workspaces, configure, plugins_named
from gateway.plugin.host import Host
from gateway.settings import Settings


def load_plugins(settings: Settings, *, refuse: bool = True) -> Plugged:
    """Load what is enabled and check what is configured. `refuse`: this is a start, not a command that looks.

    Raises PluginError for hooks that are written wrongly, and for whatever fails if `strict_plugins` is set.
    """
    host = Host.load(
        [*settings.plugins, *plugins_named(settings.connectors)],
        only=settings.load_plugins,
        folder=settings.plugins_dir if settings.load_plugins != () else None,
        strict=settings.strict_plugins and refuse,
        trace=settings.trace_plugins,
        refuse=refuse,
    )
    # In safe mode nothing is loaded, and that is no mistake of an instance.
    plugged = Plugged(host, () if settings.load_plugins == () else tuple(configure(settings.connectors, host)))
    return _strictly(plugged, settings, refuse)


def in_workspaces(plugged: Plugged, settings: Settings, known: Collection[str], *, refuse: bool = True) -> Plugged:
    """The same once it is known which workspaces there are. Raises PluginError as `load_plugins` does."""
    return _strictly(check_workspaces(plugged, settings.connectors, known), settings, refuse)


def _strictly(plugged: Plugged, settings: Settings, refuse: bool) -> Plugged:
    if settings.strict_plugins and refuse and plugged.failures:
        raise PluginError(plugged.failures[0])
    return plugged
