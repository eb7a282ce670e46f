"""Every field against every kind of caller: what the schema declares is what a request gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    is_composite_type,
    is_required_argument,
)

from gateway.api import admission
from gateway.api.schema import build_schema
from tests.api.gateway_api import Gateway, load_shop, track

# Two of the plan's events stand for all: the others are made in the same way.
PLAN = {key: load_shop().events[key] for key in ("order_completed.1", "products_searched.1")}
SCHEMA = build_schema(replace(load_shop(), events=PLAN))._schema

ROLES: dict[str, frozenset[str]] = {
    "nothing": frozenset({"workspace:read"}),
    "journeys": frozenset({"journeys:read"}),
    "events": frozenset({"events:read"}),
    "kpis": frozenset({"kpis:read"}),
    "sender": frozenset({"events:write"}),
    "decider": frozenset({"identities:write"}),
    "keeper": frozenset({"privacy:write"}),
    "page": frozenset({"journeys:read", "kpis:read", "events:read", "visitors:create"}),
    "tool": frozenset({"journeys:read", "kpis:read", "events:read", "pii:read"}),
    "mender": frozenset({"workspace:read", "workspace:write", "pii:read"}),
    "reader": frozenset({"contract:read"}),
    "proposer": frozenset({"contract:read", "contract:propose"}),
    "approver": frozenset({"contract:read", "contract:approve", "pii:read"}),
    "subject": frozenset(),
}

# What each type's fields need, and the fields that need something else. "own": the subject's token suffices.
TYPES = {
    "User": "journeys own",
    "Session": "journeys own",
    "Journey": "journeys own",
    "StageVisit": "journeys own",
    "Reason": "journeys own",
    "JourneyMap": "journeys own",
    "Stage": "journeys own",
    "Touchpoint": "journeys own",
    "JourneyChange": "journeys own",
    "Flag": "journeys own",
    "FlagChange": "journeys own",
    "EventChange": "events own",
    "Event": "events own",
    "UntypedEvent": "events own",
    "EventClient": "events own",
    "OrderCompletedEvent": "events own",
    "OrderCompletedProperties": "events own",
    "ProductValue": "events own",
    "ProductsSearchedEvent": "events own",
    "ProductsSearchedProperties": "events own",
    "Kpi": "kpis",
    "KpiResult": "kpis",
    "KpiStep": "kpis",
    "KpiPoint": "kpis",
    "KpiThresholds": "kpis",
    "KpiSlice": "kpis",
    "KpiSnapshot": "kpis",
    "KpiChange": "kpis",
    **dict.fromkeys(
        (
            *("FunnelAnswer", "Funnel", "FunnelAnswerStep", "FunnelSlice", "BreakdownValue", "Share", "Spread"),
            *("PathsAnswer", "PathColumn", "PathNode", "PathLink", "VariantsAnswer", "Variant"),
            *("DirectlyFollowsAnswer", "SequenceEnd", "TrendAnswer", "TrendSeries", "TrendPoint"),
            *("RetentionAnswer", "RetentionCohort", "RetentionCell", "StickinessAnswer", "StickinessBar"),
            *("LifecycleAnswer", "LifecyclePoint", "LifecycleGroup", "ChurnAnswer"),
            *("SessionStatsAnswer", "FrictionAnswer", "FrictionStage"),
        ),
        "kpis",
    ),
    **dict.fromkeys(
        (
            *("CatalogEntry", "CatalogCount", "CatalogMisfit", "CatalogProperty", "CatalogDay"),
            *("InstrumentationAudit", "AuditFinding", "AuditShare"),
        ),
        "operator",
    ),
    "Identity": "journeys pii own",
    "Segment": "journeys",
    "SegmentChange": "journeys",
    **dict.fromkeys(("AlertRule", "AlertPreview", "AlertEpisode"), "kpis"),
    "QuarantinedEvent": "operator",
    "IntakeAccounting": "operator",
    "IntakeHour": "operator",
    "IntakeCounts": "operator",
    "DerivationState": "operator",
    "SetAsideUser": "operator",
    "DerivationIncident": "operator",
    "ReplayQuarantinePayload": "mender",
    "ReplayReason": "mender",
    "Delivery": "operator",
    "DeliveryDestination": "operator",
    "ReplayDeliveriesPayload": "mender",
    "SurveyResponse": "events own",
    **dict.fromkeys(
        (
            *("SurveyOffer", "OfferedSurvey", "SurveyQuestion", "SurveyScale", "SurveyOption", "SurveyBranch"),
            "SurveyPageTrigger",
        ),
        "journeys own",
    ),
    "SurveyGround": "journeys",
    "FollowUp": "events",
    **dict.fromkeys(("AssignFollowUpPayload", "ResolveFollowUpPayload"), "events"),
    **dict.fromkeys(("SurveyPreview", "SurveyPreviewUser", "SurveyPreviewGround"), "journeys"),
    "SurveyChange": "journeys own",
    **dict.fromkeys(
        ("CxResult", "CxAnswerCount", "CxResponseRate", "CxTrend", "CxSlice", "CxCorrelation"),
        "kpis",
    ),
    "SurveyAnswer": "events own",
    "ResponseChange": "events own",
    "Plugin": "operator",
    "PluginFailure": "operator",
    "ConnectorInstance": "operator",
    "Alert": "operator",
    "AlertChange": "operator",
    "RefusedLink": "journeys pii",
    "IdentityDecision": "decider",
    "MergeUsersPayload": "decider",
    "SplitUserPayload": "decider",
    "UserShare": "decider",
    "UserMove": "decider",
    "Consent": "journeys own",
    "EventConsent": "events own",
    "SetConsentPayload": "keeper own",
    "Erasure": "keeper",
    "ErasedCount": "keeper",
    "EraseUserPayload": "keeper",
    "LiftSuppressionPayload": "keeper",
    **dict.fromkeys(
        (
            "LineageNode",
            "ContractDifference",
            "ContractChange",
            "DataRequestChange",
            "ContractActor",
            "ContractVersion",
            "ContractProblem",
            "Remark",
            "Proposal",
            "ProposedFile",
            "ProposeChangePayload",
            "CommentOnProposalPayload",
            "ApproveProposalPayload",
            "ApplyProposalPayload",
            "RejectProposalPayload",
            "WithdrawProposalPayload",
            "DataRequest",
            "DataRequestStep",
            "RequestDataPayload",
            "AgreeDataRequestPayload",
            "RefuseDataRequestPayload",
            "ShipDataRequestPayload",
            "Observation",
            "AddObservationPayload",
            "Discrepancy",
            "ReportDiscrepancyPayload",
        ),
        "reader",
    ),
}
FIELDS = {
    "Query.me": "own",
    "Query.user": "journeys",
    "Query.users": "journeys",
    "Query.journey": "journeys own",
    "Query.journeys": "journeys",
    "Query.events": "events",
    "Query.journeyMaps": "journeys own",
    "Query.journeyMap": "journeys own",
    "Query.kpi": "kpis",
    "Query.kpis": "kpis",
    "Query.alertRules": "kpis",
    "Query.alertRule": "kpis",
    "Query.alertPreview": "kpis",
    "AlertRule.lineage": "reader",
    "Query.segments": "journeys own",
    "Query.segment": "journeys own",
    "Segment.key": "journeys own",
    "Segment.name": "journeys own",
    "Segment.lineage": "reader",
    "SegmentUserConnection.totalCount": "journeys",
    "Subscription.segmentChanged": "journeys",
    **{
        f"Query.{name}": "kpis"
        for name in (
            *("funnel", "paths", "variants", "directlyFollows", "trend", "retention"),
            *("stickiness", "lifecycle", "churn", "sessionStats", "friction"),
        )
    },
    **{
        f"DirectlyFollowsEdge.{name}": "kpis"
        for name in ("source", "target", "count", "sequences", "meanSeconds", "p50Seconds", "p90Seconds")
    },
    "Query.catalog": "operator",
    "Query.instrumentationAudit": "operator",
    "Query.node": "",
    "Query.quarantine": "operator",
    "Query.intakeAccounting": "operator",
    "Query.derivation": "operator",
    "Query.plugins": "operator",
    "User.responses": "events own",
    "SurveyAnswer.value": "events pii own",
    **{f"SurveyResponse.{name}": "events pii own" for name in ("score", "comment")},
    "SurveyOffer.grounds": "journeys",
    "Query.followUps": "events",
    **{f"FollowUp.{name}": "events pii" for name in ("score", "note")},
    **dict.fromkeys(("Mutation.assignFollowUp", "Mutation.resolveFollowUp"), "mender"),
    **dict.fromkeys(("AssignFollowUpPayload.errors", "ResolveFollowUpPayload.errors"), ""),
    "Query.surveyPreview": "journeys",
    "Subscription.surveyOffered": "journeys own",
    **dict.fromkeys(("Query.cx", "Query.correlate", "Stage.cx"), "kpis"),
    "CxResult.anonymousComments": "kpis pii",
    **{f"Mutation.{name}": "sender own" for name in ("submitResponse", "recordSurveyDisplay", "dismissSurvey")},
    "Subscription.responseReceived": "events own",
    "Query.deliveries": "operator",
    "DeliveryConnection.destinations": "operator",
    "Query.alerts": "operator",
    "Subscription.alertRaised": "operator",
    "Mutation.replayDeliveries": "mender",
    "ReplayDeliveriesPayload.errors": "",
    "Mutation.replayQuarantine": "mender",
    "QuarantinedEvent.original": "operator pii",
    "Mutation.track": "sender own",
    "Mutation.identify": "sender own",
    "Mutation.recordExposure": "sender own",
    "Query.identityLog": "decider",
    "Mutation.mergeUsers": "decider",
    "Mutation.splitUser": "decider",
    "Query.erasure": "keeper",
    "Mutation.setConsent": "keeper own",
    "SetConsentPayload.consistencyToken": "",
    "MergeUsersPayload.consistencyToken": "",
    "SplitUserPayload.consistencyToken": "",
    "SetConsentPayload.errors": "",
    "Mutation.eraseUser": "keeper",
    "EraseUserPayload.errors": "",
    "Mutation.liftSuppression": "keeper",
    "LiftSuppressionPayload.errors": "",
    "MergeUsersPayload.errors": "",
    "ReplayQuarantinePayload.errors": "",
    "SplitUserPayload.errors": "",
    "User.refusedLinks": "journeys pii",
    "Subscription.contractChanged": "reader",
    "Subscription.dataRequestChanged": "reader",
    "Subscription.journeyChanged": "journeys own",
    "Subscription.eventStored": "events own",
    "Subscription.flagChanged": "journeys own",
    "Subscription.kpiUpdated": "kpis",
    "User.traits": "journeys pii own",
    "User.identities": "journeys pii own",
    "User.events": "events own",
    "Reason.events": "events own",
    "Stage.users": "journeys",
    "Stage.reached": "journeys",
    "Event.user": "journeys own",
    "UntypedEvent.user": "journeys own",
    "BehindConnection.totalCount": "journeys",
    "UserConnection.totalCount": "journeys own",
    "EventConnection.totalCount": "events own",
    **{
        f"{kind}.{name}": "events pii own"
        for kind in ("Event", "UntypedEvent", "OrderCompletedEvent", "ProductsSearchedEvent")
        for name in ("properties", "traits", "context", "userId", "anonymousId")
    },
    "Kpi.lineage": "reader",
    **{f"{kind}.observations": "reader" for kind in ("Kpi", "Stage", "User")},
    **{f"Observation.{name}": "reader pii" for name in ("text", "link")},
    **{
        f"Query.{name}": "reader"
        for name in ("lineage", "contractChanges", "proposals", "dataRequests", "discrepancies")
    },
    **{
        f"Mutation.{name}": "proposer"
        for name in (
            "proposeChange",
            "commentOnProposal",
            "withdrawProposal",
            "requestData",
            "addObservation",
            "reportDiscrepancy",
        )
    },
    **{
        f"Mutation.{name}": "approver"
        for name in (
            "approveProposal",
            "rejectProposal",
            "applyProposal",
            "agreeDataRequest",
            "refuseDataRequest",
            "shipDataRequest",
        )
    },
    **{
        f"{kind}Payload.errors": ""
        for kind in (
            "ProposeChange",
            "CommentOnProposal",
            "ApproveProposal",
            "ApplyProposal",
            "RejectProposal",
            "WithdrawProposal",
            "RequestData",
            "AgreeDataRequest",
            "RefuseDataRequest",
            "ShipDataRequest",
            "AddObservation",
            "ReportDiscrepancy",
        )
    },
    **{f"ContractProblem.{name}": "" for name in ("code", "path", "message", "hint")},
    "Event.properties": "events pii own",
    "OrderCompletedEvent.user": "journeys own",
    "ProductsSearchedEvent.user": "journeys own",
    "ProductsSearchedProperties.query": "events pii own",
    "EventClient.ip": "events pii own",
}
# Ids and parts of lists and messages say nothing by themselves.
OPEN = {"id", "cursor", "gap"}
OPEN_TYPES = {"PageInfo", "Gap", "InputError", "UserError", "Node", "Change", "TrackPayload", "IdentifyPayload"}
OPEN_TYPES |= {"RecordExposurePayload", "TrackReceipt", "Misfit"}
OPEN_TYPES |= {"SubmitResponsePayload", "RecordSurveyDisplayPayload", "DismissSurveyPayload"}

VALUES = {
    "id": '"user_00000000000000000000000000000000"',
    "by": '{userId: "nobody"}',
    "key": '"csat"',
    "map": '"purchase"',
    "range": '{last: "1d"}',
    "input": "{}",
    "file": '"key: a"',
    "node": '{kind: KPI, key: "csat"}',
    "direction": "UPSTREAM",
    "metric": "CSAT",
    "outcome": '{event: "Order Completed"}',
    "keys": '["csat"]',
}
_PROPOSAL = '{id: "proposal_00000000000000000000000000000000"}'
INPUTS = {
    "proposeChange": '{files: [], note: "n"}',
    "commentOnProposal": '{id: "proposal_00000000000000000000000000000000", text: "t"}',
    **dict.fromkeys(("approveProposal", "applyProposal", "rejectProposal", "withdrawProposal"), _PROPOSAL),
    "requestData": '{title: "", what: "w", why: "w"}',
    "agreeDataRequest": '{key: "nothing"}',
    "refuseDataRequest": '{key: "nothing", reason: "r"}',
    "shipDataRequest": '{key: "nothing"}',
    "addObservation": '{on: {kpi: "nothing"}, text: "t"}',
    "reportDiscrepancy": '{kpi: "nothing", expected: 1, range: {last: "1d"}}',
    "track": '{event: "A"}',
    "replayQuarantine": "{ids: []}",
    "recordExposure": "{exposures: []}",
    "submitResponse": "{answers: []}",
    "assignFollowUp": '{id: "followup_0", owner: "o"}',
    "resolveFollowUp": '{id: "followup_0"}',
    **dict.fromkeys(
        ("paths", "variants", "directlyFollows", "trend", "stickiness", "lifecycle", "sessionStats"),
        '{range: {last: "1d"}}',
    ),
    "funnel": '{range: {last: "1d"}, steps: [{event: "Order Completed"}, {event: "Product Added"}]}',
    "retention": '{range: {last: "1d"}, start: [{event: "Order Completed"}], back: []}',
    "churn": '{range: {last: "1d"}, by: {usage: {events: [{event: "Order Completed"}], inactive: "1d"}}}',
    "friction": '{range: {last: "1d"}, map: "purchase"}',
    "replayDeliveries": "{deadLetters: {ids: []}}",
    "mergeUsers": '{users: [], reason: "r", dryRun: true}',
    "setConsent": '{purposes: {}, source: "s"}',
    "eraseUser": '{user: {userId: "nobody"}, reason: "r", dryRun: true}',
    "liftSuppression": "{identities: []}",
    "splitUser": '{user: {userId: "nobody"}, identities: [], reason: "r", dryRun: true}',
}


#: The users behind a number.
BEHIND = "BehindConnection"


def needed(coordinate: str) -> set[str]:
    kind, name = coordinate.split(".")
    if coordinate in FIELDS:
        return set(FIELDS[coordinate].split())
    if get_named_type(shapes()[kind].fields[name].type).name == BEHIND:
        return {"journeys"}
    if kind in OPEN_TYPES or kind.endswith(("Connection", "Edge")) or name in OPEN:
        return set()
    return set(TYPES[kind].split())


def allowed(coordinate: str, role: str) -> bool:
    wanted = needed(coordinate)
    if role == "subject":
        return not wanted or "own" in wanted
    permissions = {
        "journeys": "journeys:read",
        "events": "events:read",
        "kpis": "kpis:read",
        "pii": "pii:read",
        "sender": "events:write",
        "operator": "workspace:read",
        "mender": "workspace:write",
        "decider": "identities:write",
        "keeper": "privacy:write",
        "reader": "contract:read",
        "proposer": "contract:propose",
        "approver": "contract:approve",
    }
    if wanted == {"own"}:
        return False
    return {permissions[one] for one in wanted - {"own"}} <= ROLES[role]


def shapes() -> dict[str, GraphQLObjectType | GraphQLInterfaceType]:
    return {
        name: kind
        for name, kind in SCHEMA.type_map.items()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
    }


def call(name: str, field: GraphQLField) -> str:
    """The field with the arguments it must have."""
    required = [argument for argument, given in field.args.items() if is_required_argument(given)]
    values = {**VALUES, "input": INPUTS.get(name, "{}")}
    return name + (f"({', '.join(f'{one}: {values[one]}' for one in required)})" if required else "")


def operations() -> Iterator[tuple[str, str]]:
    """Each field of each type (`User.traits`) with an operation that selects it, found along the shortest way."""
    roots = {"Query": "query", "Mutation": "mutation", "Subscription": "subscription"}
    ways = {root: [f"{word} {{ %s }}"] for root, word in roots.items()}
    waiting = list(ways)
    while waiting:
        kind = SCHEMA.type_map[waiting.pop(0)]
        assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
        way = ways[kind.name][0]
        inside = (
            [SCHEMA.type_map[one.name] for one in SCHEMA.get_possible_types(kind)]
            if isinstance(kind, GraphQLInterfaceType)
            else []
        )
        reached = [(one.name, way % f"... on {one.name} {{ %s }}") for one in inside]
        for name, field in kind.fields.items():
            target = get_named_type(field.type)
            leaf = not is_composite_type(target)
            yield f"{kind.name}.{name}", way % (call(name, field) + ("" if leaf else " { __typename }"))
            if not leaf:
                reached.append((target.name, way % f"{call(name, field)} {{ %s }}"))
        for target_name, found in reached:
            if target_name not in ways:
                ways[target_name] = [found]
                waiting.append(target_name)


OPERATIONS = dict(operations())


@pytest.fixture(autouse=True)
def _every_text_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the texts say is found out once for all roles; who may ask is found out each time."""
    monkeypatch.setattr(admission, "CACHED_TEXTS", 2 * len(OPERATIONS))


def test_every_field_of_the_schema_is_tried() -> None:
    fields = {f"{name}.{field}" for name, kind in shapes().items() for field in kind.fields}
    # No field is of the type Change itself, nor an answer only Answered or Counted: each kind of them says so.
    assert OPERATIONS.keys() == {one for one in fields if one.split(".")[0] not in ("Change", "Answered", "Counted")}
    assert len(fields) > 170


@pytest.mark.parametrize("role", ROLES)
async def test_a_caller_gets_what_its_role_opens_and_nothing_else(gateway: Gateway, role: str) -> None:
    authorization = gateway.token(userId="ann") if role == "subject" else await gateway.api_key(*ROLES[role])
    wrong = []
    for coordinate, operation in OPERATIONS.items():
        refused, data = await outcome(gateway, operation, authorization)
        expected = not allowed(coordinate, role)
        if expected != any(message.startswith(f"{coordinate} needs ") for message in refused):
            wrong.append((coordinate, "should be refused" if expected else "should be open", refused))
        # `node` finds out only with the id what kind it is about, and is null then.
        if refused and data not in (None, {"node": None}):
            wrong.append((coordinate, "data beside a refusal", refused))
    assert wrong == []


async def outcome(gateway: Gateway, operation: str, authorization: str) -> tuple[list[str], Any]:
    if not operation.startswith("subscription"):
        answer = await gateway.answer(operation, authorization)
        errors, data = answer.get("errors", []), answer.get("data")
    else:
        async with gateway.socket(authorization) as socket:
            await socket.subscribe(operation)
            message = await socket.receive()
            errors = message["payload"] if message["type"] == "error" else []
            data = None if errors else message["payload"]
    return [error["message"] for error in errors if error["extensions"]["code"] == "FORBIDDEN"], data


async def test_a_refusal_names_field_and_permission(idle_gateway: Gateway) -> None:
    error = await idle_gateway.refusal(
        "{ journeys { nodes { user { traits } } } }", await idle_gateway.api_key("journeys:read")
    )
    assert error == {
        "message": "User.traits needs the permission pii:read.",
        "extensions": {"code": "FORBIDDEN", "hint": "Use a credential that has it, or leave the field out."},
    }


async def test_a_policy_holds_behind_fragments_aliases_and_directives(idle_gateway: Gateway) -> None:
    key = await idle_gateway.api_key("journeys:read")
    for query in (
        "{ journeys { nodes { user { harmless: traits } } } }",
        "{ journeys { nodes { user { ...a } } } } fragment a on User { ...b } fragment b on User { traits }",
        "{ journeys { nodes { user { ... { ... on User { traits } } } } } }",
        "{ journeys { nodes { user { traits @skip(if: true) } } } }",
        "query a { journeyMaps { key } } query b { users { nodes { ...c } } } fragment c on User { traits }",
    ):
        name = "b" if query.startswith("query a") else None
        response = await idle_gateway.post({"query": query, "operationName": name}, key)
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN", query
        assert "data" not in response.json()
    other = await idle_gateway.post({"query": query, "operationName": "a"}, key)
    assert other.json() == {"data": {"journeyMaps": [{"key": "purchase"}]}}


async def test_the_same_text_is_judged_for_each_caller_anew(idle_gateway: Gateway) -> None:
    query = "{ users { nodes { traits } } }"
    for _ in range(2):
        assert await idle_gateway.ask(query, await idle_gateway.api_key()) == {"users": {"nodes": []}}
        assert (await idle_gateway.refusal(query, await idle_gateway.api_key("journeys:read")))["extensions"][
            "code"
        ] == "FORBIDDEN"


async def test_an_end_user_reaches_nothing_of_another_user(gateway: Gateway) -> None:
    events = await gateway.send(track("Product Viewed", 2, userId="ann"), track("Product Viewed", 1, userId="bob"))
    key = await gateway.api_key()
    ids: dict[str, list[str]] = {}
    for name, event in zip(("ann", "bob"), events, strict=True):
        user = (
            await gateway.ask(
                """query($by: UserBy!) { user(by: $by) {
                    id journey(map: "purchase") { id } sessions { nodes { id } } } }""",
                key,
                by={"userId": name},
            )
        )["user"]
        ids[name] = [user["id"], user["journey"]["id"], user["sessions"]["nodes"][0]["id"], event]
    node = "query($id: ID!) { node(id: $id) { id } }"
    for name, other in (("ann", "bob"), ("bob", "ann")):
        token = gateway.token(userId=name)
        for id in ids[name]:
            assert (await gateway.ask(node, token, id=id))["node"] == {"id": id}
        for id in ids[other]:
            assert await gateway.ask(node, token, id=id) == {"node": None}
        for id, expected in ((ids[name][1], {"id": ids[name][1]}), (ids[other][1], None)):
            found = await gateway.ask("query($id: ID!) { journey(id: $id) { id } }", token, id=id)
            assert found == {"journey": expected}


async def test_a_node_needs_the_permission_of_its_kind(gateway: Gateway) -> None:
    (event,) = await gateway.send(track("Product Viewed", userId="ann"))
    query = "query($id: ID!) { node(id: $id) { id } }"
    assert (await gateway.ask(query, await gateway.api_key("events:read"), id=event))["node"] == {"id": event}
    error = await gateway.refusal(query, await gateway.api_key("journeys:read"), id=event)
    assert error["message"] == "This id needs the permission events:read."
    for id in ("user_" + "0" * 32, f"journey_{'0' * 32}.purchase.1", f"session_{'0' * 32}.{'0' * 32}"):
        error = await gateway.refusal(query, await gateway.api_key("events:read"), id=id)
        assert error["extensions"]["code"] == "FORBIDDEN"
