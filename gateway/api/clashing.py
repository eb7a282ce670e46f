"""Which plugins' fields do not fit beside those of the gateway and of each other: found before a start is refused."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.api.schema import build_schema
from gateway.contract import Contract
from gateway.errors import GatewayError, PluginFailure
from gateway.plugin import GraphqlFields
from gateway.plugin.failures import traced


def clashes(contract: Contract, added: Sequence[GraphqlFields]) -> list[PluginFailure]:
    """A record for each plugin whose fields do not fit; those that fit stay, so that the later of two is told."""
    fitting: list[GraphqlFields] = []
    failures = []
    for one in added:
        try:
            build_schema(contract, added=[*fitting, one])
        except GatewayError as error:
            beside = f" It stands beside {', '.join(other.plugin for other in fitting)}." if fitting else ""
            failures.append(
                traced(
                    PluginFailure(
                        plugin=one.plugin,
                        version="",
                        operation="register_graphql",
                        category="bug",
                        message=f"{error.message}{beside}",
                        fix=error.hint or "Rename what it adds.",
                    )
                )
            )
        else:
            fitting.append(one)
    return failures
