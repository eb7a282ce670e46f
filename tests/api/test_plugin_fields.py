"""Fields that plugins add: asked like all others, and alone in their trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar

import pytest
import strawberry

from gateway.api import plugins
from gateway.api.schema import build_schema
from gateway.clock import ServerClock
from gateway.connectors.enriching import Enrichments
from gateway.connectors.instances import Instance
from gateway.errors import SetupError
from gateway.plugin import (
    ANYONE,
    Config,
    DateTime,
    Enricher,
    Found,
    GraphqlFields,
    Health,
    Manifest,
    Policy,
    Source,
    attribute,
    enriched,
    field,
    hookimpl,
    user_of,
)
from gateway.plugin.configuring import Configured, Plugged
from gateway.plugin.host import Host
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, identify, load_shop, track
from tests.connectors.delivering import Empty, context

SOURCE = Source.loader("acme")
POLICY = Policy("journeys:read", subject=True, pii=True)
ASK = '{ user(by: {userId: "ada"}) { id acmeContact { owner status fetchedAt } } }'


class Crm(Enricher[Empty]):
    """Knows who looks after everybody with a mail."""

    manifest = Manifest(name="acme", version="1", brief="For tests.", test_level="D")
    Config: ClassVar[type[Config]] = Empty

    async def check(self) -> Health:
        return Health(True)

    def key_of(self, identities: Sequence[tuple[str, str]], traits: Mapping[str, Any]) -> str | None:
        assert ("userId", "ada") in identities
        return traits.get("email")

    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Found]:
        return {key: Found({"owner": f"owner of {key}"}) for key in keys}


@strawberry.type(description="A contact of Acme's.")
class AcmeContact:
    """What is known."""

    owner: str | None = attribute(source=SOURCE, policy=POLICY, description="Who looks after them.")
    status: str = attribute(source=SOURCE, policy=POLICY, description="How good it is.")
    fetched_at: DateTime | None = attribute(source=SOURCE, policy=POLICY, description="When it was fetched.")


class OfUser:
    """Fields of `User`."""

    @field(source=SOURCE, policy=POLICY, description="Their contact.")
    async def acme_contact(self, info: strawberry.Info) -> AcmeContact | None:
        found = await enriched(info, "acme", user_of(self))
        if found is None:
            return None
        at = None if found.fetched_at is None else DateTime(found.fetched_at)
        return AcmeContact(owner=found.fields.get("owner"), status=found.status, fetched_at=at)


class OfQuery:
    """Fields of `Query`, each with a trouble of its own."""

    @field(source=SOURCE, policy=ANYONE, description="Raises.")
    def acme_raises(self) -> str | None:
        raise KeyError("ada@person.example")

    @field(source=SOURCE, policy=ANYONE, description="Hangs.")
    async def acme_hangs(self) -> str | None:
        await asyncio.sleep(60)
        return None

    @field(source=SOURCE, policy=ANYONE, description="Blocks.")
    def acme_blocks(self) -> str | None:
        time.sleep(2)
        return None

    @field(source=SOURCE, policy=ANYONE, description="Somebody else's contact.")
    async def acme_other(
        self, info: strawberry.Info, id: Annotated[str, strawberry.argument(description="Whose.")]
    ) -> str | None:
        found = await enriched(info, "acme", id)
        return None if found is None else str(found.fields.get("owner"))


def host_with(fields: GraphqlFields) -> Host:
    host = Host()
    connectors = hookimpl(lambda: [Crm])
    graphql = hookimpl(lambda: fields)
    plugin = SimpleNamespace(register_connectors=connectors, register_graphql=graphql)
    assert host.register(plugin, "acme").loaded
    return host


async def gateway_with(database: Database, *, configured: bool = True) -> Gateway:
    host = host_with(GraphqlFields("acme", query=OfQuery, user=OfUser))
    instance = Instance("crm", "main", Crm(Empty(), context("crm")))
    made = Gateway(
        database,
        load_shop(),
        plugged=Plugged(host, (Configured("crm", "main", "acme", Crm, Empty()),) if configured else ()),
        enrichments={"crm": Enrichments(instance, ServerClock())},
    )
    await made.prepare()
    mail = {"email": "ada@person.example"}
    await made.send(
        identify(9, userId="ada", traits=mail), identify(8, userId="bob", traits={}), track("A", userId="ada")
    )
    return made


async def test_a_field_of_a_plugin_tells_what_its_enricher_knows(database: Database) -> None:
    gateway = await gateway_with(database)
    found = await gateway.ask(ASK, await gateway.api_key())
    contact = found["user"]["acmeContact"]
    assert (contact["owner"], contact["status"]) == ("owner of ada@person.example", "fresh")
    assert contact["fetchedAt"].endswith("Z")


async def test_it_is_null_where_no_instance_is_configured(database: Database) -> None:
    gateway = await gateway_with(database, configured=False)
    found = await gateway.ask(ASK, await gateway.api_key())
    assert found["user"]["acmeContact"] is None


async def test_its_policy_holds(database: Database) -> None:
    gateway = await gateway_with(database)
    answer = await gateway.answer(ASK, await gateway.api_key("journeys:read"))
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}
    own = await gateway.ask("{ me { acmeContact { status } } }", gateway.token(userId="ada"))
    assert own["me"]["acmeContact"]["status"] == "fresh"


async def test_a_subject_learns_nothing_of_others_through_a_plugin(database: Database) -> None:
    gateway = await gateway_with(database)
    asked = "query ($id: String!) { acmeOther(id: $id) }"
    ada = (await gateway.ask('{ user(by: {userId: "ada"}) { id } }', await gateway.api_key()))["user"]["id"]
    key = ada.partition("_")[2]
    assert (await gateway.ask(asked, gateway.token(userId="ada"), id=key))["acmeOther"].startswith("owner of")
    answer = await gateway.answer(asked, gateway.token(userId="bob"), id=key)
    assert answer["data"] == {"acmeOther": None}
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("name", ["acmeRaises", "acmeHangs", "acmeBlocks"])
async def test_a_resolver_in_trouble_is_alone_in_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(plugins, "RESOLVER_SECONDS", 0.2)
    gateway = await gateway_with(database)
    answer = await gateway.answer(f'{{ {name} user(by: {{userId: "ada"}}) {{ id }} }}', await gateway.api_key())
    assert answer["data"][name] is None
    assert answer["data"]["user"]["id"]
    (error,) = answer["errors"]
    assert (error["message"], error["path"], error["extensions"]["code"]) == ("Internal error.", [name], "INTERNAL")
    assert "person.example" not in str(answer)


async def test_a_resolver_that_blocks_does_not_hold_up_the_gateway(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "RESOLVER_SECONDS", 30.0)
    gateway = await gateway_with(database)
    key = await gateway.api_key()
    blocked = asyncio.create_task(gateway.answer("{ acmeBlocks }", key))
    for _ in range(3):
        await gateway.ask('{ user(by: {userId: "ada"}) { id } }', key)
    assert not blocked.done()
    assert (await blocked)["data"] == {"acmeBlocks": None}


class Clashing:
    """A field that the API has."""

    @field(source=SOURCE, policy=ANYONE, description="Events.")
    def events(self) -> str | None:
        return None


class Never:
    """A field that cannot be null."""

    @field(source=SOURCE, policy=ANYONE, description="A text.")
    def acme_text(self) -> str:
        return ""


def test_a_field_that_is_there_already_refuses_the_start() -> None:
    host = host_with(GraphqlFields("events", user=Clashing))
    with pytest.raises(SetupError, match=r"prefix 'events' adds User\.events, which is there already"):
        build_schema(load_shop(), added=host.graphql)


def test_a_field_that_cannot_be_null_refuses_the_start() -> None:
    host = host_with(GraphqlFields("acme", query=Never))
    with pytest.raises(SetupError, match=r"adds Query\.acmeText, which cannot be null"):
        build_schema(load_shop(), added=host.graphql)
