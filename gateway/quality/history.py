"""The versions of the contract there were, and what each of them changed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gateway.contract import Contract, load_texts
from gateway.contract.changes import Change, classify
from gateway.errors import ContractError
from gateway.store.contracts import Version, Versions

_CONTRACTS, _CHANGES = 4, 256


class History:
    """Reads versions and compares them; one per process. Loading a contract takes so long that it is remembered, and
    that it is done in another thread."""

    def __init__(self, versions: Versions) -> None:
        self.versions = versions
        self._contracts: OrderedDict[str, Contract] = OrderedDict()
        self._changes: OrderedDict[int, list[Change]] = OrderedDict()
        self._turn = asyncio.Lock()

    async def contract(self, version: Version) -> Contract:
        """What a version says. Raises ContractError for one that this gateway cannot read."""
        async with self._turn:
            found = self._contracts.get(version.hash)
            if found is None:
                found = await asyncio.to_thread(load_texts, version.name, version.files)
                self._contracts[version.hash] = found
                if len(self._contracts) > _CONTRACTS:
                    self._contracts.popitem(last=False)
            self._contracts.move_to_end(version.hash)
            return found

    async def changes(self, number: int) -> list[Change] | None:
        """What the version changed; None when it or the one before does not load here. The first changed nothing."""
        if number in self._changes:
            return self._changes[number]
        before, after = await self.versions.get(number - 1), await self.versions.get(number)
        if after is None or before is None:
            return []
        try:
            found = classify(await self.contract(before), await self.contract(after))
        except ContractError:
            return None
        self._changes[number] = found
        if len(self._changes) > _CHANGES:
            self._changes.popitem(last=False)
        return found
