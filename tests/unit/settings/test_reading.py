"""Option before environment before file before default; every mistake with its place and its way out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

import gateway.settings
from gateway.configuration import SECRET, Between, Example, Option, Reader, Reading
from gateway.errors import SetupError
from gateway.settings import look_up_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A table."""

    name: str
    colours: tuple[str, ...] = ()
    wide: bool = False
    height: Annotated[int, Between(0, 9)] = 2
    secret: Annotated[str | None, SECRET] = None

    def __post_init__(self) -> None:
        if self.name == "no":
            raise ValueError("no is no name")


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One field of each type that a setting can have."""

    address: Annotated[str | None, Example("db://host/")] = None
    floors: int = 3
    share: Annotated[float, Between(0, 1)] = 0.5
    seconds: float = 2.0
    lit: bool = False
    folder: Path | None = None
    style: Literal["plain", "grand"] = "plain"
    owners: tuple[str, ...] = ("*",)
    doors: tuple[Door, ...] = ()
    front: Door | None = None
    key: Annotated[str | None, SECRET] = None
    plan_file: Path | None = None


READER = Reader(House, "HOUSE_", "house.toml")


def read(folder: Path, toml: str = "", *given: tuple[str, Option], **environ: str) -> Reading[House]:
    if toml:
        (folder / "house.toml").write_text(toml)
    named = {name if name.startswith("KUBE") else f"HOUSE_{name}": value for name, value in environ.items()}
    return READER.read(named, dict(given), folder)


def problems(reading: Reading[House]) -> list[str]:
    return [f"{problem.message} {problem.hint}".strip() for problem in reading.problems]


def only(reading: Reading[House]) -> str:
    (problem,) = problems(reading)
    return problem


def test_the_stronger_source_wins_and_is_named(tmp_path: Path) -> None:
    toml = "# a comment\nfloors = 4\n\nseconds = 4\nlit = true\n"
    option = ("floors", Option("--floors", "6"))
    reading = read(tmp_path, toml, option, FLOORS="5", SECONDS="5")
    assert (reading.settings.floors, reading.settings.seconds) == (6, 5.0)
    assert (reading.settings.lit, reading.settings.share) == (True, 0.5)
    assert {name: str(origin) for name, origin in reading.origins.items() if origin.kind != "default"} == {
        "floors": "--floors",
        "seconds": "HOUSE_SECONDS",
        "lit": "house.toml:5",
    }
    assert str(reading.origins["share"]) == "default"
    assert reading.checked() is reading.settings


def test_a_wrong_value_in_a_weaker_source_does_not_matter(tmp_path: Path) -> None:
    assert problems(read(tmp_path, 'floors = "many"', FLOORS="5")) == []


def test_every_type_in_both_forms(tmp_path: Path) -> None:
    door = {"name": "back", "colours": ["red", "blue"], "wide": True, "height": 0}
    from_environment = read(
        tmp_path,
        ADDRESS="db://h",
        FLOORS="1",
        SHARE="0",
        SECONDS="0.1",
        LIT="yes",
        FOLDER="~/x",
        STYLE="grand",
        OWNERS="ann, bob,",
        DOORS=json.dumps([door]),
        FRONT=json.dumps(door),
        PLAN_FILE="plan.txt",
    )
    toml = """
address = "db://h"
floors = 1
share = 0
seconds = 0.1
lit = true
folder = "~/x"
style = "grand"
owners = [
  "ann",
  "bob",
]
plan_file = "plan.txt"
[front]
name = "back"
colours = ["red", "blue"]
wide = true
height = 0
[[doors]]
name = "back"
colours = ["red", "blue"]
wide = true
height = 0
"""
    from_file = read(tmp_path, toml)
    assert problems(from_environment) == problems(from_file) == []
    settings = from_file.settings
    assert settings.plan_file == tmp_path / "plan.txt"  # beside the file that names it
    assert from_environment.settings.plan_file == Path("plan.txt")
    assert settings.folder == Path.home() / "x"
    assert settings.owners == ("ann", "bob")
    assert settings.doors == (Door(name="back", colours=("red", "blue"), wide=True, height=0),)
    assert settings.front == settings.doors[0]
    for name in ("address", "floors", "share", "seconds", "lit", "folder", "style", "owners", "doors", "front"):
        assert getattr(from_environment.settings, name) == getattr(settings, name)


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert read(tmp_path, "floors = 4", FLOORS="").settings.floors == 4


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLOOSR", "HOUSE_FLOORS"),
        ("FLOOR", "HOUSE_FLOORS"),
        ("ADRESS", "HOUSE_ADDRESS"),
        ("STYLES", "HOUSE_STYLE"),
        ("SECS", "HOUSE_SECONDS"),
        ("BACK_DOORS", "HOUSE_DOORS"),
        ("ADRESS_FILE", "HOUSE_ADDRESS_FILE"),
    ],
)
def test_an_unknown_variable_gets_what_was_meant(tmp_path: Path, name: str, meant: str) -> None:
    assert only(read(tmp_path, "", **{name: ""})) == f"unknown setting HOUSE_{name}. Did you mean {meant}?"


@pytest.mark.parametrize("name", ["FOO", "X", "LONG_AND_STRANGE", "PRT"])
def test_nothing_is_suggested_when_nothing_is_close(tmp_path: Path, name: str) -> None:
    said = only(read(tmp_path, "", **{name: "1"}))
    assert said == f"unknown setting HOUSE_{name}. `journey-gateway config show` lists all settings."


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("floors = 1\n\nflors = 1", "house.toml:3: unknown setting flors. Did you mean floors?"),
        ("HOUSE_FLOORS = 1", "house.toml:1: unknown setting HOUSE_FLOORS. Did you mean floors?"),
        ("plan-file = 'x'", "house.toml:1: unknown setting plan-file. Did you mean plan_file?"),
        ('floors = "1"', 'house.toml:1: floors = "1": expected a whole number of at least 1, such as 3.'),
        ("floors = 0", "house.toml:1: floors = 0: expected a whole number of at least 1, such as 3."),
        ("floors = true", "house.toml:1: floors = true: expected a whole number of at least 1, such as 3."),
        ("floors = 1.5", "house.toml:1: floors = 1.5: expected a whole number of at least 1, such as 3."),
        ("share = 1.5", "house.toml:1: share = 1.5: expected a number from 0 to 1, such as 0.5."),
        ("seconds = 0", "house.toml:1: seconds = 0: expected a number greater than 0, such as 2.0."),
        ("seconds = nan", "house.toml:1: seconds = null: expected a number greater than 0, such as 2.0."),
        ("lit = 1", "house.toml:1: lit = 1: expected true or false."),
        ("folder = 1", "house.toml:1: folder = 1: expected a path."),
        ("address = 1", "house.toml:1: address = 1: expected a text, such as db://host/."),
        ('style = "grant"', 'house.toml:1: style = "grant": expected one of plain, grand. Did you mean grand?'),
        ('owners = "ann"', 'house.toml:1: owners = "ann": expected a list of texts.'),
        ('owners = [\n  "ann",\n  2]', "house.toml:1: owners[1] = 2: expected a text."),
        ('\n[[doors]]\nname = "a"\n[[doors]]\nheight = 1', "house.toml:4: doors[1]: name is missing. Expected a text."),
        (
            '[[doors]]\nname = "a"\n\nheigt = 1',
            "house.toml:4: doors[0].heigt = 1: unknown key. Did you mean height?",
        ),
        (
            '[[doors]]\nname = "a"\n\nheight = 10',
            "house.toml:4: doors[0].height = 10: expected a whole number from 0 to 9, such as 2.",
        ),
        (
            '[[doors]]\nname = "a"\nfloors = 10',
            "house.toml:3: doors[0].floors = 10: unknown key. Settings stand above the first [table] of the file.",
        ),
        ('[[doors]]\nname = "no"', "house.toml:1: doors[0]: no is no name."),
        ("[front]\nwide = true", "house.toml:1: front: name is missing. Expected a text."),
        ('key = 1\naddress = """\na\nb"""\nfloors = 0', None),
    ],
)
def test_a_mistake_in_the_file_has_line_key_value_and_what_is_expected(
    tmp_path: Path, toml: str, said: str | None
) -> None:
    reading = read(tmp_path, toml)
    if said is not None:
        assert only(reading) == said
        return
    assert problems(reading) == [
        "house.toml:1: key: expected a text.",
        "house.toml:5: floors = 0: expected a whole number of at least 1, such as 3.",
    ]
    with pytest.raises(SetupError) as raised:
        reading.checked()
    assert raised.value.message.splitlines() == problems(reading)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("floors = 1\nlit = yes", "house.toml:2: Invalid value. This is not TOML."),
        (
            "floors = 1\nfloors = 2",
            "house.toml:2: Cannot overwrite a value. This is not TOML. A name stands once: rename or join them.",
        ),
        ('address = "a', "house.toml:1: "),
        ("\n\n[doors", "house.toml:3: "),
    ],
)
def test_what_is_no_toml_has_a_line(tmp_path: Path, toml: str, said: str) -> None:
    assert only(read(tmp_path, toml)).startswith(said)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"FLOORS": "x"}, "HOUSE_FLOORS='x': expected a whole number of at least 1, such as 3."),
        ({"LIT": "maybe"}, "HOUSE_LIT='maybe': expected true or false."),
        ({"STYLE": "gran"}, "HOUSE_STYLE='gran': expected one of plain, grand. Did you mean grand?"),
        ({"DOORS": "[{"}, "HOUSE_DOORS: expected JSON ("),
        ({"DOORS": "[{}]"}, "HOUSE_DOORS (doors[0]): name is missing. Expected a text."),
        ({"DOORS": '[{"name": "a", "height": 10}]'}, "HOUSE_DOORS (doors[0].height): expected a whole number from 0"),
        ({"FRONT": "[]"}, "HOUSE_FRONT: expected a table with name, colours, wide, height, secret."),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    assert only(read(tmp_path, "", **environ)).startswith(said)


def test_a_secret_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush\n")
    (tmp_path / "two").write_text("hush\n\r\n")
    assert read(tmp_path, KEY_FILE=str(tmp_path / "key")).settings.key == "hush"
    assert read(tmp_path, ADDRESS_FILE=str(tmp_path / "two")).settings.address == "hush\n", "one line end, no more"
    reading = read(tmp_path, 'key_file = "key"')
    assert reading.settings.key == "hush", "beside the settings' file"
    assert str(reading.origins["key"]) == "house.toml:1 key_file"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"\xff", "cannot be read (it is not UTF-8)"),
        (b"\n", "is empty"),
    ],
)
def test_a_secret_file_that_says_nothing_is_an_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    assert only(read(tmp_path, KEY_FILE=str(file))).startswith(f"HOUSE_KEY_FILE: {file} {reason}.")


def test_a_value_and_a_file_for_it_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush")
    both = read(tmp_path, KEY="a", KEY_FILE=str(tmp_path / "key"))
    assert only(both).startswith("HOUSE_KEY and HOUSE_KEY_FILE are both set.")
    assert only(read(tmp_path, 'key = "a"\nkey_file = "key"')).startswith(
        "house.toml:2: key and key_file are both set."
    )
    assert problems(read(tmp_path, 'key = "a"', KEY_FILE=str(tmp_path / "key"))) == []


def test_no_message_holds_a_secret(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("hush" * 3)
    door = json.dumps([{"name": "a", "secret": 5, "hush": "hush"}])
    reading = read(tmp_path, 'key = ["hush"]\naddress = ["hush"]', DOORS=door, FLOORS_FILE=str(tmp_path / "long"))
    assert len(reading.problems) == 4
    assert "hush" not in "".join(problems(reading)).replace("doors[0].hush", "")


def test_shown_values_hide_secrets_at_every_depth() -> None:
    door = Door(name="a", secret="hush")
    shown = {
        "key": "hush",
        "doors": (door,),
        "front": door,
        "address": "db://ann:hush@h:1,h:2/?a=b&tlsCertificateKeyFilePassword=hush&authMechanismProperties=X:hush",
        "owners": ("http://ann:hush@h/",),
    }
    for name, value in shown.items():
        masked = READER.masked(name, value)
        assert "hush" not in str(masked), name
        assert READER.hides(name, value)
    assert READER.masked("address", "db://h:1,h:2/?a=b") == "db://h:1,h:2/?a=b"
    assert READER.masked("key", None) is None


def test_the_file_can_be_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "my.toml"
    file.parent.mkdir()
    file.write_text("floors = 9\nfolder = 'data'\n")
    reading = read(tmp_path, "floors = 1", CONFIG=str(file))
    assert (reading.settings.floors, reading.settings.folder, reading.file) == (9, file.parent / "data", file)
    assert str(reading.origins["floors"]) == f"{file}:1"
    missing = only(read(tmp_path, CONFIG=str(tmp_path / "none.toml")))
    assert (
        missing == f"{tmp_path}/none.toml cannot be read (No such file or directory). Check --config or HOUSE_CONFIG."
    )


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GATEWAY_CORS_ORIGINS", "shop.example", "is not an origin"),
        ("GATEWAY_CORS_ORIGINS", "https://*.shop.example", "has a wildcard"),
        ("GATEWAY_PUBLIC_URL", "events.example", "is not an address of HTTP"),
        ("GATEWAY_PUBLIC_URL", "https://[events.example", "is not an address of HTTP"),
        ("GATEWAY_PUBLIC_URL", "https://ann:hush@events.example", "is not an address of HTTP"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8,everybody", "neither an address nor a network"),
    ],
)
def test_what_would_fail_later_is_told_at_once(tmp_path: Path, variable: str, value: str, said: str) -> None:
    (problem,) = look_up_settings({variable: value}, folder=tmp_path).problems
    assert variable in problem.message
    assert said in problem.message


def test_origins_and_addresses_are_kept_as_they_are_compared(tmp_path: Path) -> None:
    environ = {"GATEWAY_CORS_ORIGINS": "https://Shop.example/,*", "GATEWAY_PUBLIC_URL": "https://events.example/"}
    settings = look_up_settings(environ, folder=tmp_path).checked()
    assert settings.cors_origins == ("https://shop.example", "*")
    assert settings.public_url == "https://events.example"


def test_names_that_a_cluster_makes_up_are_not_settings(tmp_path: Path) -> None:
    made_up = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "8000",
        "SERVICE_PORT_HTTP": "8000",
        "FLOORS": "tcp://10.0.0.1:8000",
        "FLOORS_8000_TCP_ADDR": "10.0.0.1",
        "PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "PORT_8000_TCP_PROTO": "tcp",
    }
    assert problems(read(tmp_path, "", KUBERNETES_SERVICE_HOST="10.0.0.1", **made_up)) == [
        "unknown setting HOUSE_FLOORS_8000_TCP_ADDR. Did you mean HOUSE_FLOORS?"
    ]
    assert len(problems(read(tmp_path, "", **made_up))) == len(made_up)


def test_tables_of_connectors_come_from_file_and_environment_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(
        'port = 9000\n[connectors.crm]\nuse = "hubspot"\nlimit = 5\n[connectors.crm.fields]\nemail = "mail"\n'
    )
    environ = {
        "GATEWAY_CONNECTORS__CRM__LIMIT": "7",
        "GATEWAY_CONNECTORS__CRM__FIELDS__NAME": "full name",
        "GATEWAY_CONNECTORS__CHAT__TOKEN": "env:CHAT_TOKEN",
    }
    reading = look_up_settings(environ, folder=tmp_path)
    assert reading.problems == ()
    tables = reading.settings.connectors
    assert tables.values == {
        "crm": {"use": "hubspot", "limit": 7, "fields": {"email": "mail", "name": "full name"}},
        "chat": {"token": "env:CHAT_TOKEN"},
    }
    assert tables.place("crm", "use") == "gateway.toml:3"
    assert tables.place("crm", "limit") == "GATEWAY_CONNECTORS__CRM__LIMIT"
    assert tables.place("crm", "unheard") == "gateway.toml:2"
    # Values may hold secrets that were not given by reference.
    shown = gateway.settings.READER.masked("connectors", tables)
    assert shown == ["crm.use", "crm.limit", "crm.fields", "chat.token"]


@pytest.mark.parametrize("variable", ["GATEWAY_CONNECTORS__CRM", "GATEWAY_CONNECTORS____KEY"])
def test_a_variable_that_names_no_key_of_a_table_is_said(variable: str, tmp_path: Path) -> None:
    (problem,) = look_up_settings({variable: "x"}, folder=tmp_path).problems
    assert problem.message == f"{variable} names no key of a table."
    assert "GATEWAY_CONNECTORS__NAME__KEY" in problem.hint


def test_plugins_loaded_may_be_set_to_nothing(tmp_path: Path) -> None:
    assert look_up_settings({}, folder=tmp_path).settings.load_plugins is None
    assert look_up_settings({"GATEWAY_LOAD_PLUGINS": ""}, folder=tmp_path).settings.load_plugins == ()


@dataclass(frozen=True, slots=True)
class Yard:
    """A setting with a wide range."""

    area: Annotated[int, Between(1_000_000, 100_000_000_000)] = 2_000_000


def test_a_wide_range_is_told_in_digits(tmp_path: Path) -> None:
    (problem,) = Reader(Yard, "YARD_", "yard.toml").read({"YARD_AREA": "1"}, {}, tmp_path).problems
    assert "from 1000000 to 100000000000, " in problem.message
