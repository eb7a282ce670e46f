"""Every call of an instance in the log, where `trace_plugins` asks for it: which, how long, how it ended; never with
what."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.clock import monotonic
from gateway.plugin import Connector
from gateway.plugin.checking import KINDS

#: Lines of this log are wished for one by one: they are not thinned out.
log = logging.getLogger("gateway.plugins.calls")


def trace_calls(connector: Connector[Any]) -> None:
    """Log each call of the connector's methods from here on. Of `changes` only its beginning is told."""
    for name in _names(connector):
        method = getattr(connector, name)
        setattr(connector, name, _told(connector, name, method))


def _names(connector: Connector[Any]) -> set[str]:
    kinds = [Connector, *(kind for kind in KINDS.values() if isinstance(connector, kind))]
    return {
        name
        for kind in kinds
        for name, method in vars(kind).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }


def _told(connector: Connector[Any], name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*given: Any, **named: Any) -> Any:
            with _telling(connector, name):
                return await method(*given, **named)

        return awaited

    @functools.wraps(method)
    def called(*given: Any, **named: Any) -> Any:
        with _telling(connector, name):
            return method(*given, **named)

    return called


@contextmanager
def _telling(connector: Connector[Any], name: str) -> Iterator[None]:
    began, said = monotonic(), "ended"
    try:
        yield
    except BaseException as error:
        said = type(error).__name__
        raise
    finally:
        log.info(
            "plugin called",
            extra={
                "plugin": connector.manifest.name,
                "instance": connector.context.instance,
                "operation": name,
                "seconds": round(monotonic() - began, 6),
                "how": said,
            },
        )
