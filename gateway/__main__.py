"""`python -m gateway` is `journey-gateway`."""

from __future__ import annotations

from gateway.cli import main

main()
