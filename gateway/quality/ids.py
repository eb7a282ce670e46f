"""Ids that are used in more than one way: what makes one person several, or several people one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.model.alert import Severity
from gateway.model.identity import Identity
from gateway.quality.findings import AuditFinding
from gateway.quality.masking import shape_of

#: So many userIds on one anonymousId are no household any more.
_CROWD = 5
#: A kind of userId that is so rare beside another is a mistake; both at once are a mix.
_MIXED = 0.02
_FEW = 10


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent one event, and with what."""

    user_id: str | None
    anonymous_id: str | None
    platform: str = "unknown"
    version: str | None = None


def inconsistent_ids(senders: Iterable[Sender]) -> list[AuditFinding]:
    """What is odd about the ids of these events. No id stands in it, only its shape."""
    senders = [*senders]
    checks = (_equal, _both, _mail, _crowd, _nobody)
    return [found for check in checks if (found := check(senders)) is not None]


def _equal(senders: list[Sender]) -> AuditFinding | None:
    odd = [one for one in senders if one.user_id is not None and one.user_id == one.anonymous_id]
    message = f"{len(odd):,} events have a userId that equals their anonymousId: every visitor looks known."
    return _finding(
        "userId = anonymousId", message, "Send userId once the person has signed in, not before.", odd, _user
    )


def _both(senders: list[Sender]) -> AuditFinding | None:
    users = {one.user_id for one in senders if one.user_id is not None}
    odd = [one for one in senders if one.anonymous_id in users and one.anonymous_id != one.user_id]
    message = f"{len(odd):,} events have an anonymousId that is a userId elsewhere: the same person counts twice."
    return _finding(
        "userId as anonymousId", message, "Send ids of accounts as userId, on every platform.", odd, _visitor
    )


def _mail(senders: list[Sender]) -> AuditFinding | None:
    known = [one for one in senders if one.user_id is not None]
    odd = [one for one in known if "@" in (one.user_id or "")]
    if len(known) < _FEW or not odd or len(known) - len(odd) < _MIXED * len(known):
        return None  # addresses alone are no good ids, but they are the same everywhere
    message = f"{len(odd):,} of {len(known):,} events with a userId have an e-mail address for one, the others do not."
    fix = "Send the account's id as userId everywhere, and the address as a trait of identify."
    return _finding("e-mail as userId", message, fix, odd, _user)


def _crowd(senders: list[Sender]) -> AuditFinding | None:
    users: dict[str, set[str]] = {}
    for one in senders:
        if one.user_id is not None and one.anonymous_id is not None:
            users.setdefault(one.anonymous_id, set()).add(one.user_id)
    crowds = {key for key, several in users.items() if len(several) >= _CROWD}
    odd = [one for one in senders if one.anonymous_id in crowds]
    most = max((len(users[key]) for key in crowds), default=0)
    message = f"{len(crowds):,} anonymousIds are shared by {_CROWD} or more userIds, up to {most:,}."
    fix = "Call reset() at sign-out; on servers, do not send a fixed anonymousId."
    return _finding("one anonymousId, many users", message, fix, odd, _visitor)


def _nobody(senders: list[Sender]) -> AuditFinding | None:
    odd = [one for one in senders if one.user_id is not None and Identity("userId", one.user_id).blocked]
    message = f"{len(odd):,} events have a userId that names nobody, such as `null` or `undefined`."
    return _finding("userId of nobody", message, "Leave userId out while nobody is signed in.", odd, _user)


def _finding(
    subject: str, message: str, fix: str, odd: list[Sender], shown: Callable[[Sender], str | None]
) -> AuditFinding | None:
    if not odd:
        return None
    shapes = Counter(shape_of(value) for one in odd if (value := shown(one)) is not None)
    shares = Counter((one.platform, one.version) for one in odd)
    return AuditFinding(
        "inconsistent_ids",
        Severity.WARNING,
        subject,
        message,
        fix,
        tuple(f"ids such as {shape}: {count:,} events" for shape, count in shapes.most_common(3)),
        tuple((*place, count) for place, count in shares.most_common(10)),
    )


def _user(one: Sender) -> str | None:
    return one.user_id


def _visitor(one: Sender) -> str | None:
    return one.anonymous_id
