"""The build: GraphiQL's files come along, checked against their hashes, or nothing is built."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Set to 1, it builds without them; the page at /graphql then says how to get them.
WITHOUT = "JOURNEY_GATEWAY_WITHOUT_GRAPHIQL"


class GraphiQLHook(BuildHookInterface[Any]):
    """Fetches what is missing through npm. An editable install takes whatever is there."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before a wheel or a source archive is made."""
        if version == "editable" or os.environ.get(WITHOUT) == "1":
            return
        files = _module(Path(self.root) / "gateway" / "api" / "graphiql_files.py")
        try:
            files.fetch()
        except files.FetchError as error:
            raise RuntimeError(
                f"GraphiQL's files are not complete: {error} Install Node 20 or newer with npm, "
                f"or set {WITHOUT}=1 to build without the page."
            ) from error


def _module(file: Path) -> ModuleType:
    """The module, without the package around it: where this runs nothing is installed."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{file} is not there.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
