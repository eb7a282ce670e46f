"""From one of Typeform's responses to the gateway's; the same from a webhook and from a pull."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from gateway.plugin import Identity, Response, SurveyAnswer

#: What a type of question is called here.
_KINDS = {
    "dropdown": "choice",
    "long_text": "text",
    "multiple_choice": "choice",
    "nps": "nps",
    "picture_choice": "choice",
    "short_text": "text",
    "yes_no": "choice",
}
#: Of an id; longer ones name nobody here.
_LONGEST = 255

Questions = Mapping[str, str]


class Settings(Protocol):
    """What of the connector's settings the mapping asks for."""

    @property
    def user_field(self) -> str: ...
    @property
    def anonymous_field(self) -> str: ...
    @property
    def touchpoint_field(self) -> str: ...
    @property
    def hidden(self) -> Sequence[str]: ...
    @property
    def kinds(self) -> Mapping[str, str]: ...
    @property
    def leave_out(self) -> Sequence[str]: ...


def questions_of(form: Mapping[str, Any]) -> Questions:
    """The words of a form's questions by their id, those in groups too."""
    found: dict[str, str] = {}
    for one in form.get("fields") or []:
        if isinstance(one, dict):
            if one.get("id") and one.get("title"):
                found[str(one["id"])] = str(one["title"])
            found |= questions_of(one.get("properties") or {})
    return found


class Mapped:
    """Maps responses by the settings of one instance."""

    def __init__(self, settings: Settings, workspace: str) -> None:
        self._settings = settings
        self._workspace = workspace

    def response(self, form: str, given: Mapping[str, Any], questions: Questions) -> Response:
        """One response. Raises ValueError when it has neither token nor time."""
        if not given.get("token") or not given.get("submitted_at"):
            raise ValueError("a response has a token and a time")
        hidden = given.get("hidden") if isinstance(given.get("hidden"), dict) else {}
        assert isinstance(hidden, dict)
        answers = (self._answer(one, questions) for one in given.get("answers") or [] if isinstance(one, dict))
        touchpoint = hidden.get(self._settings.touchpoint_field)
        score = (given.get("calculated") or {}).get("score")
        metadata = {name: str(hidden[name]) for name in self._settings.hidden if hidden.get(name)}
        return Response(
            workspace=self._workspace,
            source="typeform",
            external_id=str(given["token"]),
            survey=form,
            at=round(datetime.fromisoformat(str(given["submitted_at"])).timestamp() * 1000),
            answers=tuple(one for one in answers if one is not None),
            identity=self._identity(hidden),
            touchpoint=str(touchpoint) if touchpoint else None,
            metadata=metadata | ({"score": str(score)} if score else {}),
        )

    def _identity(self, hidden: Mapping[str, Any]) -> Identity | None:
        settings = self._settings
        for kind, name in (("userId", settings.user_field), ("anonymousId", settings.anonymous_field)):
            value = hidden.get(name)
            # A link that was not filled in leaves its placeholder: that is nobody.
            if isinstance(value, str) and 0 < len(value) <= _LONGEST and "{" not in value and "xxxxx" not in value:
                return Identity(kind, value)  # type: ignore[arg-type]
        return None

    def _answer(self, given: Mapping[str, Any], questions: Questions) -> SurveyAnswer | None:
        question = given.get("field") or {}
        kind = str(question.get("type", ""))
        own, key = str(question.get("id", "")), str(question.get("ref") or question.get("id") or "")
        value = _value(given)
        if (
            not key
            or value is None
            or kind in self._settings.leave_out
            or given.get("type") in self._settings.leave_out
        ):
            return None
        meant = self._settings.kinds.get(key) or _KINDS.get(kind, kind or None)
        return SurveyAnswer(key, value, text=questions.get(own), kind=meant)


def _value(given: Mapping[str, Any]) -> str | int | float | bool | list[str] | None:
    """The answer itself: what stands under the name of its type."""
    found = given.get(str(given.get("type")))
    if given.get("type") == "choice" and isinstance(found, dict):
        label = found.get("label") or found.get("other")
        return str(label) if label else None
    if given.get("type") == "choices" and isinstance(found, dict):
        labels = [str(one) for one in found.get("labels") or []]
        return [*labels, str(found["other"])] if found.get("other") else labels or None
    return found if isinstance(found, str | int | float | bool) else None
