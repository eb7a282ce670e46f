"""Finds the folder with the contract folders and `meta/`: in a checkout, in an installed wheel, or as set."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import gateway
from gateway.errors import SetupError


def find_schema_root(override: Path | None = None) -> Path:
    """The folder that holds contract folders: `override`, else the one that ships with the gateway.

    Beside the package only a folder with `api.graphql` or `meta/` is taken: another distribution on PyPI installs
    a package `schema` into the same place. Raises SetupError.
    """
    if override is not None:
        if not override.is_dir():
            raise SetupError(
                f"{override} is not a folder.", hint="Set GATEWAY_SCHEMA_DIR to the one with the contracts."
            )
        return override
    sibling = Path(gateway.__file__).resolve().parents[1] / "schema"
    if (sibling / "api.graphql").is_file() or (sibling / "meta").is_dir():
        return sibling
    packaged = importlib.util.find_spec("gateway_schema")
    if packaged is None or not packaged.submodule_search_locations:
        raise SetupError("The gateway's schema folder is missing.", hint="Install the package journey-gateway again.")
    return Path(packaged.submodule_search_locations[0])
