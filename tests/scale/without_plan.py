"""`python -m tests.scale.without_plan` is `journey-gateway` whose intake neither validates nor catalogues."""

from __future__ import annotations

from gateway.app import building
from gateway.cli import main

setattr(building, "Conforming", lambda *_: None)  # noqa: B010 - for this process alone
setattr(building, "Gathering", lambda *_: None)  # noqa: B010

main()
