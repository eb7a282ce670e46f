"""What the drivers raise, in the gateway's own words. Both drivers share pymongo's exceptions and BSON encoder."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Any

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from gateway.errors import GatewayError, InvalidInput, SetupError, StoreError, TooLarge, Unavailable

DUPLICATE_KEY = 11000
HISTORY_LOST_CODES = frozenset({286, 136})
"""ChangeStreamHistoryLost (at the opening) and CappedPositionLost (on a stream that fell behind)."""

TRANSIENT_CODES = frozenset(
    {
        6, 7, 50, 63, 64, 79, 89, 91, 100, 112, 133, 134, 189, 202, 246, 262, 365,
        9001, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436,
    }
)  # fmt: skip
"""Codes that say "not now": elections, shutdowns, interruptions, deadlines, write conflicts, stale routing."""

_CHANGE_STREAM_UNSUPPORTED = 40573
_CREDENTIAL_CODES = frozenset({13, 18})
_ENCODING = (BSONError, OverflowError, UnicodeEncodeError, RecursionError)
_QUOTED = re.compile(r"[\"'{\[].*", re.DOTALL)


class HistoryLost(StoreError):
    """The oplog no longer holds the position a change stream asked for: re-derive, then start from now."""


class TransactionInterrupted(Unavailable):
    """A transaction met a conflict or an election; `commit_unknown` when it may have been committed all the same."""

    def __init__(self, *, commit_unknown: bool) -> None:
        super().__init__("The transaction was interrupted.", hint="Send it again.")
        self.commit_unknown = commit_unknown


class Translated:
    """A context that lets none of the driver's exceptions out. Stateless: use the one instance `translated`."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, _ENCODING):
            raise _unencodable(error) from None
        if isinstance(error, PyMongoError):
            # A refusal quotes the documents it refused, so it is not chained: a log would print them.
            raise translate(error) from (error if isinstance(error, ConnectionFailure) else None)


translated = Translated()


def translate(error: PyMongoError) -> GatewayError:
    """The gateway's error for a driver's one; it carries codes and names, never a value or a query."""
    if error.has_error_label("UnknownTransactionCommitResult"):
        return TransactionInterrupted(commit_unknown=True)
    if error.has_error_label("TransientTransactionError"):
        return TransactionInterrupted(commit_unknown=False)
    if isinstance(error, OperationFailure):
        return _refused(error)
    if isinstance(error, ConnectionFailure) or error.timeout:
        return Unavailable("MongoDB does not answer.", hint="Try again in a moment.")
    if isinstance(error, ConfigurationError):
        return SetupError("MongoDB cannot be used as configured.", hint="Check GATEWAY_MONGO_URI and its options.")
    return StoreError(f"The MongoDB driver refused a command ({type(error).__name__}).")


def _refused(error: OperationFailure) -> GatewayError:
    details: Any = error.details or {}
    if isinstance(error, BulkWriteError):
        return _refused_writes(details)
    code = error.code or 0
    if code in HISTORY_LOST_CODES:
        return HistoryLost("The oplog no longer reaches back to the position asked for.", number=code)
    if isinstance(error, WriteConcernError) or error.timeout or code in TRANSIENT_CODES:
        return Unavailable(f"MongoDB cannot do it now (code {code}).", hint="Try again in a moment.")
    if code in _CREDENTIAL_CODES:
        return SetupError(
            "MongoDB refused the credentials.", hint="Check user, password, authSource and roles in GATEWAY_MONGO_URI."
        )
    if code == _CHANGE_STREAM_UNSUPPORTED or (code == 20 and "Transaction numbers" in str(details.get("errmsg"))):
        return standalone()
    return refusal(code, str(details.get("codeName", "")), str(details.get("errmsg", "")))


def _refused_writes(details: dict[str, Any]) -> GatewayError:
    if details.get("writeConcernErrors"):
        return Unavailable("MongoDB did not confirm a write on a majority of members.", hint="Try again in a moment.")
    failures = details.get("writeErrors") or [{}]
    worst = next((failure for failure in failures if failure.get("code") in TRANSIENT_CODES), failures[0])
    code = int(worst.get("code", 0))
    if code in TRANSIENT_CODES:
        return Unavailable(f"MongoDB cannot do it now (code {code}).", hint="Try again in a moment.")
    return refusal(code, "", str(worst.get("errmsg", "")))


def standalone() -> SetupError:
    """A mongod without a replica set has neither transactions nor change streams."""
    return SetupError(
        "MongoDB runs as a standalone server; the gateway needs a replica set (one member is enough).",
        hint="Start mongod with --replSet rs0 and run rs.initiate() once.",
    )


def refusal(code: int, name: str, sentence: str) -> StoreError:
    """A StoreError with the server's sentence up to its first quote or bracket: behind those stand values."""
    said = "duplicate key" if code == DUPLICATE_KEY else _QUOTED.sub("…", sentence)[:160]
    return StoreError(f"MongoDB refused a command: {said} (code {code}{' ' + name if name else ''}).", number=code)


def _unencodable(error: BaseException) -> InvalidInput:
    if isinstance(error, DocumentTooLarge):
        return TooLarge("A document is larger than MongoDB can store.", hint="Send less in one event.")
    return InvalidInput(
        "A document holds a value that BSON cannot carry.",
        hint="Integers must fit 64 bits, text must be valid Unicode, keys must be strings without NUL.",
    )
