"""The paths of other vendors' SDKs: Mixpanel, PostHog and Amplitude."""

from __future__ import annotations

from starlette.routing import Route

from gateway.access.keys import KeyRing
from gateway.clock import Clock
from gateway.collect import amplitude, mixpanel, posthog
from gateway.collect.answers import door
from gateway.collect.bodies import Bodies
from gateway.collect.facades import Answered, Facade, Parcel, Phrase, Reader, Request
from gateway.collect.senders import Senders
from gateway.model.event import JsonObject
from gateway.pipeline.intake import Intake
from gateway.settings import Settings

_MIXPANEL: dict[str, Reader] = {
    "/track": mixpanel.read_track,
    "/engage": mixpanel.read_engage,
    "/groups": mixpanel.read_groups,
    "/import": mixpanel.read_import,
}
_POSTHOG = ("/capture", "/e", "/i/v0/e", "/i/v0/ai/batch")
_POSTHOG_FLAGS = ("/flags", "/decide", "/array/{key}/config")


def vendor_routes(intake: Intake, keyring: KeyRing, settings: Settings, clock: Clock) -> list[Route]:
    """Every path with and without a slash at its end; `/batch` belongs to two of them."""
    bodies, senders = Bodies.of_events(intake, settings), Senders(keyring, settings)

    def facade(path: str, read: Reader, phrase: Phrase, *, get: bool = False) -> Route:
        name = f"vendor{path.replace('/', '.')}"
        return door(path, Facade(bodies, intake, senders, read, phrase, get=get), name)

    calls, read_posthog = amplitude.Calls(clock), posthog.reader(settings.max_body_bytes)
    flags = Answered(
        bodies, senders, posthog.key_of_flags(settings.max_body_bytes), posthog.phrase, posthog.flags_document()
    )
    return [
        *(facade(path, read, mixpanel.phrase, get=True) for path, read in _MIXPANEL.items()),
        *(facade(path, read_posthog, posthog.phrase) for path in _POSTHOG),
        facade("/i/v1/analytics/events", posthog.read_v1, posthog.phrase),
        *(door(path, flags, f"posthog{path.replace('/', '.')}") for path in _POSTHOG_FLAGS),
        facade("/2/httpapi", calls.read_events, amplitude.phrase),
        facade("/identify", amplitude.read_identify, amplitude.phrase),
        facade("/groupidentify", amplitude.read_group_identify, amplitude.phrase),
        facade("/batch", _Batch(calls, settings.max_body_bytes), _phrase_of_both),
    ]


class _Batch:
    """Reads `/batch`, which PostHog's SDKs use and Amplitude's may: those say `batch` in the body, these `events`."""

    def __init__(self, calls: amplitude.Calls, max_bytes: int) -> None:
        self._calls = calls
        self._max_bytes = max_bytes

    def __call__(self, request: Request) -> Parcel:
        content = posthog.content_of(request, self._max_bytes)
        if isinstance(content, dict) and "events" in content and "batch" not in content:
            return self._calls.parcel_of(content, len(request.body))
        return posthog.parcel_of(content, request)


def _phrase_of_both(status: int, code: str, reason: str) -> JsonObject:
    """Each finds what it looks for: nothing means one thing here and another there."""
    return posthog.phrase(status, code, reason) | amplitude.phrase(status, code, reason)
