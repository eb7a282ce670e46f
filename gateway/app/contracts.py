"""Which contract a process begins with: the stored version, and what the contract folder has to do with it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from gateway.contract import Contract, find_schema_root, load_contract
from gateway.errors import ContractError, GatewayError, SetupError
from gateway.pipeline.contracts import Contracts, InForce, load_version
from gateway.settings import Settings
from gateway.store.contracts import Version, Versions

log = logging.getLogger("gateway.app")

APPLY = "`journey-gateway contract apply`"


def contract_folder(settings: Settings) -> Path:
    """The folder of the contract that is set."""
    return find_schema_root(settings.schema_dir) / settings.contract


class Folder:
    """The contract folder as a start finds it."""

    def __init__(self, settings: Settings) -> None:
        """Read it. In development raises ContractError or SetupError for one that does not load; production has the
        stored version to go on with, and asks only when there is none."""
        self._development = settings.env == "development"
        self._contract: Contract | None = None
        self._problem: GatewayError | None = None
        try:
            self._contract = load_contract(contract_folder(settings))
        except GatewayError as problem:
            if self._development:
                raise
            self._problem = problem

    async def begin(
        self, versions: Versions, now: int, *, serves: bool, check: Callable[[Contract], object] | None = None
    ) -> Contracts:
        """The contract to begin with.

        The first start of all stores the folder as version 1. In development a process that serves applies a folder
        that differs from the stored version, so that changing a file and starting again is enough; in production the
        stored version counts, and the log tells of the folder. `check` is asked before a folder becomes a version.
        Raises ContractError when there is neither a version nor a folder that loads and passes it,
        SetupError when the stored version does not load.
        """
        newest = await versions.newest()
        if newest is None:
            if check is not None:
                check(self._read())
            version, _ = await versions.apply(self._read(), now=now, by="start")
        elif serves and self._development and self._read().hash != newest.hash:
            if check is not None:
                check(self._read())
            version, _ = await versions.apply(self._read(), now=now, by="start")
            log.warning(
                "the contract folder was not that of the stored version: applied", extra={"version": version.number}
            )
        else:
            version = newest
            if serves:
                self._tell(newest)
        if self._contract is not None and self._contract.hash == version.hash:
            return Contracts(versions, InForce(version.number, self._contract))
        return Contracts(versions, InForce(version.number, _loaded(version)))

    def _read(self) -> Contract:
        if self._contract is None:
            assert self._problem is not None
            raise self._problem
        return self._contract

    def _tell(self, newest: Version) -> None:
        if self._problem is not None:
            said = f"the contract folder cannot be used, version {newest.number} counts"
            log.warning(said, extra={"problem": str(self._problem).splitlines()[0]})
        elif self._read().hash != newest.hash:
            log.warning(f"the contract folder differs from version {newest.number}, which counts: {APPLY}")


def _loaded(version: Version) -> Contract:
    try:
        return load_version(version)
    except ContractError as error:
        raise SetupError(
            f"Version {version.number} of the contract, stored by a newer gateway, does not load in this one:\n"
            + "\n".join(error.problems),
            hint=f"Start the newer gateway, or put another contract in its place: {APPLY}.",
        ) from error
