"""The schema that is served now. Another contract puts another in its place; what is under way goes on as it began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import StreamResult
from strawberry.types import ExecutionResult

from gateway.api.schema import Schema, build_schema
from gateway.contract import Contract
from gateway.errors import ContractError, SetupError
from gateway.pipeline.contracts import Contracts, InForce
from gateway.plugin import GraphqlFields


class ServedSchema:
    """Stands for the schema of the contract in force. Each operation runs to its end on the one it begins on."""

    def __init__(
        self,
        contracts: Contracts,
        extensions: Sequence[Callable[[], SchemaExtension]] = (),
        added: Sequence[GraphqlFields] = (),
    ) -> None:
        """Raises as `build_schema` does."""
        self._extensions, self._added = extensions, added
        self._contract = contracts.current
        self.current = self._built(self._contract)
        contracts.prepare_with(self._prepare)

    def __getattr__(self, name: str) -> Any:
        # `config`, `_schema` and what else Strawberry's views read of a schema.
        return getattr(self.current, name)

    async def sdl(self) -> str:
        """All of it as text, sorted; made once, beside the event loop."""
        schema = self.current
        return await asyncio.to_thread(lambda: schema.sdl)

    # -- swapping ------------------------------------------------------------------------------------------------

    async def _prepare(self, coming: InForce) -> Callable[[], None]:
        """Build the schema of another contract beside the event loop; what is returned puts it in place."""
        contract = coming.contract
        if _same_plan(contract, self._contract):
            schema = self.current
        else:
            try:
                schema = await asyncio.to_thread(self._built, contract)
            except SetupError as error:
                raise ContractError([error.message]) from error

        def take_over() -> None:
            self._contract, self.current = contract, schema

        return take_over

    def _built(self, contract: Contract) -> Schema:
        return build_schema(contract, self._extensions, self._added)

    # -- running -------------------------------------------------------------------------------------------------

    async def execute(self, *arguments: Any, **named: Any) -> ExecutionResult:
        return await self.current.execute(*arguments, **named)

    async def stream(self, *arguments: Any, **named: Any) -> StreamResult:
        return await self.current.stream(*arguments, **named)


def _same_plan(one: Contract, other: Contract) -> bool:
    """Whether both become the same types."""
    return one.name == other.name and one.events == other.events and one.glossary == other.glossary
