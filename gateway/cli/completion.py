"""`completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gateway.errors import InvalidInput

PROGRAM = "journey-gateway"
VARIABLE = "_JOURNEY_GATEWAY_COMPLETE"
"""What click derives from the program's name; the script sets it when it asks for completions."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options in SHELL.

    \b
    bash (4.4 or newer):  echo 'eval "$(journey-gateway completion bash)"' >> ~/.bashrc
    zsh, behind compinit: echo 'eval "$(journey-gateway completion zsh)"' >> ~/.zshrc
    fish:                 journey-gateway completion fish > ~/.config/fish/completions/journey-gateway.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise InvalidInput(f"There is no completion for {shell}.")
    click.echo(kind(context.find_root().command, {}, PROGRAM, VARIABLE).source())
