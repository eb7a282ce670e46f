"""`doctor`: what the set-up lacks, line by line, each with its fix."""

from __future__ import annotations

import asyncio

import click

import gateway
from gateway.app.doctor import examine
from gateway.cli.options import json_option, print_json, setting_options
from gateway.clock import ServerClock
from gateway.configuration import Option, Reading
from gateway.model.finding import Finding
from gateway.settings import Settings, look_up_settings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@setting_options("host", "port", "mongo_uri", "database", "data_dir", production=("env", "production"))
@json_option
def doctor(options: dict[str, Option], as_json: bool) -> None:
    """Check Python, packages, settings, contract, disk, port and MongoDB; say how to mend what is wrong.

    Nothing is started, and nothing stays behind. Exit code 1 when a check fails; warnings do not count.

    \b
    Examples:
      journey-gateway doctor
      journey-gateway doctor --json | jq '.checks[] | select(.state == "fail")'
    """
    findings = asyncio.run(_findings(look_up_settings(options=options), talk=not as_json))
    failed = sum(finding.state == "fail" for finding in findings)
    warned = sum(finding.state == "warn" for finding in findings)
    if as_json:
        print_json(
            {
                "version": gateway.__version__,
                "ok": not failed,
                "checks": [
                    {"check": each.check, "state": each.state, "said": each.said, "fix": each.fix or None}
                    for each in findings
                ],
            }
        )
    else:
        click.echo(f"\n{_count(failed, 'failure')}, {_count(warned, 'warning')}.")
    if failed:
        raise SystemExit(1)


async def _findings(reading: Reading[Settings], *, talk: bool) -> list[Finding]:
    """All findings, each printed as soon as it is there."""
    found = []
    async for finding in examine(reading, ServerClock()):
        found.append(finding)
        if talk:
            click.echo(
                f"{click.style(f'{finding.state:<5}', fg=_COLOURS[finding.state])} {_name(finding)} {finding.said}"
            )
            if finding.fix:
                click.echo(f"{'':<30} fix: {finding.fix}")
    return found


def _name(finding: Finding) -> str:
    """`mongodb.write_concern` as `MongoDB write concern`."""
    words = (
        finding.check.replace(".", " ").replace("_", " ").replace("mongodb", "MongoDB").replace("graphiql", "GraphiQL")
    )
    return f"{words:<24}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
