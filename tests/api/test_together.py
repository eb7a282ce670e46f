"""The contract changed together over GraphQL, by the keys of two teams: proposals, requests, notes, digests."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.contract import load_texts
from gateway.quality.collaboration import Collaboration
from gateway.quality.digest import DAY_MS, week_start
from gateway.quality.tending import Tending
from gateway.store.contracts import Versions
from gateway.store.kpi_snapshots import KpiSnapshot, KpiSnapshots
from tests.api.gateway_api import NOW, WORKSPACE, Gateway, Json, identify, track
from tests.api.test_privacy import erased
from tests.unit.contract.orders import ORDERS, orders

EVENT, KPI, PLAN = "events/order_completed.1.yaml", "kpis/easy.yaml", "properties.yaml"
MAP = "journeys/buying.yaml"
FIELDS = """id status base version waitsFor owners grade conflicts by { teams } approvals { by { teams } }
  comments { text } changes { kind key grade what refused dependants { kind key } } patch ended { text }"""
ERRORS = "errors { code path message hint ... on ContractProblem { file line key } }"


def step(name: str, kind: str) -> str:
    return f"mutation($input: {kind}!) {{ done: {name}(input: $input) {{ proposal {{ {FIELDS} }} {ERRORS} }} }}"


PROPOSE = step("proposeChange", "ProposeChangeInput")
APPROVE = step("approveProposal", "ApproveProposalInput")
APPLY = step("applyProposal", "ApplyProposalInput")
COMMENT = step("commentOnProposal", "CommentOnProposalInput")
REJECT = step("rejectProposal", "EndProposalInput")
WITHDRAW = step("withdrawProposal", "EndProposalInput")
ASK = ("contract:read", "contract:propose", "kpis:read", "journeys:read", "pii:read")
AGREE = ("contract:read", "contract:propose", "contract:approve")


async def key_of(gateway: Gateway, *permissions: str, teams: tuple[str, ...] = ()) -> str:
    made = await gateway.keyring.book.create_api_key(WORKSPACE, permissions, teams=teams)
    return f"Bearer {made.value}"


@pytest.fixture
async def ux(gateway: Gateway) -> str:
    """A key of the team ux, over a workspace in which the contract of orders is stored."""
    await Versions(gateway.database).apply(orders(), now=NOW - 30 * DAY_MS, by="start")
    return await key_of(gateway, *ASK, *AGREE, teams=("ux",))


@pytest.fixture
async def backend(gateway: Gateway) -> str:
    return await key_of(gateway, *AGREE, teams=("backend",))


async def done(gateway: Gateway, operation: str, authorization: str, /, **given: Any) -> Json:
    payload: Json = (await gateway.ask(operation, authorization, input=given))["done"]
    return payload


async def proposed(gateway: Gateway, key: str, **files: str | None) -> Json:
    changed = [{"path": path, "text": text} for path, text in files.items()]
    payload = await done(gateway, PROPOSE, key, files=changed, note="because")
    assert payload["errors"] == [], payload
    found: Json = payload["proposal"]
    return found


def codes(payload: Json) -> list[str]:
    return [error["code"] for error in payload["errors"]]


COUPONS = ORDERS[EVENT].replace("coupon}", "coupon}\n  - {property: spare}")
EASIER = ORDERS[KPI].replace("Is it easy?", "Is it really easy?")


async def test_from_a_proposal_to_a_version_and_to_a_patch(
    gateway: Gateway, ux: str, backend: str, tmp_path: Path
) -> None:
    proposal = await proposed(gateway, ux, **{EVENT: COUPONS, KPI: EASIER})
    assert (proposal["status"], proposal["base"], proposal["grade"]) == ("OPEN", 1, "SAFE")
    assert (proposal["owners"], proposal["waitsFor"]) == (["backend", "ux"], ["backend"])
    assert {one["key"] for one in proposal["changes"]} == {"order_completed.1", "easy"}
    said = await done(gateway, COMMENT, backend, id=proposal["id"], text="which coupons?")
    assert said["proposal"]["comments"] == [{"text": "which coupons?"}]

    assert codes(await done(gateway, APPROVE, ux, id=proposal["id"])) == ["SELF_APPROVAL"]
    colleague = await key_of(gateway, *AGREE, teams=("ux",))
    assert codes(await done(gateway, APPROVE, colleague, id=proposal["id"])) == ["SELF_APPROVAL"]
    stranger = await key_of(gateway, *AGREE, teams=("web",))
    assert codes(await done(gateway, APPROVE, stranger, id=proposal["id"])) == ["NOT_AN_OWNER"]
    assert codes(await done(gateway, APPLY, backend, id=proposal["id"])) == ["STATUS"]

    applied = (await done(gateway, APPROVE, backend, id=proposal["id"], note="fine"))["proposal"]
    assert (applied["status"], applied["version"], applied["waitsFor"]) == ("APPLIED", 2, [])
    newest = await Versions(gateway.database).newest()
    assert newest is not None
    assert newest.files == {**ORDERS, EVENT: COUPONS, KPI: EASIER}
    assert newest.applied_by == applied["id"].replace("_", " ")
    again = (await done(gateway, APPLY, backend, id=proposal["id"]))["proposal"]
    assert (again["status"], again["version"]) == ("APPLIED", 2)

    for path, text in ORDERS.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    for command in (["git", "init", "-q"], ["git", "apply", "-"]):
        await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, input=applied["patch"], text=True, check=True, timeout=60
        )
    assert {path: (tmp_path / path).read_text() for path in ORDERS} == newest.files

    history = await gateway.ask(
        "{ contractChanges { nodes { number appliedBy note changes { key grade } } } proposals { nodes { id } } }", ux
    )
    assert [one["number"] for one in history["contractChanges"]["nodes"]] == [2, 1]
    assert {one["key"] for one in history["contractChanges"]["nodes"][0]["changes"]} == {"order_completed.1", "easy"}
    assert [one["id"] for one in history["proposals"]["nodes"]] == [proposal["id"]]
    node = await gateway.ask("query($id: ID!) { node(id: $id) { id } }", ux, id=proposal["id"])
    assert node == {"node": {"id": proposal["id"]}}


async def test_a_team_with_files_of_its_own_needs_somebody_else(gateway: Gateway, ux: str, backend: str) -> None:
    proposal = await proposed(gateway, ux, **{KPI: EASIER})
    assert proposal["waitsFor"] == ["*"]
    assert codes(await done(gateway, APPROVE, ux, id=proposal["id"])) == ["SELF_APPROVAL"]
    assert (await done(gateway, APPROVE, backend, id=proposal["id"]))["proposal"]["status"] == "APPLIED"


async def test_struck_out_owners_keep_their_say(gateway: Gateway, ux: str) -> None:
    mine = ORDERS[EVENT].replace("[backend]", "[ux]")
    assert (await proposed(gateway, ux, **{EVENT: mine}))["waitsFor"] == ["backend"]
    card = ORDERS[PLAN].replace("[card, invoice]", "[card, invoice, cash]")
    assert (await proposed(gateway, ux, **{PLAN: card}))["waitsFor"] == ["backend"]


async def test_what_others_changed_meanwhile(gateway: Gateway, ux: str, backend: str) -> None:
    first = await proposed(gateway, ux, **{EVENT: COUPONS})
    same = await proposed(gateway, ux, **{EVENT: ORDERS[EVENT].replace("bought.", "bought!")})
    other = await proposed(gateway, ux, **{KPI: EASIER})
    await done(gateway, APPROVE, backend, id=first["id"])
    stale = await done(gateway, APPROVE, backend, id=same["id"])
    assert codes(stale) == ["STALE"]
    assert EVENT in stale["errors"][0]["message"]
    applied = (await done(gateway, APPROVE, backend, id=other["id"]))["proposal"]
    assert (applied["status"], applied["version"], applied["base"]) == ("APPLIED", 3, 2)
    newest = await Versions(gateway.database).newest()
    assert newest is not None
    assert (newest.files[EVENT], newest.files[KPI]) == (COUPONS, EASIER)
    assert (await done(gateway, WITHDRAW, ux, id=same["id"]))["proposal"]["status"] == "WITHDRAWN"
    assert codes(await done(gateway, APPROVE, backend, id=same["id"])) == ["STATUS"]


async def test_two_who_approve_at_once_make_one_version(gateway: Gateway, ux: str, backend: str) -> None:
    proposals = [await proposed(gateway, ux, **{EVENT: COUPONS}), await proposed(gateway, ux, **{KPI: EASIER})]
    other = await key_of(gateway, *AGREE, teams=("backend",))
    await asyncio.gather(
        *(done(gateway, APPROVE, key, id=one["id"]) for one in proposals for key in (backend, other)),
    )
    heads = await Versions(gateway.database).heads()
    assert [one.number for one in heads] == [3, 2, 1]
    assert len({one.applied_by for one in heads}) == 3


async def test_breaking_is_said_aloud_and_what_a_kpi_reads_stays(gateway: Gateway, ux: str, backend: str) -> None:
    breaking = await proposed(gateway, ux, **{PLAN: ORDERS[PLAN].replace("maxLength: 20", "maxLength: 10")})
    assert breaking["grade"] == "BREAKING"
    assert codes(await done(gateway, APPROVE, backend, id=breaking["id"])) == ["BREAKING"]
    agreed = await done(gateway, APPROVE, backend, id=breaking["id"], allowBreaking=True)
    assert agreed["proposal"]["status"] == "APPLIED"
    lost = ORDERS[EVENT].replace("  - {property: payment, required: true}\n", "")
    payload = await done(gateway, PROPOSE, ux, files=[{"path": EVENT, "text": lost}], note="because")
    assert codes(payload) == ["KPI_READS"]
    assert "KPI cards" in payload["errors"][0]["message"]
    assert (await gateway.ask("{ proposals(status: OPEN) { nodes { id } } }", ux)) == {"proposals": {"nodes": []}}


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nkey: [*b, *b]\n"
BAD: list[tuple[str, list[Json], str]] = [
    ("no file", [], "FILE_COUNT"),
    ("out of the folder", [{"path": "../secrets.yaml", "text": "a"}], "PATH"),
    ("through a folder", [{"path": "kpis/../../x.yaml", "text": "a"}], "PATH"),
    ("absolute", [{"path": "/etc/kpis.yaml", "text": "a"}], "PATH"),
    ("twice the same in other words", [{"path": "kpis//easy.yaml", "text": "a"}], "PATH"),
    ("a zero", [{"path": "kpis/e\x00.yaml", "text": "a"}], "PATH"),
    ("named twice", [{"path": KPI, "text": EASIER}, {"path": KPI, "text": None}], "PATH"),
    ("nothing there", [{"path": "kpis/none.yaml"}], "UNKNOWN_FILE"),
    ("no change", [{"path": KPI, "text": ORDERS[KPI]}], "NO_CHANGE"),
    ("large", [{"path": KPI, "text": "#" * 200_001}], "TOO_LARGE"),
    ("a bomb", [{"path": KPI, "text": BOMB}], "CONTRACT"),
    ("nobody reads it", [{"path": "notes.yaml", "text": "a"}], "CONTRACT"),
    ("a map without its version", [{"path": MAP, "text": ORDERS[MAP].replace("gte: 1", "gte: 2")}], "CONTRACT"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "code"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
async def test_bad_proposals_are_told_and_not_kept(gateway: Gateway, ux: str, files: list[Json], code: str) -> None:
    payload = await done(gateway, PROPOSE, ux, files=files, note="because")
    assert set(codes(payload)) == {code}, payload
    assert payload["proposal"] is None
    assert (await gateway.ask("{ proposals { nodes { id } } }", ux)) == {"proposals": {"nodes": []}}


async def test_every_mistake_has_file_line_and_key(gateway: Gateway, ux: str) -> None:
    files = [
        {"path": KPI, "text": ORDERS[KPI].replace("unit: percent", "unit: percents")},
        {"path": "surveys/ease.yaml", "text": ORDERS["surveys/ease.yaml"].replace("stage: bought", "stage: sold")},
    ]
    payload = await done(gateway, PROPOSE, ux, files=files, note="because")
    assert [(one["file"], one["line"], one["key"]) for one in payload["errors"]] == [
        ("orders/kpis/easy.yaml", 3, "unit"),
        ("orders/surveys/ease.yaml", 10, "triggers[0].stageEntered.stage"),
    ]
    assert all(one["message"] and one["hint"] for one in payload["errors"])


async def test_what_no_gateway_could_serve_is_told_and_not_kept(gateway: Gateway, ux: str) -> None:
    """Two properties in two events load; in the API their values would be two types of one name."""
    kinds = "".join(
        f"  - {{key: {key}, type: string, brief: b., enum: [{key}]}}\n" for key in ("gift_kind", "giftKind")
    )
    event = "name: Gift {0}\nmajor: 1\nbrief: b.\nowners: [ux]\nproperties: [{{property: {1}}}]\n"
    files = [
        {"path": PLAN, "text": ORDERS[PLAN] + kinds},
        {"path": "events/gift_sent.1.yaml", "text": event.format("Sent", "gift_kind")},
        {"path": "events/gift_got.1.yaml", "text": event.format("Got", "giftKind")},
    ]
    refused = await done(gateway, PROPOSE, ux, files=files, note="gifts")
    assert refused["proposal"] is None
    assert any("GiftKindValue, which is that of another" in error["message"] for error in refused["errors"]), refused
    assert await gateway.database.count("proposals", {}) == 0
    kept = await done(gateway, PROPOSE, ux, files=files[:2], note="gifts")
    assert kept["errors"] == []


async def test_a_megabyte_does_not_get_in(gateway: Gateway, ux: str) -> None:
    variables = {"input": {"files": [{"path": KPI, "text": "#" * 1_000_000}], "note": "n"}}
    response = await gateway.post({"query": PROPOSE, "variables": variables}, ux)
    assert response.status_code == 413


async def test_rejected_with_a_reason(gateway: Gateway, ux: str, backend: str) -> None:
    proposal = await proposed(gateway, ux, **{EVENT: COUPONS})
    assert codes(await done(gateway, REJECT, backend, id=proposal["id"])) == ["TEXT"]
    assert codes(await done(gateway, WITHDRAW, backend, id=proposal["id"])) == ["NOT_YOURS"]
    rejected = (await done(gateway, REJECT, backend, id=proposal["id"], reason="too early"))["proposal"]
    assert (rejected["status"], rejected["ended"]) == ("REJECTED", {"text": "too early"})


# -- data requests ------------------------------------------------------------------------------------------------

REQUEST = "request { key status event properties askedBy filed verifiedBy steps { status said { text } } }"


def request(name: str, kind: str) -> str:
    return f"mutation($input: {kind}!) {{ done: {name}(input: $input) {{ {REQUEST} {ERRORS} }} }}"


REQUEST_DATA = request("requestData", "RequestDataInput")
AGREE_TO = request("agreeDataRequest", "AgreeDataRequestInput")
SHIP = request("shipDataRequest", "ShipDataRequestInput")
REFUSE = request("refuseDataRequest", "RefuseDataRequestInput")
WISH = {"title": "How carts are emptied", "what": "An event when a cart is emptied.", "why": "We do not know."}


def tending(gateway: Gateway, together: Collaboration | None = None) -> Tending:
    together = together or gateway.services.collaboration
    return Tending(
        together.requests,
        together.digests,
        gateway.clock,
        owns=lambda workspace, key: True,
        contract=lambda: gateway.services.contract,
        workspaces=gateway.keyring.workspaces,
    )


async def test_a_request_is_verified_by_its_first_valid_event(gateway: Gateway, ux: str, backend: str) -> None:
    asked = await done(gateway, REQUEST_DATA, ux, **WISH)
    key = asked["request"]["key"]
    assert (key, asked["request"]["status"], asked["request"]["askedBy"]) == (
        "how_carts_are_emptied",
        "REQUESTED",
        "ux",
    )
    assert codes(await done(gateway, REQUEST_DATA, ux, **WISH)) == ["KEY_TAKEN"]
    assert codes(await done(gateway, AGREE_TO, ux, key=key)) == ["SELF_APPROVAL"]
    assert codes(await done(gateway, SHIP, backend, key=key)) == ["STATUS"]
    assert (await done(gateway, AGREE_TO, backend, key=key, note="in June"))["request"]["status"] == "AGREED"
    assert codes(await done(gateway, SHIP, backend, key=key)) == ["EVENT"]
    # Planned in the shop: a misfit is no valid event, whatever it carries.
    wanted = {"event": "Product Added", "properties": ["quantity", "reason.words"]}
    await gateway.send(track("Product Added", userId="before", properties={"quantity": 1, "reason": {"words": "x"}}))
    gateway.clock.advance(1_000)
    assert (await done(gateway, SHIP, backend, key=key, **wanted))["request"]["status"] == "SHIPPED"
    look = tending(gateway)
    assert await look.verify() == 0
    gateway.clock.advance(1_000)
    good = {"product_id": "1", "price": 2.5, "quantity": 1, "currency": "EUR", "name": "n", "reason": {"words": "x"}}
    for number, sent in enumerate(({**good, "reason": {}}, {**good, "quantity": "many"})):
        await gateway.send(track("Product Added", userId=f"no{number}", properties=sent))
        assert await look.verify() == 0
    (event,) = await gateway.send(track("Product Added", userId="yes", properties=good))
    assert await look.verify() == 1
    assert await look.verify() == 0
    found = await gateway.ask(f"{{ dataRequests(status: VERIFIED) {{ nodes {{ {REQUEST[10:-2]} }} }} }}", ux)
    (verified,) = found["dataRequests"]["nodes"]
    assert verified["verifiedBy"] == event
    assert [one["status"] for one in verified["steps"]] == ["REQUESTED", "AGREED", "SHIPPED", "VERIFIED"]
    operator = await gateway.api_key("workspace:read")
    await gateway.derive()
    (alert,) = (await gateway.ask("{ alerts { nodes { key title resolvedAt } } }", operator))["alerts"]["nodes"]
    assert alert["title"] == f"Data request {key} is verified: {WISH['title']}"
    assert alert["resolvedAt"] is not None


async def test_requests_in_files_are_there_and_can_be_refused(gateway: Gateway, ux: str, backend: str) -> None:
    listed = await gateway.ask("{ dataRequests { nodes { key status filed } } }", ux)
    assert {one["key"] for one in listed["dataRequests"]["nodes"]} == {"delivery_promise", "search_refined"}
    assert all(one["filed"] and one["status"] == "REQUESTED" for one in listed["dataRequests"]["nodes"])
    refused = await done(gateway, REFUSE, backend, key="search_refined", reason="nobody can")
    assert refused["request"]["steps"][-1] == {"status": "REFUSED", "said": {"text": "nobody can"}}
    again = Collaboration.of(gateway.database, gateway.clock)
    await again.requests.file(WORKSPACE, gateway.services.contract)
    listed = await gateway.ask("{ dataRequests(status: REFUSED) { nodes { key } } }", ux)
    assert listed == {"dataRequests": {"nodes": [{"key": "search_refined"}]}}
    assert codes(await done(gateway, AGREE_TO, backend, key="nothing")) == ["NOT_FOUND"]


# -- notes --------------------------------------------------------------------------------------------------------

NOTE = f"""mutation($input: AddObservationInput!) {{ done: addObservation(input: $input) {{
  observation {{ id text link by {{ teams }} }} {ERRORS} }} }}"""
NOTES = "observations { nodes { text } }"


async def test_notes_stay_with_the_person_and_go_with_them(gateway: Gateway, ux: str) -> None:
    await gateway.send(track("Product Viewed", 5, anonymousId="phone"))
    noted = await done(
        gateway, NOTE, ux, on={"user": {"anonymousId": "phone"}}, text="lost", link="https://a.example/1"
    )
    assert noted["observation"] == {
        "id": noted["observation"]["id"], "text": "lost", "link": "https://a.example/1", "by": {"teams": ["ux"]},
    }  # fmt: skip
    await gateway.send(track("Product Viewed", 9, anonymousId="laptop"))
    await gateway.send(identify(4, anonymousId="laptop", userId="ann"), identify(3, anonymousId="phone", userId="ann"))
    query = f'{{ user(by: {{userId: "ann"}}) {{ {NOTES} }} }}'
    assert (await gateway.ask(query, ux)) == {"user": {"observations": {"nodes": [{"text": "lost"}]}}}
    await done(gateway, NOTE, ux, on={"kpi": "csat"}, text="too good")
    await done(gateway, NOTE, ux, on={"stage": {"map": "purchase", "stage": "cart"}}, text="full")
    found = await gateway.ask(
        f'{{ kpi(key: "csat") {{ {NOTES} }} journeyMap(key: "purchase") {{ stages {{ key {NOTES} }} }} }}', ux
    )
    assert found["kpi"]["observations"]["nodes"] == [{"text": "too good"}]
    stages = {one["key"]: one["observations"]["nodes"] for one in found["journeyMap"]["stages"]}
    assert stages["cart"] == [{"text": "full"}]
    assert not any(notes for key, notes in stages.items() if key != "cart")

    receipt = await erased(gateway, await gateway.api_key(), {"userId": "ann"})
    assert {"collection": "observations", "count": 1} in receipt["collections"]
    assert await gateway.database.count("observations", {"workspace": WORKSPACE}) == 2
    node = await gateway.ask("query($id: ID!) { node(id: $id) { id } }", ux, id=noted["observation"]["id"])
    assert node == {"node": None}


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"on": {"kpi": "csat"}, "text": " "}, "TEXT"),
        ({"on": {"kpi": "csat"}, "text": "a", "link": "javascript:alert(1)"}, "LINK"),
        ({"on": {"kpi": "none"}, "text": "a"}, "UNKNOWN_KPI"),
        ({"on": {"stage": {"map": "purchase", "stage": "none"}}, "text": "a"}, "UNKNOWN_STAGE"),
        ({"on": {"user": {"userId": "nobody"}}, "text": "a"}, "UNKNOWN_USER"),
    ],
)
async def test_bad_notes(gateway: Gateway, ux: str, given: Json, code: str) -> None:
    assert codes(await done(gateway, NOTE, ux, **given)) == [code]


async def test_a_discrepancy_keeps_what_is_needed(gateway: Gateway, ux: str) -> None:
    answer = {"survey": "csat", "score": 5}
    (event,) = await gateway.send(
        track("Survey Response Submitted", 5, userId="ann", properties=answer),
    )
    report = f"""mutation($input: ReportDiscrepancyInput!) {{ done: reportDiscrepancy(input: $input) {{
      discrepancy {{ kpi value expected n version definition query sample note }} {ERRORS} }} }}"""
    payload = await done(gateway, report, ux, kpi="csat", expected=80, range={"last": "1d"}, note="our sheet says so")
    found = payload["discrepancy"]
    assert (found["value"], found["expected"], found["n"], found["sample"]) == (100, 80, 1, [event])
    assert "csat" in found["query"]
    listed = await gateway.ask('{ discrepancies(kpi: "csat") { nodes { note } } }', ux)
    assert listed == {"discrepancies": {"nodes": [{"note": "our sheet says so"}]}}
    assert codes(await done(gateway, report, ux, kpi="none", expected=80, range={"last": "1d"})) == ["UNKNOWN_KPI"]


async def test_lineage_over_the_api(gateway: Gateway, ux: str) -> None:
    query = """{ lineage(node: {kind: EVENT, key: "order_completed.1"}, direction: DOWNSTREAM) { kind key missing }
      kpi(key: "csat") { status statusReason lineage { kind key } } }"""
    found = await gateway.ask(query, ux)
    assert {"kind": "KPI", "key": "purchase_conversion", "missing": False} in found["lineage"]
    assert (found["kpi"]["status"], found["kpi"]["statusReason"]) == ("LIVE", None)
    assert {"kind": "PROPERTY", "key": "score"} in found["kpi"]["lineage"]
    refusal = await gateway.refusal('{ lineage(node: {kind: KPI, key: "x"}, direction: UPSTREAM) { key } }', ux)
    assert refusal["extensions"]["code"] == "NOT_FOUND"


# -- digests ------------------------------------------------------------------------------------------------------


async def test_one_digest_a_week_whoever_sends_it(gateway: Gateway, ux: str) -> None:
    monday = week_start(NOW)
    versions = Versions(gateway.database)
    files = {**ORDERS, EVENT: COUPONS}
    await versions.apply(load_texts("orders", files), now=monday - DAY_MS, by="contract apply", note="coupons")
    for _ in range(3):  # three processes, one after the other and two at once
        processes = [tending(gateway, Collaboration.of(gateway.database, gateway.clock)) for _ in range(2)]
        await asyncio.gather(*(one.tell_weekly() for one in processes))
        await gateway.derive()
        gateway.clock.advance(1_000)
    operator = await gateway.api_key("workspace:read")
    query = "{ alerts { nodes { title text resolvedAt } } }"
    (alert,) = (await gateway.ask(query, operator))["alerts"]["nodes"]
    assert "version 2" in alert["text"]
    assert "coupons" in alert["text"]
    raised = await gateway.database.count("feed", {"workspace": WORKSPACE, "kind": "alert", "raised": True})
    assert raised == 1
    # A week in which nothing happened sends none; the next that has news closes the one before.
    gateway.clock.at = monday + 8 * DAY_MS
    assert await tending(gateway).tell_weekly() == 0
    await versions.apply(orders(), now=gateway.clock.at, by="contract apply")
    gateway.clock.at += 7 * DAY_MS
    assert await tending(gateway).tell_weekly() == 1
    await gateway.derive()
    newer, older = (await gateway.ask(query, operator))["alerts"]["nodes"]
    assert (newer["resolvedAt"], older["resolvedAt"] is None) == (None, False)


async def test_the_digest_says_which_kpis_moved_beyond_chance(gateway: Gateway) -> None:
    monday = week_start(NOW)
    week = 7 * DAY_MS

    def snapshot(kpi: str, weeks_ago: int, value: float, margin: float, *, hash: str = "a") -> KpiSnapshot:
        start = monday - (weeks_ago + 1) * week
        return KpiSnapshot(
            workspace=WORKSPACE,
            kpi=kpi,
            cadence="weekly",
            start=start,
            end=start + week,
            taken_at=start + week + 600_000,
            value=value,
            n=120,
            low=value - margin,
            high=value + margin,
            open=0,
            hash=hash,
            definition="d",
            version=1,
        )

    await KpiSnapshots(gateway.database).add(
        [
            *(snapshot("csat", 1, 81.25, 3), snapshot("csat", 0, 70.5, 3)),
            *(snapshot("ces", 1, 5.0, 1), snapshot("ces", 0, 5.5, 1)),  # by chance
            *(snapshot("nps", 1, 10, 1), snapshot("nps", 0, 30, 1, hash="b")),  # of another definition
            snapshot("churn", 0, 4, 1),  # the first
        ]
    )
    made = await Collaboration.of(gateway.database, gateway.clock).digests.of(WORKSPACE, monday, monday + week)
    (line,) = made.lines()
    assert line.startswith("KPI csat moved from 81.25 (n = 120) to 70.5 (n = 120), weekly from ")
    assert not made.empty
