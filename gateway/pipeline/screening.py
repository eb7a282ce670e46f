"""What intake asks about privacy: is a sender suppressed, and what has it consented to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from gateway.model.event import Problem, Verdict
from gateway.model.identity import Identity, key_of
from gateway.privacy import Privacy
from gateway.privacy.suppressed import Suppressed
from gateway.store.database import Document

_TOLD = "This person's data was erased, and nothing of them is taken any more."
#: A message that names more is not kept aside: each is indexed, so that an erasure finds the message.
MOST_NAMED = 1_000
_NAMES = ("userId", "anonymousId", "previousId")

Read = tuple[list[tuple[int, Document]], list[Problem]]


def screened(suppressed: Suppressed, workspace: str, messages: Sequence[Any], read: Read) -> Read:
    """The same with events of suppressed identities refused; and messages that name one are not even kept aside."""
    documents, problems = read
    if not suppressed:
        return read
    kept = []
    refused = []
    for index, row in documents:
        if suppressed.names(workspace, row["sk"]):
            refused.append(Problem(index, Verdict.REFUSED, "suppressed", _TOLD, row["messageId"]))
        else:
            kept.append((index, row))
    for problem in problems:
        named = suppressed.any_of(named_in(workspace, messages[problem.index]))
        refused.append(
            replace(problem, verdict=Verdict.REFUSED, code="suppressed", message=_TOLD) if named else problem
        )
    return kept, refused


async def stamp(privacy: Privacy, workspace: str, documents: list[tuple[int, Document]]) -> None:
    """Write on each event what its sender had consented to by now. Raises Unavailable."""
    stamps = await privacy.consented.stamps(workspace, {row["sk"] for _, row in documents})
    if stamps:
        for _, row in documents:
            if (consent := stamps.get(row["sk"])) is not None:
                row["consent"] = dict(consent)


def named_in(workspace: str, message: Any) -> list[bytes]:
    """Keys of every identity that a message names, however it is written: in lists and objects too.

    More than MOST_NAMED of them are not all there.
    """
    if not isinstance(message, dict):
        return []
    keys: list[bytes] = []
    for name in _NAMES:
        kinds = ("userId",) if name == "userId" else ("anonymousId", "userId")
        for text in _texts(message.get(name)):
            keys += [key_of(workspace, Identity(kind, text).sk) for kind in kinds]  # type: ignore[arg-type]
            if len(keys) > MOST_NAMED:
                return keys
    return keys


def _texts(value: Any) -> Iterator[str]:
    """Everything in it that could be an id, each once."""
    seen, waiting = {""}, [value]
    while waiting:
        match waiting.pop():
            case str() | int() | float() as found:
                text = str(found).encode("utf-8", "replace").decode()
                if text not in seen:
                    seen.add(text)
                    yield text
            case list() as several:
                waiting += several
            case dict() as several:
                waiting += several.values()
