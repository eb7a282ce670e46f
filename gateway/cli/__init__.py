"""The command `journey-gateway`."""

from gateway.cli.main import main

__all__ = ["main"]
