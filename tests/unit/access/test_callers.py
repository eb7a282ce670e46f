"""Which scope an Authorization header opens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.access.callers import Callers
from gateway.errors import Unauthenticated
from gateway.model.identity import Identity
from gateway.model.scope import PERMISSIONS, Scope
from gateway.store.database import Database
from tests.flow.doors import Doors, new_database, open_doors


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


@pytest.fixture
def callers(doors: Doors) -> Callers:
    return Callers(doors.keyring, doors.tokens)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", " Bearer  "])
async def test_an_api_key_opens_its_workspace(callers: Callers, doors: Doors, scheme: str) -> None:
    scope = await callers.scope_of(scheme + doors.api_key)
    assert scope == Scope(doors.workspace, permissions=frozenset(PERMISSIONS))


async def test_a_token_opens_its_subject(callers: Callers, doors: Doors) -> None:
    ada = Identity("userId", "ada")
    token = doors.tokens.mint_user(doors.workspace, ada, 60)
    assert await callers.scope_of(f"Bearer {token}") == Scope(doors.workspace, subject=ada)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic d2s6", "Bearer x.y.z", "Bearer sk_unknown"])
async def test_anything_else_opens_nothing_and_says_what_would(callers: Callers, header: str | None) -> None:
    with pytest.raises(Unauthenticated) as refused:
        await callers.scope_of(header)
    assert refused.value.hint


async def test_a_write_key_reads_nothing(callers: Callers, doors: Doors) -> None:
    with pytest.raises(Unauthenticated, match="only sends events"):
        await callers.scope_of(f"Bearer {doors.write_key}")
