"""Options that commands share: every setting as an option, the settings' file, JSON on standard output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import click
import orjson

from gateway.configuration import Option
from gateway.settings import READER, environment_names

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: object) -> None:
    """One JSON document on standard output, readable by people too."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


@contextmanager
def writing_files() -> Iterator[None]:
    """What goes wrong with files inside is told as it is: a folder that is missing, a disk that is full."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'A file'} cannot be written: {error.strerror}.") from error


def setting_options(*names: str, **flags: tuple[str, str]) -> Callable[[F], F]:
    """Settings as options: `--data-dir` for `data_dir`; `flags` are names of options that mean a setting's value.

    The command gets `options`, ready for `read_settings(options=options)`; an option wins over everything else.
    """

    def decorate(command: F) -> F:
        @wraps(command)
        def gathered(*args: Any, **given: Any) -> Any:
            options = {}
            for name in names:
                text = given.pop(name)
                if text is not None:
                    options[name] = Option(f"--{name.replace('_', '-')}", text)
            for flag, (name, text) in flags.items():
                if given.pop(flag):
                    options[name] = Option(f"--{flag}", text)
            return command(*args, options=options, **given)

        documented: Any = gathered
        for flag, (name, text) in reversed(flags.items()):
            documented = click.option(f"--{flag}", is_flag=True, help=f"{_variable(name)}={text}.")(documented)
        for name in reversed(names):
            documented = _option(name)(documented)
        return documented  # type: ignore[no-any-return]

    return decorate


def _option(name: str) -> Callable[[F], F]:
    variable = _variable(name)
    explained = environment_names()[variable].replace("`", "")
    choices = READER.kinds[name].choices
    metavar = f"[{'|'.join(choices)}]" if choices else None
    complete = (
        (lambda ctx, param, incomplete: [each for each in choices if each.startswith(incomplete)]) if choices else None
    )
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        metavar=metavar,
        shell_complete=complete,
        help=f"{explained[0].upper()}{explained[1:]} ({variable}).",
    )


def _variable(name: str) -> str:
    return READER.environment_name(name)


def _use_file(context: click.Context, parameter: click.Parameter, file: str | None) -> None:
    """For everything that this process reads, and for what it starts."""
    if file is not None:
        os.environ[READER.file_variable] = file


def add_config_option(command: click.Command) -> click.Command:
    """`--config FILE` on a command and on those below it."""
    command.params.append(
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(),
            expose_value=False,
            callback=_use_file,
            help=f"The TOML file with settings ({READER.file_variable}; default: gateway.toml here).",
        )
    )
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_config_option(inner)
    return command
