"""`journey-gateway keys` beside a gateway that runs: shown once, listed without values, ended within seconds."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2

from gateway.access.keys import KNOWN_SECONDS
from tests.flow.conftest import RunningGateway


def keys(gateway: RunningGateway, *arguments: str) -> Any:
    return json.loads(gateway.command("keys", *arguments, "--json").stdout)


def until_refused(ask: Any) -> float:
    """The seconds until a credential opens nothing any more."""
    began = time.monotonic()
    while ask().status_code == 200:
        assert time.monotonic() - began < 30
        time.sleep(0.02)
    assert ask().status_code == 401
    return time.monotonic() - began


def test_keys_are_made_used_rotated_and_revoked_beside_a_running_gateway(running: RunningGateway) -> None:
    write = keys(running, "create", "write", "--source", "web", "--origin", "https://shop.example", "--user-hash")
    api = keys(running, "create", "api", "--may", "journeys:read", "--may", "tokens:mint", "--label", "dash board")
    assert write["key"].startswith("wk_")
    assert write["userHashSecret"].startswith("uh_")
    assert api["key"].startswith("sk_")

    def send(origin: str) -> httpx2.Response:
        batch = {"batch": [{"type": "track", "event": "A", "anonymousId": "a"}]}
        headers = {"origin": origin}
        return httpx2.post(f"{running.url}/v1/batch", json=batch, auth=(write["key"], ""), headers=headers)

    assert send("https://shop.example").status_code == 200, "a key opens as soon as it is made"
    assert send("https://evil.example").status_code == 403

    def ask(credential: str) -> httpx2.Response:
        headers = {"authorization": f"Bearer {credential}"}
        return httpx2.post(f"{running.url}/graphql", json={"query": "{ __typename }"}, headers=headers)

    minted = httpx2.post(
        f"{running.url}/v1/token", json={"userId": "ada"}, headers={"authorization": f"Bearer {api['key']}"}
    ).json()["token"]
    assert ask(minted).status_code == ask(api["key"]).status_code == 200

    listed = running.command("keys", "list").stdout
    assert api["key"][:11] in listed
    assert "dash board" in listed
    assert not any(secret in listed for secret in (write["key"], api["key"], write["userHashSecret"]))

    new = keys(running, "rotate", api["key"][:11])
    assert ask(new["key"]).status_code == ask(api["key"]).status_code == 200, "both open for a day"

    refused = running.command("keys", "revoke", "sk_nothing", check=False)
    assert refused.returncode == 1
    assert "keys list" in refused.stderr
    assert "Revoked" in running.command("keys", "revoke", api["id"]).stdout
    seconds = until_refused(lambda: ask(api["key"]))
    assert ask(minted).status_code == 401, "and with it the token it minted"
    assert ask(new["key"]).status_code == 200
    print(f"revoked in another process: refused {seconds:.2f} s after the command")
    assert seconds < KNOWN_SECONDS + 1

    running.stop()
    status = {key["id"]: key for key in keys(running, "list", "--all")}
    assert (status[api["id"]]["status"], status[new["id"]]["status"]) == ("revoked", "active")
    assert status[write["id"]]["lastUsedAt"] is not None, "written when the gateway stopped"
    assert status[api["id"]]["replacedBy"] == new["id"]


def test_a_call_that_makes_no_sense_says_what_would(running: RunningGateway) -> None:
    for arguments, said in (
        (("create", "api"), "--may"),
        (("create", "api", "--may", "everything"), "no permission everything"),
        (("create", "write", "--origin", "shop.example"), "https://shop.example"),
        (("create", "write", "--expires", "soon"), "30m, 12h, 7d or 8w"),
        (("list", "--workspace", "elsewhere"), "init elsewhere"),
    ):
        refused = running.command("keys", *arguments, check=False)
        assert refused.returncode == 1, (arguments, refused.stderr)
        assert said in refused.stderr, refused.stderr


def test_init_says_that_a_workspace_is_there_already(running: RunningGateway) -> None:
    for times, said in enumerate((False, True, True)):
        made = running.command("init", "a-second", "--json")
        assert ("is there already" in made.stderr) is said, times
        assert json.loads(made.stdout)["workspace"] == "a-second"
