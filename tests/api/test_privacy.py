"""Erasure and consent as callers meet them: nothing is left, nothing comes back, and what was said is heeded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.api.context import Context
from gateway.api.following import follow
from gateway.model.consent import PURPOSES
from gateway.model.event import Verdict
from gateway.model.scope import Scope
from gateway.pipeline.accounting import Accounts
from gateway.pipeline.intake import Delivery, Intake
from gateway.pipeline.rebuilding import Rebuilder
from gateway.privacy import Privacy
from gateway.store.database import Database
from gateway.store.rebuilds import Rebuilds
from tests.api.gateway_api import WORKSPACE, Gateway, Json, identify, track
from tests.api.test_deciding import merge, split, user_of
from tests.api.test_watching import EVENTS, event_names, started

ERASURE = "id status requestedAt doneAt reason by identityCount collections { collection count }"
ERASE = f"""mutation($input: EraseUserInput!) {{ eraseUser(input: $input) {{ erasure {{ {ERASURE} }}
  collections {{ collection count }} errors {{ code path }} }} }}"""
RECEIPT = f"query($id: ID!) {{ erasure(id: $id) {{ {ERASURE} }} node(id: $id) {{ id }} }}"
LIFT = "mutation($input: LiftSuppressionInput!) { liftSuppression(input: $input) { lifted errors { code } } }"
CONSENTS = "consents { purpose state source at }"
CONSENT = f"""mutation($input: SetConsentInput!) {{ setConsent(input: $input) {{ {CONSENTS} consistencyToken
  errors {{ code path }} }} }}"""
USER = f"query($by: UserBy!) {{ user(by: $by) {{ id eventCount identities {{ value }} {CONSENTS} }} }}"
COUNTS = """{ intakeAccounting(range: {last: "1d"}) {
  total { sent accepted duplicate conflict quarantined refused } } }"""
RARE = "xqzzycanary"


async def erase(gateway: Gateway, key: str, user: Json, *, dry: bool = False) -> Json:
    wanted = {"user": user, "reason": "asked for", "dryRun": dry}
    payload: Json = (await gateway.ask(ERASE, key, input=wanted))["eraseUser"]
    return payload


async def finish(gateway: Gateway) -> None:
    """Both rounds of every erasure."""
    await gateway.derive()
    assert gateway._lease is not None
    await gateway.deriver.erase_due(gateway._lease, gateway.clock.at)
    gateway.clock.advance(60_000)
    for _ in range(2):
        await gateway.deriver.erase_due(gateway._lease, gateway.clock.at)


async def erased(gateway: Gateway, key: str, user: Json) -> Json:
    """Erase a user whole; the receipt."""
    found = await erase(gateway, key, user)
    assert found["errors"] == []
    await finish(gateway)
    receipt: Json = (await gateway.ask(RECEIPT, key, id=found["erasure"]["id"]))["erasure"]
    assert receipt["status"] == "DONE"
    return receipt


async def found_in(database: Database, text: str) -> dict[str, list[Any]]:
    """Every row of every collection that holds the text anywhere, keys and bytes included."""
    reply = await database.admin({"listCollections": 1, "nameOnly": True}, on=database.name)
    names = [one["name"] for one in reply["cursor"]["firstBatch"]]
    assert len(names) > 15
    rows = {name: [row for row in await database.find(name, {}) if text in repr(row)] for name in names}
    return {name: found for name, found in rows.items() if found}


def lines(receipt: Json) -> dict[str, int]:
    return {line["collection"]: line["count"] for line in receipt["collections"]}


async def judged(gateway: Gateway, *messages: Json, intake: Intake | None = None) -> list[str]:
    """Verdicts of messages, one delivery each."""
    told = []
    for message in messages:
        receipt = await (intake or gateway.intake).ingest(Delivery(WORKSPACE, "test", [message]))
        told += [name for name, count in receipt.counts().items() if count]
    return told


def canaries() -> list[Json]:
    """A person whose every field holds the rare string, on a device that is named after it too."""
    about: Json = {
        "context": {"page": {"title": RARE}, "traits": {RARE: RARE}},
        "properties": {RARE: [RARE], "product": RARE},
        "integrations": {RARE: True},
        "extra": RARE,
    }
    user, device = f"user {RARE}", f"device {RARE}"
    return [
        track(RARE, 30, anonymousId=device, messageId=f"1 {RARE}", **about),
        track("Product Viewed", 29, anonymousId=device, messageId=f"2 {RARE}", **about),
        identify(20, anonymousId=device, userId=user, messageId=f"3 {RARE}", traits={"name": RARE, RARE: 1}),
        {"type": "page", "name": RARE, "userId": user, "messageId": f"4 {RARE}", **about},
        {"type": "group", "groupId": RARE, "userId": user, "traits": {"plan": RARE}, "messageId": f"5 {RARE}"},
        {"type": "alias", "previousId": f"old {RARE}", "userId": user, "messageId": f"6 {RARE}"},
        track("Order Completed", 1, userId=user, messageId=f"7 {RARE}", **about),
    ]


async def test_nothing_of_an_erased_user_is_left_anywhere(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("Product Viewed", 9, userId="lee"), track("Product Added", 8, userId="lee"))
    await gateway.send(*canaries())
    user = {"userId": f"user {RARE}"}
    wanted = {"user": user, "purposes": {"analytics": "GRANTED"}, "source": RARE}
    await gateway.ask(CONSENT, key, input=wanted)
    bad = {"type": "track", "userId": f"user {RARE}", "messageId": f"8 {RARE}", "properties": {"why": RARE}}
    assert await judged(gateway, bad, {**canaries()[0], "event": "other"}) == ["quarantined", "conflict"]
    await gateway.derive()
    full = await found_in(gateway.database, RARE)
    assert {"events", "identities", "merges", "users", "feed", "rollups", "quarantine"} <= full.keys()
    before = await gateway.ask(USER, key, by={"userId": "lee"})
    receipt = await erased(gateway, key, user)
    assert await found_in(gateway.database, RARE) == {}
    counts = lines(receipt)
    assert counts["events"] == 7 + 3  # what was said of consent is an event of each identity
    assert (counts["identities"], counts["users"], counts["quarantine"]) == (3, 1, 2)
    assert counts.keys() >= {"sessions", "journeys", "merges", "work", "feed", "consents"}
    assert receipt["identityCount"] == 3
    assert await gateway.ask(USER, key, by={"userId": "lee"}) == before
    assert (await gateway.ask(USER, key, by=user))["user"] is None


async def test_what_names_an_erased_user_within_lists_and_objects_goes_too(gateway: Gateway) -> None:
    key = await gateway.api_key()
    nested: list[Json] = [
        {"type": "track", "event": "A", "userId": [RARE]},
        {"type": "track", "event": "B", "anonymousId": {"id": [{"value": RARE}]}},
        {"type": "alias", "userId": "lee", "previousId": [["x"], RARE]},
    ]
    assert await judged(gateway, *nested) == ["quarantined"] * 3
    assert await judged(gateway, {"type": "track", "userId": ["somebody else"]}) == ["quarantined"]
    await erased(gateway, key, {"userId": RARE})
    await erased(gateway, key, {"anonymousId": RARE})
    assert await found_in(gateway.database, RARE) == {}
    assert await gateway.database.count("quarantine", {}) == 1
    assert await judged(gateway, *nested) == ["refused"] * 3
    assert await judged(gateway, {"type": "track", "userId": list(range(100_000))}) == ["refused"]


async def test_what_comes_late_is_refused_and_counted(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("A", 3, userId="ann"), identify(2, userId="ann", anonymousId="phone"))
    found = await erase(gateway, key, {"anonymousId": "phone"})
    assert found["erasure"]["status"] == "RUNNING"
    late = [
        track("B", 1, userId="ann", messageId="late"),
        track("B", 1, anonymousId="phone"),
        {"type": "nonsense", "userId": "ann"},
        track("B", 1, userId="lee"),
    ]
    assert await judged(gateway, *late) == ["refused", "refused", "refused", "accepted"]
    receipt = await gateway.intake.ingest(Delivery(WORKSPACE, "test", late))
    assert [problem.code for problem in receipt.problems] == ["suppressed"] * 3
    assert receipt.problems[0].verdict is Verdict.REFUSED
    await finish(gateway)
    assert await judged(gateway, *late[:3]) == ["refused"] * 3
    total = (await gateway.ask(COUNTS, key))["intakeAccounting"]["total"]
    assert total["refused"] == 9
    # The erasure itself came through intake too.
    assert (total["accepted"], total["sent"]) == (2 + 2 + 1, 2 + 4 + 4 + 3 + 1)
    assert await gateway.database.count("quarantine", {}) == 0


async def test_erasing_twice_is_harmless_and_tells_of_the_first_time(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("A", 3, userId="ann"))
    dry = await erase(gateway, key, {"userId": "ann"}, dry=True)
    assert (dry["erasure"], lines(dry)) == (None, {"events": 1, "identities": 1, "sessions": 1, "users": 1})
    assert await judged(gateway, track("B", 1, userId="ann")) == ["accepted"]
    user = (await gateway.ask(USER, key, by={"userId": "ann"}))["user"]["id"]
    first = await erase(gateway, key, {"userId": "ann"})
    again = await erase(gateway, key, {"userId": "ann"})
    assert again["erasure"]["id"] == first["erasure"]["id"]
    await finish(gateway)
    for by in ({"userId": "ann"}, {"id": user}):
        later = await erase(gateway, key, by)
        assert later["erasure"]["id"] == first["erasure"]["id"]
        assert later["erasure"]["status"] == "DONE"
    assert (await erase(gateway, key, {"id": "user_" + "0" * 32}))["errors"][0]["code"] == "UNKNOWN_USER"
    assert (await erase(gateway, key, {"anonymousId": "null"}))["errors"][0]["code"] == "NOBODY"
    assert await gateway.database.count("erasures", {}) == 1


async def test_erasing_several_times_at_once_is_one_erasure(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(identify(3, userId="ann", anonymousId="phone"))
    found = await asyncio.gather(*(erase(gateway, key, {"userId": "ann"}) for _ in range(6)))
    assert len({one["erasure"]["id"] for one in found}) == 1
    assert await gateway.database.count("erasures", {}) == 1
    await finish(gateway)
    (receipt,) = await gateway.database.find("erasures", {})
    assert receipt["counts"]["events"] >= 1


@pytest.mark.parametrize("name", ["id", "userId", "anonymousId"])
async def test_erasing_nobody_is_told(gateway: Gateway, name: str) -> None:
    found = await erase(gateway, await gateway.api_key(), {name: ""})
    assert found["errors"] == [{"code": "UNKNOWN_USER", "path": ["input", "user"]}]


async def test_somebody_who_was_never_seen_can_be_erased(gateway: Gateway) -> None:
    key = await gateway.api_key()
    receipt = await erased(gateway, key, {"userId": RARE})
    assert lines(receipt) == {}
    assert await judged(gateway, track("A", 3, userId=RARE)) == ["refused"]
    assert await found_in(gateway.database, RARE) == {}


async def test_a_merged_user_is_erased_whole_and_one_split_away_is_not(gateway: Gateway) -> None:
    key = await gateway.api_key()
    for name in ("ann", "lee", "kim"):
        await gateway.send(track("Product Viewed", 9, userId=f"{name} {RARE}"))
    await merge(gateway, key, {"userId": f"ann {RARE}"}, {"userId": f"lee {RARE}"})
    await merge(gateway, key, {"userId": f"ann {RARE}"}, {"userId": f"kim {RARE}"})
    await split(gateway, key, {"userId": f"ann {RARE}"}, ("USER_ID", f"kim {RARE}"))
    receipt = await erased(gateway, key, {"userId": f"lee {RARE}"})
    assert receipt["identityCount"] == 2
    kim = (await gateway.ask(USER, key, by={"userId": f"kim {RARE}"}))["user"]
    assert (kim["eventCount"], [one["value"] for one in kim["identities"]]) == (1, [f"kim {RARE}"])
    for gone in ("ann", "lee"):
        assert await found_in(gateway.database, f"{gone} {RARE}") == {}
    assert await judged(gateway, track("A", 1, userId=f"ann {RARE}")) == ["refused"]


async def test_who_shares_a_device_with_an_erased_user_stays(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(
        identify(9, anonymousId="kiosk", userId="ann"),
        identify(8, anonymousId="kiosk", userId="lee"),
        track("Product Viewed", 7, userId="lee", anonymousId="kiosk"),
    )
    await erased(gateway, key, {"userId": "ann"})
    lee = (await gateway.ask(USER, key, by={"userId": "lee"}))["user"]
    assert (lee["eventCount"], lee["identities"]) == (2, [{"value": "lee"}])
    # Saying it again does not bring the erased device back.
    await gateway.send(identify(1, anonymousId="kiosk", userId="lee"))
    lee = (await gateway.ask(USER, key, by={"userId": "lee"}))["user"]
    assert (lee["eventCount"], lee["identities"]) == (3, [{"value": "lee"}])


async def test_a_name_that_only_an_erased_user_gave_is_given_back(gateway: Gateway) -> None:
    """The tablet was first mentioned by ann; without her it is mentioned by lee's own event, which names lee."""
    key = await gateway.api_key()
    await gateway.send(identify(9, anonymousId="tablet", userId="ann"))
    await split(gateway, key, {"userId": "ann"}, ("ANONYMOUS_ID", "tablet"))
    await gateway.send(identify(5, anonymousId="tablet", userId="lee"))
    lee = (await gateway.ask(USER, key, by={"userId": "lee"}))["user"]
    assert lee["id"] == user_of(anonymousId="tablet")
    await erased(gateway, key, {"userId": "ann"})
    now = (await gateway.ask(USER, key, by={"userId": "lee"}))["user"]
    assert (now["id"], now["eventCount"]) == (user_of(userId="lee"), 1)
    assert (await gateway.ask(USER, key, by={"id": lee["id"]}))["user"]["id"] == now["id"]
    assert await gateway.database.count("merges", {"kind": "split"}) == 0


async def test_what_slips_past_an_intake_is_never_derived_and_goes(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("A", 3, userId=f"ann {RARE}"))
    # Another process that has not looked yet.
    elsewhere = Intake(
        gateway.events,
        gateway.quarantine,
        gateway.clock,
        accounts=Accounts(gateway.accounting, gateway.clock),
        privacy=Privacy(gateway.database, gateway.clock),
    )
    found = await erase(gateway, key, {"userId": f"ann {RARE}"})
    slipped = [track(f"B {RARE}", 2, userId=f"ann {RARE}"), {"type": "nonsense", "userId": f"ann {RARE}"}]
    assert await judged(gateway, slipped[0], intake=elsewhere) == ["accepted"]
    await gateway.derive()
    assert await found_in(gateway.database, f"B {RARE}") == {}
    assert gateway._lease is not None
    await gateway.deriver.erase_due(gateway._lease, gateway.clock.at)
    assert await judged(gateway, *slipped, intake=elsewhere) == ["accepted", "quarantined"]
    await gateway.derive()
    await finish(gateway)
    assert await found_in(gateway.database, RARE) == {}
    receipt = (await gateway.ask(RECEIPT, key, id=found["erasure"]["id"]))["erasure"]
    assert (receipt["status"], lines(receipt)["events"], lines(receipt)["quarantine"]) == ("DONE", 3, 1)


async def test_an_erasure_whose_event_never_came_is_done_all_the_same(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("A", 3, userId=RARE))
    await erase(gateway, key, {"userId": RARE})
    await gateway.database.delete_many("events", {"type": "erase"})
    assert gateway._lease is not None
    await gateway.deriver.erase_due(gateway._lease, gateway.clock.at)
    assert await gateway.database.count("identities", {}) == 1, "the event may still be on its way"
    gateway.clock.advance(11_000)
    await gateway.deriver.erase_due(gateway._lease, gateway.clock.at)
    assert await found_in(gateway.database, "A'") == {}
    await finish(gateway)
    assert await found_in(gateway.database, RARE) == {}


async def test_a_rebuild_brings_nothing_back(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("Product Viewed", 9, userId="lee"), track("Product Viewed", 8, userId="ann"))
    await erased(gateway, key, {"userId": "ann"})
    kept = {name: await gateway.database.find(name, {}) for name in ("sessions", "journeys", "identities", "rollups")}
    rebuilder = Rebuilder(Rebuilds(gateway.database), gateway.users, gateway.clock)
    rebuild = asyncio.create_task(rebuilder.everybody(WORKSPACE, lambda total, done: None))
    while not rebuild.done():
        assert gateway._lease is not None
        await gateway.deriver._sweep(gateway._lease)
        await asyncio.sleep(0.05)
    assert (await rebuild).users == 1
    assert {name: await gateway.database.find(name, {}) for name in kept} == kept
    assert (await gateway.ask("{ users { nodes { eventCount } } }", key))["users"]["nodes"] == [{"eventCount": 1}]


async def test_running_subscriptions_of_an_erased_user_end(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("A", 3, userId="ann"))
    async with gateway.socket(gateway.token(userId="ann")) as own, gateway.socket(key) as tool:
        await started(own, EVENTS)
        await started(tool, EVENTS, "ann", filter={"user": {"userId": "ann"}})
        await started(tool, EVENTS, "lee", filter={"user": {"userId": "lee"}})
        await erase(gateway, key, {"userId": "ann"})
        ended = await own.receive()
        assert ended["type"] == "next"
        assert ended["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert await tool.receive() == {"type": "complete", "id": "ann"}
        await gateway.send(track("B", 1, userId="lee"))
        assert await event_names(tool, 1) == ["B"]
        await tool.subscribe(EVENTS, "again", filter={"user": {"userId": "ann"}})
        assert await tool.receive() == {"type": "complete", "id": "again"}
    refused = await gateway.post({"query": "{ me { id } }"}, gateway.token(userId="ann"))
    assert refused.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_suppression_ends_only_when_somebody_says_so(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("A", 3, userId="ann"))
    named = {"identities": [{"type": "USER_ID", "value": "ann"}]}
    await erase(gateway, key, {"userId": "ann"})
    assert (await gateway.ask(LIFT, key, input=named))["liftSuppression"]["errors"] == [{"code": "ERASURE_RUNNING"}]
    await finish(gateway)
    assert (await gateway.ask(LIFT, key, input=named))["liftSuppression"] == {"lifted": 1, "errors": []}
    assert (await gateway.ask(LIFT, key, input=named))["liftSuppression"]["lifted"] == 0
    await gateway.send(track("B", 1, userId="ann"))
    assert (await gateway.ask(USER, key, by={"userId": "ann"}))["user"]["eventCount"] == 1
    # And another process hears of it, as of every change before.
    elsewhere = Privacy(gateway.database, gateway.clock)
    await elsewhere.look()
    assert not elsewhere.suppressed


# -- consent ------------------------------------------------------------------------------------------------------


async def say(gateway: Gateway, credential: str, **input: Any) -> Json:
    payload: Json = (await gateway.ask(CONSENT, credential, input={"source": "banner", **input}))["setConsent"]
    await gateway.derive()
    return payload


async def stamps(gateway: Gateway, key: str) -> dict[str, Any]:
    nodes = (await gateway.ask("{ events { nodes { name consent { purpose state } } } }", key))["events"]["nodes"]
    return {
        node["name"]: node["consent"] and {one["purpose"]: one["state"] for one in node["consent"]} for node in nodes
    }


async def test_events_are_stamped_with_what_was_said_by_then(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(track("before", userId="ann"))
    said = await say(gateway, key, user={"userId": "ann"}, purposes={"analytics": "GRANTED", "marketing": "DENIED"})
    assert [(one["purpose"], one["state"], one["source"]) for one in said["consents"]] == [
        ("ANALYTICS", "GRANTED", "banner"),
        ("MARKETING", "DENIED", "banner"),
    ]
    await gateway.send(track("after", userId="ann"), track("another", userId="lee"))
    gateway.clock.advance(5_000)
    await say(gateway, key, identity={"type": "USER_ID", "value": "ann"}, purposes={"analytics": "DENIED"})
    await gateway.send(track("denied", userId="ann"))
    assert await stamps(gateway, key) == {
        "before": None,
        "another": None,
        "after": {"ANALYTICS": "GRANTED", "MARKETING": "DENIED"},
        "denied": {"ANALYTICS": "DENIED", "MARKETING": "DENIED"},
    }
    user = (await gateway.ask(USER, key, by={"userId": "ann"}))["user"]
    assert [(one["purpose"], one["state"]) for one in user["consents"]] == [
        ("ANALYTICS", "DENIED"),
        ("MARKETING", "DENIED"),
    ]
    assert user["eventCount"] == 3, "what is said of consent is no event of theirs"
    # A process that heard nothing reads what is stored.
    other = await Privacy(gateway.database, gateway.clock).consented.stamps(WORKSPACE, ["u:ann", "u:lee"])
    assert other == {"u:ann": {"analytics": False, "marketing": False}}


async def test_a_users_own_token_speaks_for_all_their_identities(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await gateway.send(identify(3, userId="ann", anonymousId="phone"))
    token = gateway.token(userId="ann")
    await say(gateway, token, purposes={"sharing": "DENIED"})
    await gateway.send(track("on the phone", anonymousId="phone"))
    assert (await stamps(gateway, key))["on the phone"] == {"SHARING": "DENIED"}
    other = await say(gateway, token, purposes={"sharing": "GRANTED"}, user={"userId": "lee"})
    assert other["errors"][0]["code"] == "OTHER_IDENTITY"
    # Before the first event, too.
    await say(gateway, gateway.token(anonymousId="new"), purposes={"analytics": "DENIED"})
    await gateway.send(track("first", anonymousId="new"))
    assert (await stamps(gateway, key))["first"] == {"ANALYTICS": "DENIED"}


@pytest.mark.parametrize(
    ("input", "code"),
    [
        ({"purposes": {"analytics": "GRANTED"}}, "NO_IDENTITY"),
        ({"user": {"userId": "ann"}, "purposes": {}}, "NOTHING_SAID"),
        ({"user": {"userId": "ann"}, "purposes": {"analytics": "DENIED"}, "source": " "}, "SOURCE"),
        ({"user": {"id": "user_" + "0" * 32}, "purposes": {"analytics": "DENIED"}}, "UNKNOWN_USER"),
        ({"user": {"anonymousId": "null"}, "purposes": {"analytics": "DENIED"}}, "NOBODY"),
    ],
)
async def test_consent_that_cannot_be_taken_is_told(gateway: Gateway, input: Json, code: str) -> None:
    said = await say(gateway, await gateway.api_key(), **input)
    assert [error["code"] for error in said["errors"]] == [code]
    assert await gateway.database.count("events", {}) == 0


async def test_erased_people_are_asked_nothing(gateway: Gateway) -> None:
    key = await gateway.api_key()
    await erased(gateway, key, {"userId": "ann"})
    said = await say(gateway, key, user={"userId": "ann"}, purposes={"analytics": "GRANTED"})
    assert said["errors"][0]["code"] == "SUPPRESSED"


async def test_whether_an_event_may_be_used(gateway: Gateway) -> None:
    key = await gateway.api_key()

    async def allowed(purpose: str) -> dict[str, bool]:
        rows = await gateway.events.page(Scope.system(WORKSPACE), limit=100)
        return {event.name: await gateway.privacy.allows(event, purpose) for event in rows}  # type: ignore[arg-type]

    await gateway.send(track("unsaid", userId="ann"), identify(9, userId="ann", anonymousId="phone"))
    assert (await allowed("analytics"))["unsaid"] is True
    strict = Privacy(gateway.database, gateway.clock, unsaid=False)
    (event,) = await gateway.events.page(Scope.system(WORKSPACE), limit=1, names=["unsaid"])
    assert await strict.allows(event, "analytics") is False
    gateway.clock.advance(1_000)
    await say(gateway, key, identity={"type": "ANONYMOUS_ID", "value": "phone"}, purposes={"analytics": "DENIED"})
    assert (await allowed("analytics"))["unsaid"] is False, "it was denied since, under another identity of the user"
    assert (await allowed("marketing"))["unsaid"] is True
    await gateway.send(track("denied", anonymousId="phone"))
    gateway.clock.advance(1_000)
    await say(gateway, key, user={"userId": "ann"}, purposes={"analytics": "GRANTED"})
    now = await allowed("analytics")
    assert (now["unsaid"], now["denied"]) == (True, False), "a consent does not reach back to what was denied then"
    await erase(gateway, key, {"userId": "ann"})
    assert not any([await gateway.privacy.allows(event, purpose) for purpose in PURPOSES])


async def test_a_subscription_for_a_purpose_tells_only_what_is_allowed(gateway: Gateway) -> None:
    context = Context(gateway.services)
    await context.admit(await gateway.api_key())
    heard: list[str | None] = []
    begun = asyncio.Event()

    async def listen() -> None:
        async for news in follow(context, "event", None, None, purpose="marketing"):
            heard.append(None if news.row is None else news.row["name"])
            begun.set()
            if len(heard) == 4:
                return

    await say(gateway, await gateway.api_key(), user={"userId": "ann"}, purposes={"marketing": "DENIED"})
    listening = asyncio.create_task(listen())
    await begun.wait()
    await gateway.send(track("one", 2, userId="lee"), track("two", 1, userId="ann"), track("three", userId="lee"))
    async with asyncio.timeout(30):
        await listening
    assert sorted(name for name in heard if name) == ["one", "three"]
    assert heard.count(None) == 2


async def test_nothing_is_asked_of_mongodb_where_nobody_said_anything(gateway: Gateway) -> None:
    await gateway.send(track("A", 2, userId="ann"))
    consents = gateway.privacy.consents

    async def fail(*given: object, **more: object) -> Any:
        raise AssertionError("asked")

    consents.of = consents.there_are = fail  # type: ignore[method-assign]
    gateway.privacy.suppressions.among = fail  # type: ignore[method-assign]
    await gateway.send(track("B", 1, userId="ann"), derive=False)


async def test_nobody_can_send_what_the_gateway_says(gateway: Gateway) -> None:
    for kind in ("erase", "consent"):
        message = {"type": kind, "userId": "ann", "properties": {"purposes": {"analytics": True}}}
        assert await judged(gateway, message) == ["quarantined"]
