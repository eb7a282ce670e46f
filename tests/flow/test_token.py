"""POST /v1/token: who may mint what for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.access.callers import Callers
from gateway.access.tokens import PAGE_PERMISSIONS
from gateway.errors import Unauthenticated
from gateway.model.identity import Identity, Member, key_of
from gateway.model.scope import Scope
from gateway.store.database import Database
from gateway.store.identities import Identities
from gateway.store.suppressions import Suppressions
from tests.flow.doors import NOW, SETTINGS, Doors, basic, new_database, open_doors

ANONYMOUS = Identity("anonymousId", "a-1")
ADA = Identity("userId", "ada")


@pytest.fixture(scope="module")
async def prepared(mongo_uri: str) -> AsyncIterator[Database]:
    async with new_database(mongo_uri) as database:
        yield database


@pytest.fixture
async def doors(prepared: Database) -> AsyncIterator[Doors]:
    async with open_doors(prepared) as opened:
        yield opened


async def known(doors: Doors, *identities: Identity) -> None:
    """These identities are one user."""
    member = Member((0, 0, b"0"), "group", "user")
    identity_graph = Identities(doors.database)
    await doors.database.with_transaction(
        lambda session: identity_graph.write(doors.workspace, dict.fromkeys(identities, member), {}, session)
    )


def opened_by(doors: Doors, reply: Any) -> Scope:
    assert reply.status_code == 200, reply.text
    return doors.tokens.read(reply.json()["token"])


async def bearer(doors: Doors, body: Any, credential: str) -> Any:
    return await doors.bare("/v1/token", body, authorization=f"Bearer {credential}")


@pytest.mark.parametrize(("key", "identity"), [("userId", ADA), ("anonymousId", ANONYMOUS)])
async def test_a_server_mints_for_anybody(doors: Doors, key: str, identity: Identity) -> None:
    await known(doors, ANONYMOUS, ADA)
    reply = await bearer(doors, {key: identity.value}, doors.api_key)
    # A token for an anonymousId is a visitor's, whoever minted it: a write key can link that id to anybody.
    assert opened_by(doors, reply) == Scope(doors.workspace, subject=identity, visitor=key == "anonymousId")
    assert reply.json()["expiresAt"] == "2024-03-13T11:21:14+00:00"
    doors.clock.advance(SETTINGS.token_minutes * 60_000)
    assert (await bearer(doors, {}, reply.json()["token"])).status_code in (400, 401)


async def test_an_api_key_without_the_permission_mints_nothing(doors: Doors) -> None:
    key = await doors.keyring.create_api_key(doors.workspace, frozenset({"events:read"}))
    reply = await bearer(doors, {"userId": "ada"}, key)
    assert reply.status_code == 403
    assert "tokens:mint" in reply.json()["message"]


@pytest.mark.parametrize("who", ["nobody yet", "an anonymous visitor"])
async def test_a_browser_mints_for_a_visitor_nobody_knows(doors: Doors, who: str) -> None:
    if who != "nobody yet":
        await known(doors, ANONYMOUS, Identity("anonymousId", "a-2"))
    page = doors.tokens.mint_page(doors.workspace, 60)
    visitor = Scope(doors.workspace, subject=ANONYMOUS, visitor=True)
    by_key = await doors.post("/v1/token", {"anonymousId": "a-1"})
    assert opened_by(doors, by_key) == visitor
    assert opened_by(doors, await bearer(doors, {"anonymousId": "a-1"}, page)) == visitor


@pytest.mark.parametrize("body", [{"anonymousId": "a-1"}, {"userId": "ada"}, {"userId": "unheard-of"}])
async def test_a_browser_mints_nothing_for_a_known_user(doors: Doors, body: dict[str, str]) -> None:
    await known(doors, ANONYMOUS, ADA)
    page = doors.tokens.mint_page(doors.workspace, 60)
    for reply in (await doors.post("/v1/token", body), await bearer(doors, body, page)):
        assert reply.status_code == 403
        assert reply.json()["code"] == "FORBIDDEN"
        assert "on your server" in reply.json()["message"]


async def test_what_is_known_in_another_workspace_does_not_matter(doors: Doors, prepared: Database) -> None:
    async with open_doors(prepared) as others:
        await known(others, ANONYMOUS, ADA)
    assert (await doors.post("/v1/token", {"anonymousId": "a-1"})).status_code == 200


async def test_an_end_users_token_mints_nothing(doors: Doors) -> None:
    token = doors.tokens.mint_user(doors.workspace, ADA, 60)
    for body in ({"userId": "ada"}, {"userId": "eve"}, {"anonymousId": "a-9"}):
        assert (await bearer(doors, body, token)).status_code == 403


@pytest.mark.parametrize("value", ["null", "undefined", "guest", "00000000-0000-0000-0000-000000000000"])
async def test_an_id_that_strangers_share_is_nobodys(doors: Doors, value: str) -> None:
    for body in ({"anonymousId": value}, {"userId": value}):
        assert (await doors.post("/v1/token", body)).status_code == 400
        assert (await bearer(doors, body, doors.api_key)).status_code == 400


async def test_a_code_buys_one_page_token(doors: Doors) -> None:
    code = await doors.keyring.create_page_code(doors.workspace, minutes=5)
    first, second = [await doors.bare("/v1/token", {"code": code}) for _ in range(2)]
    assert opened_by(doors, first) == Scope(doors.workspace, permissions=PAGE_PERMISSIONS)
    assert second.status_code == 401


@pytest.mark.parametrize("body", [{"userId": "ada"}, {"anonymousId": "a-1"}])
@pytest.mark.parametrize("authorization", ["", "Bearer sk_unknown", "Bearer x.y.z", basic("wk_unknown"), basic("")])
async def test_without_a_good_credential_there_is_no_token(
    doors: Doors, body: dict[str, str], authorization: str
) -> None:
    reply = await doors.bare("/v1/token", body, authorization=authorization)
    assert (reply.status_code, reply.json()["code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"userId": None},
        {"userId": ""},
        {"userId": 7},
        {"userId": "u" * 300},
        {"userId": "ada", "anonymousId": "a-1"},
        {"userId": "ada", "code": "c"},
        [],
        {"userId": "x" * 20_000},
    ],
)
async def test_a_body_that_names_not_exactly_one_is_refused(doors: Doors, body: Any) -> None:
    reply = await bearer(doors, body, doors.api_key)
    assert reply.status_code in (400, 413)
    assert reply.json().keys() == {"code", "message"}


async def test_an_id_that_cannot_be_stored_is_refused(doors: Doors) -> None:
    body = b'{"anonymousId": "\\ud800"}'
    assert (await doors.post("/v1/token", body)).status_code == 400
    reply = await doors.client.post("/v1/token", content=body, headers={"authorization": f"Bearer {doors.api_key}"})
    assert reply.status_code == 400


async def test_get_is_told_to_use_post(doors: Doors) -> None:
    assert (await doors.client.get("/v1/token")).status_code == 405


# -- for how long, and by whom ----------------------------------------------------------------------------------------


async def test_a_token_may_be_asked_for_less_time_than_the_longest(doors: Doors) -> None:
    reply = await bearer(doors, {"userId": "ada", "minutes": 5}, doors.api_key)
    assert reply.json()["expiresAt"] == "2024-03-13T10:26:14+00:00"
    assert doors.tokens.grant(reply.json()["token"]).expires_at == NOW + 5 * 60_000
    visitor = await doors.post("/v1/token", {"anonymousId": "a-1", "minutes": SETTINGS.token_minutes})
    assert visitor.status_code == 200


@pytest.mark.parametrize("minutes", [0, -1, 61, 2**62, 1.5, "5", True, []])
async def test_a_time_that_cannot_be_had_is_refused_with_the_longest(doors: Doors, minutes: Any) -> None:
    reply = await bearer(doors, {"userId": "ada", "minutes": minutes}, doors.api_key)
    assert reply.status_code == 400
    assert f"from 1 to {SETTINGS.token_minutes}" in reply.json()["message"]


async def test_a_token_ends_with_the_key_that_minted_it(doors: Doors) -> None:
    book = doors.keyring.book
    end = NOW + 10 * 60_000 + 999
    key = await book.create_api_key(doors.workspace, ["tokens:mint"], expires_at=end)
    reply = await bearer(doors, {"userId": "ada"}, key.value)
    assert reply.json()["expiresAt"] == "2024-03-13T10:31:14+00:00", "no later than the key, on a full second"
    token = reply.json()["token"]
    assert doors.tokens.grant(token).key == key.id
    callers = Callers(doors.keyring, doors.tokens)
    assert (await callers.grant_of(f"Bearer {token}")).scope.subject == ADA

    write = await book.create_write_key(doors.workspace, "web")
    visitor = (await doors.post("/v1/token", {"anonymousId": "a-1"}, key=write.value)).json()["token"]
    assert (await callers.grant_of(f"Bearer {visitor}")).scope.visitor
    for made, minted in ((key, token), (write, visitor)):
        await book.revoke(await book.find(doors.workspace, made.id))
        doors.clock.advance(5_000)
        with pytest.raises(Unauthenticated, match="minted this token"):
            await callers.grant_of(f"Bearer {minted}")


async def test_a_token_cannot_mint_itself_a_longer_one(doors: Doors) -> None:
    page = doors.tokens.mint_page(doors.workspace, 1)
    reply = await bearer(doors, {"anonymousId": "a-1"}, page)
    assert doors.tokens.grant(reply.json()["token"]).expires_at == NOW + 60_000


async def test_origin_and_rate_of_a_write_key_hold_here_too(doors: Doors) -> None:
    key = await doors.keyring.book.create_write_key(
        doors.workspace, "web", origins=["https://shop.example"], rate=1, burst=2
    )
    for origin, status in (("https://evil.example", 403), ("https://shop.example", 200), ("https://shop.example", 200)):
        reply = await doors.post("/v1/token", {"anonymousId": "a-1"}, key=key.value, origin=origin)
        assert reply.status_code == status, reply.text
    limited = await doors.post("/v1/token", {"anonymousId": "a-1"}, key=key.value)
    assert (limited.status_code, limited.json()["code"]) == (429, "RATE_LIMITED")
    assert limited.headers["retry-after"] == "1"


async def test_a_write_key_may_come_as_a_bearer_too(doors: Doors) -> None:
    assert (await bearer(doors, {"anonymousId": "a-1"}, doors.write_key)).status_code == 200


async def test_whether_there_is_a_user_cannot_be_found_out(doors: Doors) -> None:
    await known(doors, ADA)
    page = doors.tokens.mint_page(doors.workspace, 60)
    for ask in (
        lambda user: doors.post("/v1/token", {"userId": user}),
        lambda user: bearer(doors, {"userId": user}, page),
    ):
        there, not_there = await ask("ada"), await ask("bob")
        assert (there.status_code, there.content) == (not_there.status_code, not_there.content)
        assert there.status_code == 403


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"userId": 7}, '`userId` is a number. Send the id as a text: "7"'),
        ({"anonymousId": 7.5}, "`anonymousId` is a number"),
        ({"userId": True}, "`userId` must be a text"),
        ({"userId": ["ada"]}, "`userId` must be a text"),
        ({"userId": "x" * 256}, "`userId` has 256 characters; ids may have 255"),
        ({"userId": "ada", "anonymousId": "a-1"}, "one `userId`, one `anonymousId` or one `code`"),
    ],
)
async def test_a_refusal_says_what_is_wrong_with_the_id(doors: Doors, body: Any, said: str) -> None:
    reply = await bearer(doors, body, doors.api_key)
    assert reply.status_code == 400
    assert said in reply.json()["message"]


@pytest.mark.parametrize("body", [{"userId": "ada", "minute": 5}, {"userId": "ada", "Minutes": 5}])
async def test_a_field_that_means_nothing_is_not_overlooked(doors: Doors, body: dict[str, Any]) -> None:
    reply = await bearer(doors, body, doors.api_key)
    assert reply.status_code == 400
    assert f"`{list(body)[1]}` means nothing here" in reply.json()["message"]


@pytest.mark.parametrize("body", [b"[]", b"", b'{"userId": "' + b"x" * 20_000 + b'"}'])
async def test_a_refusal_speaks_of_tokens_not_of_events_alone(doors: Doors, body: bytes) -> None:
    headers = {"authorization": f"Bearer {doors.api_key}"}
    reply = await doors.client.post("/v1/token", content=body, headers=headers)
    assert reply.status_code in (400, 413)
    assert '"event"' not in reply.json()["message"]
    assert "smaller batches" not in reply.json()["message"]


async def test_nobody_gets_a_token_for_who_was_erased(doors: Doors) -> None:
    store = Suppressions(doors.database)
    keys = [key_of(doors.workspace, ADA.sk), key_of(doors.workspace, ANONYMOUS.sk)]
    await doors.database.with_transaction(lambda session: store.add(doors.workspace, keys, "erasure", session))
    await doors.suppressed.look()
    for body in ({"userId": "ada"}, {"anonymousId": "a-1"}):
        reply = await bearer(doors, body, doors.api_key)
        assert reply.status_code == 403
        assert "erased" in reply.json()["message"]
    reply = await doors.bare("/v1/token", {"anonymousId": "a-1"}, authorization=basic(doors.write_key))
    assert reply.status_code == 403, "no visitor's token either"
    opened_by(doors, await bearer(doors, {"userId": "bob"}, doors.api_key))
    await store.lift(doors.workspace, keys)
    await doors.suppressed.look()
    assert opened_by(doors, await bearer(doors, {"userId": "ada"}, doors.api_key)).subject == ADA
