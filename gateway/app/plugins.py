"""Loads the plugins of a process and checks its connectors, as the settings say."""

from __future__ import annotations

from gateway.errors import PluginError
from gateway.plugin.configuring import Plugged, configure, plugins_named
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
    if settings.strict_plugins and refuse and plugged.failures:
        raise PluginError(plugged.failures[0])
    return plugged
