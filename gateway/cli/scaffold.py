"""`plugin new`: a package with one connector of a kind, whose tests pass at once."""

from __future__ import annotations

import re
from pathlib import Path

import click

from gateway.plugin.host import installed

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}\Z")
_KINDS = ("destination", "webhook", "pull", "enricher", "flags", "alerts")


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(_KINDS), required=True, help="What the connector is.")
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where its folder is made."
)
def new(name: str, kind: str, into: Path) -> None:
    """Write a package with the connector NAME: entry point, connector, README and a test that passes.

    \b
    Examples:
      journey-gateway plugin new acme --kind destination
      journey-gateway plugin new acme --kind webhook --into ../connectors
    """
    if not _NAME.match(name):
        raise click.UsageError(f"{name!r} cannot be the name of a plugin: use a-z, 0-9 and _, a letter first.")
    if name in installed():
        raise click.UsageError(f"A plugin named {name!r} is installed already, and two of one name are refused.")
    folder = into / name
    if folder.exists():
        raise click.UsageError(f"{folder} exists already.")
    package = f"gateway_{name}"
    files = {
        "pyproject.toml": "pyproject",
        "README.md": "readme",
        f"{package}/__init__.py": "init",
        f"{package}/connector.py": kind,
        f"tests/test_{name}.py": f"{kind}_test",
    }
    for path, template in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        place.write_text(_named(text, name), encoding="utf-8")
        click.echo(str(place))
    (folder / package / "py.typed").touch()
    click.echo(f"\nNext: cd {folder}, pip install -e '.[test]', pytest", err=True)


def _named(text: str, name: str) -> str:
    words = "".join(part.capitalize() for part in name.split("_"))
    return text.replace("ACME", name.upper()).replace("Acme", words).replace("acme", name)
