"""Tells of every command that MongoDB refused or did not answer, by the command's name alone."""

from __future__ import annotations

from collections.abc import Callable

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

NAMESPACE_EXISTS = 48


class CommandFailures(CommandListener):
    """Calls `told` with the name of each command that failed, in whichever thread the driver runs."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing to tell."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to tell."""

    def failed(self, event: CommandFailedEvent) -> None:
        if event.failure.get("code") != NAMESPACE_EXISTS:  # asked for at every start
            self._told(event.command_name)
