"""The published SDKs of Mixpanel, PostHog and Amplitude for Python, unchanged, against a running gateway."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.pipeline.committing import GroupCommit
from gateway.store.database import InsertOutcome
from tests.flow.people import person, stored
from tests.flow.served import Served, serve
from tests.pace import PATIENCE

TABLE = "SDK"
THEN = datetime(2024, 3, 13, 10, 21, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
async def gateway(mongo_uri: str) -> AsyncIterator[Served]:
    """One gateway for all tests of the module; each has users of its own."""
    async with serve(mongo_uri) as one:
        yield one


def url_of(gateway: Served) -> str:
    return f"http://127.0.0.1:{gateway.port}"


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Status of every HTTP answer the `requests` library gets."""
    import requests

    seen: list[int] = []
    send = requests.Session.send

    def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = send(self, *arguments, **options)
        seen.append(answer.status_code)
        return answer

    monkeypatch.setattr(requests.Session, "send", counted)
    return seen


# -- Mixpanel ---------------------------------------------------------------------------------------------------------


def mixpanel_client(gateway: Served, *, key: str | None = None, buffered: bool = False, **options: Any) -> Any:
    from mixpanel import BufferedConsumer, Consumer, Mixpanel

    paths = {"events_url": "track", "people_url": "engage", "groups_url": "groups", "import_url": "import"}
    urls = {option: f"{url_of(gateway)}/{path}" for option, path in paths.items()}
    consumer = (BufferedConsumer if buffered else Consumer)(**urls, **options)
    return Mixpanel(key or gateway.write_key, consumer=consumer)


@pytest.mark.matrix(TABLE, "pypi:mixpanel", "track", "page", "identify", "group", "alias")
async def test_mixpanel(gateway: Served) -> None:
    from mixpanel import ServiceAccountCredentials

    client = mixpanel_client(gateway)

    def send() -> None:
        client.track("$device:mix-device", "Product List Viewed", {"category": "lamps"})
        client.track("mix", "$identify", {"$identified_id": "mix", "$anon_id": "$device:mix-device"})
        client.track("mix", "Product Added", {"price": 39.5, "$os": "iOS", "nested": {"a.b": 1}})
        client.track(
            "mix", "$mp_web_page_view", {"current_page_title": "Lamps", "$current_url": "https://shop.example/"}
        )
        client.import_data(None, "mix", "Signed Up", THEN.timestamp(), {"via": "form"}, api_secret=gateway.write_key)
        client.people_set("mix", {"$email": "mix@shop.example", "plan": "pro"})
        client.people_set_once("mix", {"plan": "free", "first": "ad"})
        client.people_increment("mix", {"orders": 1})
        client.people_append("mix", {"seen": "lamp"})
        client.people_union("mix", {"seen": ["lamp"]})
        client.people_remove("mix", {"seen": "lamp"})
        client.people_track_charge("mix", 39.5)
        client.people_unset("mix", ["first"])
        client.people_delete("mix")
        # Mixpanel.alias() always calls Mixpanel itself; this is what it sends.
        client.track("$device:mix-phone", "$create_alias", {"alias": "mix"})
        credentials = ServiceAccountCredentials("reporting", gateway.write_key, "1")
        imports = mixpanel_client(gateway, credentials=credentials)
        imports.merge(None, "mix", "$device:mix-tablet")
        client.group_set("company", "acme", {"size": 4})
        client.group_union("company", "acme", {"tags": ["a"]})

    await asyncio.to_thread(send)
    user = await person(gateway, "mix", 16)
    assert user.identities == {"mix", "mix-device", "mix-phone", "mix-tablet"}
    assert user.traits == {"email": "mix@shop.example", "plan": "pro", "first": None}
    listed, added = user.event("Product List Viewed"), user.event("Product Added")
    assert (listed.user_id, listed.anonymous_id, listed.properties) == (None, "mix-device", {"category": "lamps"})
    assert added.properties == {"price": 39.5, "nested": {"a.b": 1}}
    assert added.context["os"] == {"name": "iOS"}
    assert (added.client["library"], len(added.message_id)) == ("mixpanel-python", 32)
    assert user.event("Lamps").type == "page"
    signed_up = user.event("Signed Up")
    assert (signed_up.at, signed_up.properties) == (THEN.timestamp() * 1000, {"via": "form"})
    kept = [event.properties for event in user.events if event.type == "identify"]
    assert {"$add": {"orders": 1}} in kept
    assert {"$append": {"seen": "lamp"}} in kept
    assert {"$delete": ""} in kept
    groups = [event for event in await stored(gateway) if event.anonymous_id == "$company_acme"]
    assert [(event.group_id, event.traits) for event in groups] == [("acme", {"size": 4}), ("acme", {})]
    assert groups[1].properties["$union"] == {"tags": ["a"]}


@pytest.mark.matrix(TABLE, "pypi:mixpanel", "batch")
async def test_mixpanel_in_batches(gateway: Served, statuses: list[int]) -> None:
    client = mixpanel_client(gateway, buffered=True)

    def send() -> None:
        for number in range(250):
            client.track("mix-batch", f"Event {number % 3}", {"number": number})
        for _ in range(3):
            client.import_data(None, "mix-batch", "Imported", THEN.timestamp(), api_secret=gateway.write_key)
        client._consumer.flush()

    await asyncio.to_thread(send)
    assert statuses == [200] * 6
    await person(gateway, "mix-batch", 253)


@pytest.mark.matrix(TABLE, "pypi:mixpanel", "unknown key")
async def test_mixpanel_hears_that_its_key_is_unknown(gateway: Served, statuses: list[int]) -> None:
    from mixpanel import MixpanelException

    with pytest.raises(MixpanelException, match="The write key is not known"):
        await asyncio.to_thread(mixpanel_client(gateway, key="wk_nobody").track, "ada", "x")
    assert statuses == [401]


# -- PostHog ----------------------------------------------------------------------------------------------------------


def posthog_client(gateway: Served, *, key: str | None = None, **options: Any) -> Any:
    from posthog import Posthog

    return Posthog(key or gateway.write_key, host=url_of(gateway), **options)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"gzip": True}, {"capture_mode": "v1"}], ids=["plain", "gzip", "v1"])
@pytest.mark.matrix(TABLE, "pypi:posthog", "track", "page", "screen", "identify", "group", "alias", "flags")
async def test_posthog(gateway: Served, options: dict[str, Any], request: pytest.FixtureRequest) -> None:
    user_id = f"hog-{request.node.callspec.id}"
    failures: list[Any] = []
    client = posthog_client(gateway, on_error=lambda error, items: failures.append(error), **options)

    def send() -> dict[str, Any]:
        client.capture(
            "Product List Viewed", distinct_id=f"{user_id}-device", properties={"$process_person_profile": False}
        )
        client.capture(
            "$identify",
            distinct_id=user_id,
            properties={"$anon_distinct_id": f"{user_id}-device", "$set": {"$name": "Hog"}},
        )
        client.capture("Product Added", distinct_id=user_id, properties={"price": 39.5, "$set": {"plan": "pro"}})
        client.capture("Signed Up", distinct_id=user_id, timestamp=THEN, uuid=uuid.uuid4())
        client.capture("$pageview", distinct_id=user_id, properties={"$current_url": "https://x/", "title": "Lamps"})
        client.capture("$screen", distinct_id=user_id, properties={"$screen_name": "Cart"})
        client.set(distinct_id=user_id, properties={"email": "hog@shop.example"})
        client.set_once(distinct_id=user_id, properties={"email": "later@shop.example", "first": "ad"})
        client.group_identify("company", "acme", {"size": 4}, distinct_id=user_id)
        client.alias(f"{user_id}-phone", user_id)
        flags: dict[str, Any] = client.get_all_flags(user_id)
        client.flush()
        client.shutdown()
        return flags

    assert await asyncio.to_thread(send) == {}
    assert failures == []
    user = await person(gateway, user_id, 10)
    assert user.identities == {user_id, f"{user_id}-device", f"{user_id}-phone"}
    assert user.traits == {"name": "Hog", "plan": "pro", "email": "hog@shop.example", "first": "ad"}
    assert user.event("Product List Viewed").anonymous_id == f"{user_id}-device"
    added = user.event("Product Added")
    assert added.properties["price"] == 39.5
    assert (added.client["library"], added.client["platform"]) == ("posthog-python", "server")
    assert user.event("Signed Up").at == THEN.timestamp() * 1000
    assert (user.event("Lamps").type, user.event("Cart").type) == ("page", "screen")
    assert (user.event("group").group_id, user.event("group").traits) == ("acme", {"size": 4})


@pytest.mark.matrix(TABLE, "pypi:posthog", "batch")
async def test_posthog_in_batches(gateway: Served, statuses: list[int]) -> None:
    client = posthog_client(gateway)

    def send() -> None:
        for number in range(250):
            client.capture("Product Viewed", distinct_id="hog-batch", properties={"number": number})
        client.shutdown()

    await asyncio.to_thread(send)
    assert set(statuses) == {200}
    assert len(statuses) <= 6
    await person(gateway, "hog-batch", 250)


@pytest.mark.matrix(TABLE, "pypi:posthog", "unknown key")
async def test_posthog_hears_that_its_key_is_unknown(gateway: Served, statuses: list[int]) -> None:
    failures: list[Any] = []
    client = posthog_client(gateway, key="wk_nobody", on_error=lambda error, items: failures.append(error))

    def send() -> None:
        client.capture("x", distinct_id="ada")
        client.shutdown()

    await asyncio.to_thread(send)
    assert statuses == [401], "sent once, not again"
    assert "The write key is not known" in str(failures[0])


# -- Amplitude --------------------------------------------------------------------------------------------------------


def amplitude_client(gateway: Served, answers: list[int], *, path: str = "/2/httpapi", key: str = "") -> Any:
    from amplitude import Amplitude, Config

    config = Config(
        server_url=url_of(gateway) + path,
        flush_interval_millis=50,
        min_id_length=1,
        callback=lambda event, code, message=None: answers.append(code),
    )
    return Amplitude(key or gateway.write_key, config)


@pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
@pytest.mark.matrix(TABLE, "pypi:amplitude-analytics", "track", "identify", "group")
async def test_amplitude(gateway: Served, path: str) -> None:
    from amplitude import BaseEvent, EventOptions, Identify, Revenue

    user_id = f"amp-{path.rpartition('/')[2]}"
    answers: list[int] = []
    client = amplitude_client(gateway, answers, path=path)

    def send() -> None:
        device = f"{user_id}-device"
        client.track(BaseEvent("Product List Viewed", device_id=device, event_properties={"category": "lamps"}))
        client.track(BaseEvent("Logged In", user_id=user_id, device_id=device, platform="iOS", app_version="2.1"))
        who = EventOptions(user_id=user_id)
        operations = Identify().set("plan", "pro").set_once("first", "ad").add("orders", 1).unset("old")
        client.identify(operations, EventOptions(user_id=user_id, device_id=f"{user_id}-phone"))
        client.identify(Identify().set_once("first", "mail"), who)
        client.track(
            BaseEvent("Signed Up", user_id=user_id, time=int(THEN.timestamp() * 1000), insert_id=f"{user_id}-1")
        )
        client.set_group("company", "acme", who)
        client.group_identify("company", "acme", Identify().set("size", 4), who)
        client.revenue(Revenue(price=39.5, quantity=2, product_id="lamp"), who)
        client.flush()
        client.shutdown()

    await asyncio.to_thread(send)
    assert answers == [200] * 8
    user = await person(gateway, user_id, 8)
    assert user.identities == {user_id, f"{user_id}-device", f"{user_id}-phone"}
    assert user.traits == {"plan": "pro", "first": "ad", "old": None, "company": "acme"}
    assert user.event("Product List Viewed").properties == {"category": "lamps"}
    logged_in = user.event("Logged In").client
    assert (logged_in["library"], logged_in["platform"], logged_in["appVersion"]) == ("amplitude-python", "ios", "2.1")
    signed_up = user.event("Signed Up")
    assert (signed_up.at, signed_up.message_id) == (THEN.timestamp() * 1000, f"{user_id}-1")
    assert (user.event("group").type, user.event("group").traits) == ("group", {"size": 4})
    assert user.event("revenue_amount").properties["$price"] == 39.5


@pytest.mark.matrix(TABLE, "pypi:amplitude-analytics", "batch")
async def test_amplitude_in_batches(gateway: Served) -> None:
    from amplitude import BaseEvent

    answers: list[int] = []
    client = amplitude_client(gateway, answers)

    def send() -> None:
        for number in range(250):
            client.track(BaseEvent("Product Viewed", user_id="amp-many", event_properties={"number": number}))
        client.flush()
        client.shutdown()

    await asyncio.to_thread(send)
    assert answers == [200] * 250
    await person(gateway, "amp-many", 250)


@pytest.mark.matrix(TABLE, "pypi:amplitude-analytics", "unknown key")
async def test_amplitude_hears_that_its_key_is_unknown(gateway: Served, caplog: pytest.LogCaptureFixture) -> None:
    from amplitude import BaseEvent

    answers: list[int] = []
    client = amplitude_client(gateway, answers, key="wk_nobody")

    def send() -> None:
        client.track(BaseEvent("x", user_id="ada"))
        client.flush()
        client.shutdown()

    await asyncio.to_thread(send)
    assert "Invalid API Key" in caplog.text, "said by the SDK, which sends nothing again"
    assert answers == []


# -- away -------------------------------------------------------------------------------------------------------------


@pytest.mark.matrix(TABLE, "pypi:posthog", "retry")
@pytest.mark.matrix(TABLE, "pypi:amplitude-analytics", "retry")
async def test_a_refusal_for_now_makes_them_come_again_and_nothing_is_lost(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events are stored the first time, but MongoDB does not confirm it in time: nothing may count twice either."""
    from amplitude import BaseEvent

    insert, unconfirmed = GroupCommit._insert, list[int]()

    async def confirmed_late(self: GroupCommit, documents: list[Any]) -> InsertOutcome:
        outcome = await insert(self, documents)
        if len(unconfirmed) < 3:
            unconfirmed.append(len(documents))
            raise Unavailable("MongoDB did not confirm the events in time.")
        return outcome

    monkeypatch.setattr(GroupCommit, "_insert", confirmed_late)
    answers: list[int] = []
    posthog, amplitude = posthog_client(gateway), amplitude_client(gateway, answers)

    def send() -> None:
        for number in range(30):
            posthog.capture("Product Viewed", distinct_id="hog-away", properties={"number": number})
            amplitude.track(BaseEvent("Product Viewed", user_id="amp-away", event_properties={"number": number}))
        posthog.shutdown()

    await asyncio.to_thread(send)
    async with asyncio.timeout(PATIENCE):
        while len(answers) < 30:  # noqa: ASYNC110 - an SDK's thread tells by a list
            await asyncio.sleep(0.1)
    await asyncio.to_thread(amplitude.shutdown)
    assert (len(unconfirmed), answers) == (3, [200] * 30)
    for user_id in ("hog-away", "amp-away"):
        user = await person(gateway, user_id, 30)
        assert sorted(event.properties["number"] for event in user.events) == list(range(30))


# -- Misfits ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_an_sdk_takes_a_warning_for_an_answer(mongo_uri: str, statuses: list[int]) -> None:
    """An event that is not as planned is delivered once, whatever is said of it: nothing fails, nothing comes again."""
    from amplitude import BaseEvent

    failures: list[Any] = []
    codes: list[int] = []
    async with serve(mongo_uri, validation="warn") as gateway:
        misfit = {"price": "39.50"}

        def send() -> None:
            mixpanel_client(gateway).track("mix", "Product Added", misfit)
            mixpanel_client(gateway).import_data(
                None, "mix", "Product Added", THEN.timestamp(), misfit, api_secret=gateway.write_key
            )
            for mode in ("v0", "v1"):
                options = {"capture_mode": "v1"} if mode == "v1" else {}
                hog = posthog_client(gateway, on_error=lambda error, items: failures.append(error), **options)
                hog.capture("Product Added", distinct_id=f"hog-{mode}", properties=misfit)
                hog.shutdown()
            amplitude = amplitude_client(gateway, codes)
            amplitude.track(BaseEvent("Product Added", user_id="amp", event_properties=misfit))
            amplitude.flush()
            amplitude.shutdown()

        await asyncio.to_thread(send)
        assert (failures, codes, set(statuses)) == ([], [200], {200})
        events = await stored(gateway)
    assert sorted(event.user_id or "" for event in events) == ["amp", "hog-v0", "hog-v1", "mix", "mix"]
    assert all("type price" in event.misfits for event in events)
