"""Benchmarks share the running gateway of the flow tests."""

from __future__ import annotations

from tests.flow.conftest import gateway_environment, running

__all__ = ["gateway_environment", "running"]
