"""Two plugins that add the same, and one that adds what the gateway has: refused with both names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import strawberry
from click.testing import CliRunner

from gateway.api.clashing import clashes
from gateway.api.schema import build_schema
from gateway.cli.main import commands
from gateway.errors import PluginError, SetupError
from gateway.plugin import ANYONE, GraphqlFields, Source, attribute, field, hookimpl
from gateway.plugin.host import Host
from tests.api.gateway_api import load_shop

SOURCE = Source.loader("acme")

FILE = """
from gateway.plugin import ANYONE, GraphqlFields, Source, field, hookimpl

class Fields:
    @field(source=Source.loader("x"), policy=ANYONE, description="A text.")
    def {name}(self) -> str | None:
        return None

@hookimpl
def register_graphql():
    return GraphqlFields({prefix!r}, {place}=Fields)
"""


def adding(name: str, shown: str | None = None) -> type[Any]:
    """A holder with one field of this name."""

    def resolver(self: object) -> str | None:
        return None

    resolver.__name__ = name
    marked = field(source=SOURCE, policy=ANYONE, description="A text.", name=shown)(resolver)
    return type("Fields", (), {name: marked})


def register(host: Host, name: str, fields: object) -> str:
    """What is said of a plugin that adds these fields; empty when it is taken."""
    plugin = host.register(SimpleNamespace(register_graphql=hookimpl(lambda: fields)), name)
    return "" if plugin.failure is None else f"{plugin.failure.plugin}: {plugin.failure.message} {plugin.failure.fix}"


def test_two_plugins_with_one_prefix_are_both_named() -> None:
    host = Host()
    assert register(host, "crm", GraphqlFields("acme", query=adding("acme_one"))) == ""
    said = register(host, "sales", GraphqlFields("acme", query=adding("acme_two")))
    assert said.startswith("sales: Its prefix 'acme' and 'acme' of the plugin crm clash.")
    assert "in sales or in crm" in said
    assert [one.plugin for one in host.graphql] == ["crm"]


def test_two_prefixes_that_become_one_in_graphql_clash() -> None:
    host = Host()
    assert register(host, "crm", GraphqlFields("acme_x", user=adding("acme_x_contact"))) == ""
    said = register(host, "sales", GraphqlFields("acmeX", user=adding("acmeXContact")))
    assert "'acme_x' of the plugin crm clash" in said


def test_a_name_or_a_type_without_the_prefix_is_refused() -> None:
    @strawberry.type(description="A contact.")
    class Contact:
        name: str | None = attribute(source=SOURCE, policy=ANYONE, description="A name.")

    assert "field contact does not have" in register(
        Host(), "a", GraphqlFields("acme", user=adding("acme_c", "contact"))
    )
    assert "type Contact does not have" in register(Host(), "a", GraphqlFields("acme", types=(Contact,)))
    assert "returned dict" in register(Host(), "a", {})


def test_a_field_of_the_gateways_is_told_as_such_and_one_of_a_plugins_with_both_names() -> None:
    with pytest.raises(SetupError) as caught:
        build_schema(load_shop(), added=[GraphqlFields("events", user=adding("events"), plugin="crm")])
    assert caught.value.message == (
        "The plugin 'crm' with the prefix 'events' adds User.events, which is there already: it is the gateway's own."
    )
    both = [
        GraphqlFields("acme_x", user=adding("acme_x_contact"), plugin="crm"),
        GraphqlFields("acmeX", user=adding("acmeXContact"), plugin="sales"),
    ]
    with pytest.raises(SetupError):
        build_schema(load_shop(), added=both)
    both = [
        GraphqlFields("acme_x", query=adding("acme_x_contact"), plugin="crm"),
        GraphqlFields("acmeY", query=adding("acmeXContact"), plugin="sales"),
    ]
    (failure,) = clashes(load_shop(), both)
    assert (failure.plugin, failure.operation) == ("sales", "register_graphql")
    assert "adds Query.acmeXContact, which is there already: the plugin 'crm' has added it" in failure.message
    assert failure.trace_id


def check(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("GATEWAY_CONFIG", "")
    monkeypatch.setenv("GATEWAY_PLUGINS_DIR", str(folder))
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(commands, ["plugin", "check"])
    return done.exit_code, done.output


def test_plugin_check_finds_a_field_that_the_gateway_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crm.py").write_text(FILE.format(name="events", prefix="events", place="user"))
    code, said = check(tmp_path, monkeypatch)
    assert code == 2
    assert "crm: The plugin 'crm' with the prefix 'events' adds User.events, which is there already" in said
    assert "Rename the plugin's field." in said


def test_plugin_check_finds_two_plugins_with_one_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("crm", "sales"):
        (tmp_path / f"{name}.py").write_text(FILE.format(name="acme_contact", prefix="acme", place="user"))
    code, said = check(tmp_path, monkeypatch)
    assert code == 2
    assert "sales: Its prefix 'acme' and 'acme' of the plugin crm clash." in said


def test_plugin_check_is_content_where_nothing_clashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("crm", "sales"):
        (tmp_path / f"{name}.py").write_text(FILE.format(name=f"{name}_contact", prefix=name, place="user"))
    assert check(tmp_path, monkeypatch) == (0, "Plugins and connectors are in order.\n")


def test_a_start_refuses_what_check_finds(tmp_path: Path) -> None:
    for name in ("crm", "sales"):
        (tmp_path / f"{name}.py").write_text(FILE.format(name="acme_contact", prefix="acme", place="user"))
    with pytest.raises(PluginError, match="of the plugin crm clash"):
        Host.load([], folder=tmp_path, strict=True)
