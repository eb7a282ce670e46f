"""The provider that the settings name, made and looked at: what is none is told before it is asked for flags."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from openfeature.provider import FeatureProvider

#: What the connector calls; the methods' asynchronous twins are not needed.
_METHODS = (
    "attach",
    "detach",
    "initialize",
    "shutdown",
    "get_metadata",
    *(f"resolve_{kind}_details" for kind in ("boolean", "string", "integer", "float", "object")),
)


class NotMade(Exception):
    """What is wrong with `provider` or its `arguments`, and what to do; neither holds a value of the settings."""

    def __init__(self, said: str, fix: str) -> None:
        super().__init__(said)
        self.fix = fix


def make(where: str, arguments: Mapping[str, Any]) -> FeatureProvider:
    """The provider at `package.module:Class`, or what a function there returns. Raises NotMade."""
    maker = _found(where)
    if isinstance(maker, type):
        _look_at(maker, f"{where} is a class that", where)
    elif not callable(maker):
        raise NotMade(f"{where} is {_a(maker)}, and no class", "Name the class: `package.module:Class`.")
    try:
        inspect.signature(maker).bind(**arguments)
    except TypeError as error:  # it names arguments, never what they are
        raise NotMade(f"{where} does not take these `arguments`: {error}", "Correct the keys of `arguments`.") from None
    except ValueError:
        pass  # it has no signature to look at
    try:
        made = maker(**arguments)
    except Exception as error:
        raise NotMade(
            f"{where} raised {type(error).__name__} as it was made",
            "Correct its `arguments`: the provider's documentation says what they are.",
        ) from error
    _look_at(made, f"{where} gave {_a(made)}, which", where)
    return made  # type: ignore[no-any-return]


def _found(where: str) -> Callable[..., Any] | Any:
    place, _, name = where.partition(":")
    try:
        module = import_module(place)
    except ModuleNotFoundError as missing:
        raise NotMade(
            f"there is no module {missing.name}",
            "Install the provider's package into the gateway's environment, or correct `provider`.",
        ) from None
    except Exception as error:
        raise NotMade(
            f"the module {place} raised {type(error).__name__} as it was imported", "Mend it; it is not the gateway's."
        ) from error
    if not hasattr(module, name):
        close = difflib.get_close_matches(name, vars(module), n=1)
        fix = f"Did you mean {place}:{close[0]}?" if close else "Correct `provider`: `package.module:Class`."
        raise NotMade(f"the module {place} has no {name}", fix)
    return getattr(module, name)


def _look_at(what: Any, said: str, where: str) -> None:
    absent = [name for name in _METHODS if not callable(getattr(what, name, None))]
    if not absent:
        return
    lacks = "is no OpenFeature provider" if len(absent) == len(_METHODS) else f"lacks {', '.join(absent)}"
    raise NotMade(
        f"{said} {lacks}",
        f"Name a class that derives from openfeature.provider.AbstractProvider, or let {where.rpartition(':')[2]} "
        "return an object of one.",
    )


def _a(what: Any) -> str:
    name = type(what).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
