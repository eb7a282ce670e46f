"""The group of commands, and what an error looks like in a terminal."""

from __future__ import annotations

import importlib
import os
import sys

import click
from click.shell_completion import CompletionItem

import gateway
from gateway.app.logs import set_up_logs
from gateway.cli.options import add_config_option
from gateway.errors import GatewayError, OperatorError, PluginError
from gateway.settings import read_settings

# One command a line: where it is, and what `--help` says of it. Only the one that is called is loaded, so that help
# and completion answer at once, and `doctor` answers when a package that others need is missing.
COMMANDS = {
    "serve": ("gateway.cli.serve:serve", "Start the gateway; Ctrl-C drains and stops it."),
    "page": ("gateway.cli.serve:page", "Print a fresh address of the demo's page."),
    "init": ("gateway.cli.data:init", "Make an empty workspace with keys for your own data."),
    "keys": ("gateway.cli.keys:keys", "Create, list, rotate and revoke write keys and API keys."),
    "import": ("gateway.cli.data:import_file", "Import events from a file."),
    "export": ("gateway.cli.export:export", "Export events as an XES log or as NDJSON."),
    "contract": (
        "gateway.cli.contract:contract",
        "Begin, check and export a contract; put it in force without a restart.",
    ),
    "deliveries": (
        "gateway.cli.deliveries:deliveries",
        "What destinations have not got, how they are, and replays.",
    ),
    "rebuild": ("gateway.cli.rebuild:rebuild", "Work out sessions and journeys again, while the gateway goes on."),
    "columnar": ("gateway.cli.columnar:columnar", "The Parquet files that numbers are computed from."),
    "quarantine": ("gateway.cli.quarantine:quarantine", "Look at what could not become an event, and replay it."),
    "audit": ("gateway.cli.audit:audit", "Say what is wrong with what is sent, beside the plan."),
    "simulate": ("gateway.cli.simulate:simulate", "Made-up visitors of a shop, as NDJSON or played into a gateway."),
    "watch": ("gateway.cli.watch:watch", "Watch journeys move: one JSON line per change."),
    "plugins": ("gateway.cli.plugins:plugins", "List plugins and connectors, and what is wrong with them."),
    "plugin": ("gateway.cli.plugins:plugin", "Write, check and try plugins."),
    "schema": ("gateway.cli.schema:schema", "The API's SDL in schema/api.graphql."),
    "config": ("gateway.cli.config:config", "Show every setting and where it comes from; check them."),
    "doctor": ("gateway.cli.doctor:doctor", "Check this machine, the settings and MongoDB; say how to mend them."),
    "completion": ("gateway.cli.completion:completion", "Print the script that lets a shell complete commands."),
}


class Commands(click.Group):
    """The table above as a group, and what plugins add to it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *self._added()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module, name = COMMANDS[cmd_name][0].split(":")
            self.commands[cmd_name] = add_config_option(getattr(importlib.import_module(module), name))
        elif cmd_name not in self.commands:
            self._added()
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, said) for name, (_, said) in COMMANDS.items()])
        if added := self._added():
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, self.commands[name].get_short_help_str()) for name in added])

    def _added(self) -> list[str]:
        """Names of the commands that plugins have added; none while the settings are wrong: other commands say so."""
        if self._plugins is None:
            self._plugins = click.Group()
            try:
                settings = read_settings()
                if settings.plugins or settings.plugins_dir or settings.connectors.values:
                    from gateway.app.plugins import load_plugins

                    load_plugins(settings, refuse=False).host.add_commands(self._plugins)
            except GatewayError:
                pass
            self.commands.update({name: one for name, one in self._plugins.commands.items() if name not in COMMANDS})
        return sorted(self._plugins.commands.keys() - COMMANDS.keys())

    _plugins: click.Group | None = None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=said) for name, (_, said) in COMMANDS.items() if name.startswith(incomplete)]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(gateway.__version__, prog_name="journey-gateway")
@click.pass_context
def commands(context: click.Context) -> None:
    """Journey Gateway: user-journey events in, journeys and numbers out, over one GraphQL API.

    \b
    Start with:  journey-gateway serve --demo
    Mend with:   journey-gateway doctor

    Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 refused, or done only in
    part; 2 the set-up or the call must change.
    """
    context.color = _colour()


add_config_option(commands)


def _colour() -> bool | None:
    """None: as the terminal can (click's default); never where NO_COLOR is set."""
    return False if os.environ.get("NO_COLOR") else None


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 something was refused, 2 the set-up or the call must change."""
    set_up_logs("text")  # `serve` sets them up anew as GATEWAY_LOG says
    try:
        commands()
    except GatewayError as error:
        click.secho(f"Error: {error.message}", fg="red", err=True, color=_colour())
        if error.hint:
            click.echo(error.hint, err=True)
        if isinstance(error, PluginError):
            from gateway.cli.plugins import about

            click.echo(about(error.failure), err=True)
        sys.exit(2 if isinstance(error, OperatorError) else 1)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("gateway", "gateway_schema"):
            raise
        click.secho(f"Error: the package {error.name} is missing.", fg="red", err=True, color=_colour())
        click.echo("`journey-gateway doctor` says what to install.", err=True)
        sys.exit(2)
