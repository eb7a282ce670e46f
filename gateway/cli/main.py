"""The group of commands, and what an error looks like in a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import click

import gateway
from gateway.cli.data import import_file, init
from gateway.cli.schema import schema
from gateway.cli.serve import page, serve
from gateway.cli.simulate import simulate
from gateway.cli.watch import watch
from gateway.errors import GatewayError, OperatorError

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(gateway.__version__, prog_name="journey-gateway")
def commands() -> None:
    """Journey Gateway: user-journey events in, journeys and numbers out, over one GraphQL API.

    \b
    Start with:  journey-gateway serve --demo
    """


for command in (serve, page, init, import_file, simulate, watch, schema):
    commands.add_command(command)


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 something was refused, 2 the set-up or the call must change."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("gateway").setLevel(logging.INFO)
    try:
        commands()
    except GatewayError as error:
        click.secho(f"Error: {error.message}", fg="red", err=True)
        if error.hint:
            click.echo(error.hint, err=True)
        sys.exit(2 if isinstance(error, OperatorError) else 1)


class _Line(logging.Formatter):
    """`time level room: message key=value …` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{key}={value!r}" for key, value in vars(record).items() if key not in _KNOWN)
        when = self.formatTime(record, "%H:%M:%S")
        text = f"{when} {record.levelname.lower()} {record.name}: {record.getMessage()} {extra}".rstrip()
        if record.exc_info and record.exc_info[0] is not None:
            # Where it happened, but not the error's words: they may quote what users sent.
            frames = traceback.extract_tb(record.exc_info[2])[-4:]
            places = " < ".join(
                f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)
            )
            text += f" ({record.exc_info[0].__name__} at {places})"
        return text.replace("\n", " ").replace("\r", " ")
