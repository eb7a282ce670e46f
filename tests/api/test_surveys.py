"""Surveys through the API: what is offered next and why, answered once, and counted apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.contract import Contract
from gateway.model.scope import Scope
from gateway.store.database import Database
from tests.api.gateway_api import Gateway, Json, track
from tests.api.survey_files import CES, CSAT, NPS, asking

DAY = 24 * 60
NEXT = """query($touchpoint: ID, $page: PageInput, $language: String) { me { nextSurvey(
  touchpoint: $touchpoint, page: $page, language: $language) {
  offer because waiting { kind seconds path }
  survey { key variant anonymous questions { key kind text required multiple maxLength
    scale { lowest highest } options { key text } next { op value go } } } } } }"""
GROUNDS = """query($user: UserBy!) { user(by: $user) { nextSurvey { survey { key } grounds { survey code text } } } }"""
SUBMIT = """mutation($input: SubmitResponseInput!) { submitResponse(input: $input) {
  stored known responseId consistencyToken errors { code path message hint } } }"""
DISPLAY = """mutation($input: RecordSurveyDisplayInput!) { recordSurveyDisplay(input: $input) {
  stored known errors { code message } } }"""
DISMISS = """mutation($input: DismissSurveyInput!) { dismissSurvey(input: $input) {
  stored known errors { code message } } }"""


async def gateway_of(database: Database, contract: Contract) -> AsyncIterator[Gateway]:
    gateway = Gateway(database, contract)
    await gateway.prepare()
    await gateway.hub.start()
    yield gateway
    await gateway.hub.stop()
    await gateway.close()


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Gateway]:
    """A gateway that asks three surveys."""
    async for gateway in gateway_of(database, asking(CSAT, NPS, CES)):
        yield gateway


def ordered(minutes: float = 5, user: str = "ada") -> list[Json]:
    return [
        track("Product Viewed", minutes + 3, userId=user),
        track("Checkout Started", minutes + 1, userId=user),
        track("Order Completed", minutes, userId=user),
    ]


async def next_of(gateway: Gateway, user: str = "ada", **more: Any) -> Json:
    found = await gateway.ask(NEXT, gateway.token(userId=user), **more)
    offer: Json = found["me"]["nextSurvey"]
    return offer


async def grounds_of(gateway: Gateway, user: str = "ada") -> dict[str, set[str]]:
    found = await gateway.ask(GROUNDS, await gateway.api_key(), user={"userId": user})
    said: dict[str, set[str]] = {}
    for one in found["user"]["nextSurvey"]["grounds"]:
        said.setdefault(one["survey"], set()).add(one["code"])
    return said


async def submit(gateway: Gateway, offer: str, *answers: tuple[str, Any], user: str = "ada", **more: Any) -> Json:
    given = [{"question": key, "value": value} for key, value in answers]
    found = await gateway.ask(SUBMIT, gateway.token(userId=user), input={"offer": offer, "answers": given, **more})
    payload: Json = found["submitResponse"]
    return payload


async def test_whoever_has_just_bought_is_asked_and_told_why(shop: Gateway) -> None:
    await shop.send(*ordered())
    offer = await next_of(shop, language="de")
    assert offer["because"] == "The stage purchased of purchase was entered at 2026-11-21 09:55 UTC."
    survey = offer["survey"]
    assert (survey["key"], survey["variant"], survey["anonymous"]) == ("csat", None, False)
    first, reason, comment = survey["questions"]
    assert first == {
        "key": "satisfaction",
        "kind": "CSAT",
        "text": "Wie zufrieden sind Sie?",
        "required": True,
        "multiple": False,
        "maxLength": None,
        "scale": {"lowest": 1, "highest": 5},
        "options": [],
        "next": [{"op": "gte", "value": 4, "go": None}],
    }
    assert reason["options"] == [{"key": "paying", "text": "Bezahlen"}, {"key": "delivery", "text": "Lieferung"}]
    assert comment["maxLength"] == 200
    assert await next_of(shop, language="de") == offer, "asking changes nothing"


async def test_who_goes_on_looking_is_asked_about_the_purchase_all_the_same(shop: Gateway) -> None:
    """The next run through the map has begun, and is the latest."""
    await shop.send(*ordered(), track("Product Viewed", 2, userId="ada"))
    assert (await next_of(shop))["because"] == "The stage purchased of purchase was entered at 2026-11-21 09:55 UTC."


async def test_once_it_was_shown_its_clock_runs(shop: Gateway) -> None:
    await shop.send(*ordered())
    offer = (await next_of(shop))["offer"]
    for known in (False, True):
        found = await shop.ask(DISPLAY, shop.token(userId="ada"), input={"offer": offer, "touchpoint": "thank_you"})
        assert found["recordSurveyDisplay"] == {"stored": True, "known": known, "errors": []}
    # At once, before anything is derived.
    again = await next_of(shop)
    assert (again["survey"], again["offer"], again["because"]) == (None, None, "There is nothing to ask now.")
    assert {"CLOCK", "PAUSE"} <= (await grounds_of(shop))["csat"]
    shop.clock.advance(25 * 3600 * 1000)
    assert (await next_of(shop))["survey"] is None, "nothing new has happened"
    await shop.send(*ordered(-25 * 60 + 1))
    assert (await next_of(shop))["survey"] is None, "frequent surveys may not fill the cap"
    assert (await grounds_of(shop))["csat"] == {"CAP"}


async def test_a_response_is_stored_with_what_was_known_of_the_person_then(shop: Gateway) -> None:
    await shop.send(
        {
            "type": "identify",
            "userId": "ada",
            "traits": {"plan": "plus", "email": "ada@x.example", "odd": 1},
            "timestamp": "2026-11-21T09:00:00Z",
        },
        *ordered(),
    )
    offer = (await next_of(shop))["offer"]
    done = await submit(
        shop, offer, ("satisfaction", 2), ("reason", ["paying"]), ("comment", "<b>slow</b>"), touchpoint="thank_you"
    )
    assert (done["stored"], done["known"], done["errors"]) == (True, False, [])
    await shop.derive()
    node = await shop.ask(
        """query($id: ID!) { node(id: $id) { ... on SurveyResponse { survey source complete
           touchpoint score comment variant answers { question value kind text } stages } } }""",
        await shop.api_key(),
        id=done["responseId"],
    )
    found = node["node"]
    ((_, event),) = (await shop.events.get(Scope.system("main"), [bytes.fromhex(done["responseId"][9:])])).items()
    properties = event.properties
    assert found == {
        "survey": "csat",
        "source": "gateway",
        "complete": True,
        "touchpoint": "thank_you",
        "score": 2,
        "comment": "<b>slow</b>",
        "variant": None,
        "stages": ["purchase/purchased"],
        "answers": [
            {"question": "satisfaction", "value": 2, "kind": "csat", "text": "How satisfied are you?"},
            {"question": "reason", "value": ["paying"], "kind": "choice", "text": "What was it?"},
            {"question": "comment", "value": "<b>slow</b>", "kind": "text", "text": "What could be better?"},
        ],
    }
    assert properties["journey"] == {"purchase": "purchased"}
    assert properties["traits"] == {"plan": "plus"}
    assert isinstance(properties["segments"], list)
    # Whatever follows changes nothing of it.
    assert (await next_of(shop))["survey"] is None


async def test_an_offer_takes_one_response(shop: Gateway) -> None:
    await shop.send(*ordered())
    offer = (await next_of(shop))["offer"]
    first = await submit(shop, offer, ("satisfaction", 5))
    # Sent again after the person's state has changed.
    await shop.send(track("Product Added", -1, userId="ada"))
    again = await submit(shop, offer, ("satisfaction", 5))
    assert (again["stored"], again["known"], again["responseId"]) == (True, True, first["responseId"])
    other = await submit(shop, offer, ("satisfaction", 1))
    assert [one["code"] for one in other["errors"]] == ["ALREADY_ANSWERED"]
    found = await shop.ask("{ me { responses { nodes { score } } } }", shop.token(userId="ada"))
    assert found["me"]["responses"]["nodes"] == [{"score": 5}]


@pytest.mark.parametrize(
    ("answers", "code", "hint"),
    [
        ([("satisfaction", 6)], "OFF_SCALE", "Send a whole number from 1 to 5."),
        ([("satisfaction", 2.5)], "OFF_SCALE", "Send a whole number from 1 to 5."),
        ([("satisfaction", True)], "OFF_SCALE", "Send a whole number from 1 to 5."),
        ([("satisfaction", "5")], "OFF_SCALE", "Send a whole number from 1 to 5."),
        ([("satisfactoin", 5)], "UNKNOWN_QUESTION", "did you mean 'satisfaction'?"),
        ([("satisfaction", 2), ("satisfaction", 5)], "ANSWERED_TWICE", "Send one of them."),
        ([("satisfaction", 2), ("reason", ["payng"])], "NOT_A_CHOICE", "did you mean 'paying'?"),
        ([("satisfaction", 2), ("reason", [])], "NOT_A_CHOICE", "Send one of paying, delivery."),
        ([("satisfaction", 2), ("reason", [["paying"]])], "NOT_A_CHOICE", "Send one of paying, delivery."),
        ([("satisfaction", 2), ("comment", "x" * 201)], "TOO_LONG", "Shorten it."),
        ([("satisfaction", 2), ("comment", "x" * 100_000)], "TOO_LONG", "Shorten it."),
        ([("satisfaction", 2), ("comment", {"a": 1})], "NOT_TEXT", "Send a text."),
        ([("reason", ["paying"])], "MISSING_ANSWER", "Answer it, or send `complete: false`."),
        ([], "NO_ANSWERS", "Send some, or `dismissSurvey`."),
        ([(f"q{number}", 1) for number in range(21)], "TOO_MANY_ANSWERS", "Send one answer to each question."),
    ],
)
async def test_what_is_no_answer_is_told_and_not_stored(
    shop: Gateway, answers: list[tuple[str, Any]], code: str, hint: str
) -> None:
    await shop.send(*ordered())
    offer = (await next_of(shop))["offer"]
    found = await submit(shop, offer, *answers)
    told = [(one["code"], one["hint"]) for one in found["errors"]]
    assert (code, hint) in told or (code == "NO_ANSWERS" and told[0][0] == "MISSING_ANSWER"), found
    assert found["stored"] is False
    assert (await next_of(shop))["offer"] == offer, "nothing was stored"


async def test_an_offer_is_for_one_person_and_cannot_be_made_up(shop: Gateway) -> None:
    await shop.send(*ordered(), *ordered(user="lee"))
    offer = (await next_of(shop))["offer"]
    body, signature = offer.split(".")
    for forged in ("", "x", "a.b.c", offer[:-1] + ("A" if offer[-1] != "A" else "B"), f"{body}x.{signature}"):
        found = await submit(shop, forged, ("satisfaction", 5))
        assert [one["code"] for one in found["errors"]] == ["NO_OFFER"], forged
    stolen = await submit(shop, offer, ("satisfaction", 5), user="lee")
    assert [one["code"] for one in stolen["errors"]] == ["OTHER_USER"]
    given = {"survey": "csat", "responseId": "1", "answers": []}
    without = await shop.ask(SUBMIT, shop.token(userId="ada"), input=given)
    assert [one["code"] for one in without["submitResponse"]["errors"]] == ["NO_OFFER"]


async def test_an_offer_holds_through_signing_in(shop: Gateway) -> None:
    await shop.send(*[{**one, "userId": None, "anonymousId": "visitor-7"} for one in ordered()])
    found = await shop.ask(NEXT, shop.token(anonymousId="visitor-7"))
    offer = found["me"]["nextSurvey"]["offer"]
    await shop.send({"type": "identify", "userId": "ada", "anonymousId": "visitor-7"})
    done = await submit(shop, offer, ("satisfaction", 4))
    assert done["stored"] is True, done


async def test_partial_answers_and_dismissals_are_counted_apart(shop: Gateway) -> None:
    await shop.send(*ordered())
    offer = (await next_of(shop))["offer"]
    part = await submit(shop, offer, ("satisfaction", 2), complete=False)
    assert (part["stored"], part["responseId"]) == (True, None)
    left = await shop.ask(DISMISS, shop.token(userId="ada"), input={"offer": offer, "question": "reason"})
    assert left["dismissSurvey"] == {"stored": True, "known": False, "errors": []}
    await shop.derive()
    names = "{ me { events { nodes { name } } responses { nodes { id } } } }"
    found = (await shop.ask(names, shop.token(userId="ada")))["me"]
    assert found["responses"]["nodes"] == [], "no response, so that it is in no score"
    assert {"Survey Question Answered", "Survey Dismissed"} <= {one["name"] for one in found["events"]["nodes"]}


async def test_what_happens_on_the_page_brings_up_what_waits_for_it(shop: Gateway) -> None:
    await shop.send(track("Page Viewed", 2, userId="ada"))
    waiting = await next_of(shop, touchpoint="help")
    assert waiting["survey"] is None
    assert waiting["waiting"] == [
        {"kind": "EXIT_INTENT", "seconds": None, "path": "/checkout*"},
        {"kind": "TIME_ON_PAGE", "seconds": 30, "path": "/help"},
    ]
    assert (await next_of(shop))["waiting"] == [], "elsewhere it is not asked"
    early = await next_of(shop, touchpoint="help", page={"path": "/help", "seconds": 29})
    assert (early["survey"], [one["kind"] for one in early["waiting"]]) == (None, ["TIME_ON_PAGE"])
    late = await next_of(shop, touchpoint="help", page={"path": "/help", "seconds": 30})
    assert (late["survey"]["key"], late["because"]) == ("ces", "30 s on this page.")
    leaving = await next_of(shop, touchpoint="help", page={"path": "/checkout/pay", "leaving": True})
    assert leaving["because"] == "About to leave this page."


async def test_who_does_not_want_to_be_asked_is_not(shop: Gateway) -> None:
    await shop.send(*ordered())
    said = "mutation($input: SetConsentInput!) { setConsent(input: $input) { errors { message } } }"
    await shop.ask(said, shop.token(userId="ada"), input={"purposes": {"surveys": "DENIED"}, "source": "x"})
    await shop.derive()
    assert (await next_of(shop))["survey"] is None
    assert "CONSENT" in (await grounds_of(shop))["csat"]


async def test_a_server_answers_for_a_user_without_an_offer(shop: Gateway) -> None:
    await shop.send(track("View", 1, userId="ada"))
    key = await shop.api_key()
    answers = [{"question": "recommend", "value": 9}]
    given = {"survey": "nps", "responseId": "mail-1", "userId": "ada", "answers": answers}
    for known in (False, True):
        found = (await shop.ask(SUBMIT, key, input=given))["submitResponse"]
        assert (found["stored"], found["known"], found["errors"]) == (True, known, [])
    wrong = (await shop.ask(SUBMIT, key, input=given | {"survey": "npss"}))["submitResponse"]
    assert [(one["code"], one["hint"]) for one in wrong["errors"]] == [("UNKNOWN_SURVEY", "did you mean 'nps'?")]
