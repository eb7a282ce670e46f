"""A whole gateway for one command."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.app.building import Gateway


def open_gateway(settings: Settings) -> AbstractAsyncContextManager[Gateway]:
    """Built, beside the running ones. Raises SetupError or ContractError with what to mend.

    Only now is loaded what it is built from: help, and what is wrong with a setting, need not wait for that.
    """
    from gateway.app import building

    return building.open_gateway(settings)
