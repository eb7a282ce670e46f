"""Every error the gateway raises on purpose. The branch of the tree says what the caller must do.

GatewayError
├── InvalidInput        change the request: sending it again as it is cannot work
│   ├── TooLarge        make it smaller
│   └── ContractError   correct the named file, line and key
├── Denied
│   ├── Unauthenticated send a credential that is known and not expired
│   └── Forbidden       the credential is good, but does not open this
├── NotFound            there is nothing under this id for this caller
├── Unavailable         nothing was acknowledged: send the same again after `retry_after` seconds
│   ├── RateLimited     the same, and more slowly from here on
│   └── Late            the same, and more quickly: the connection is closed
└── OperatorError       nobody outside can help: the operator must act
    ├── SetupError      mend the set-up; the message says how
    ├── PluginError     mend the plugin or its configuration; it names both
    └── StoreError      MongoDB refused a command; the code is its own
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal


class GatewayError(Exception):
    """The root. `code` is stable and meant for programs, the text for people, `hint` for the way out."""

    code = "ERROR"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidInput(GatewayError):
    """The request cannot be understood or breaks a limit."""

    code = "INVALID_INPUT"

    def __init__(self, message: str, *, hint: str = "", path: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class TooLarge(InvalidInput):
    """A body, an event or an answer over its limit."""

    code = "TOO_LARGE"


class ContractError(InvalidInput):
    """Files of a contract folder that do not say what they should; one line per problem."""

    code = "CONTRACT"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Denied(GatewayError):
    """The caller may not."""

    code = "DENIED"


class Unauthenticated(Denied):
    """No credential, or one that is unknown, expired or revoked."""

    code = "UNAUTHENTICATED"


class Forbidden(Denied):
    """A good credential that does not open this."""

    code = "FORBIDDEN"


class NotFound(GatewayError):
    """There is nothing under this id for this caller."""

    code = "NOT_FOUND"


class Unavailable(GatewayError):
    """The gateway cannot do it now, and did not acknowledge it; the same request may be sent again."""

    code = "UNAVAILABLE"

    def __init__(self, message: str, *, hint: str = "", retry_after: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RateLimited(Unavailable):
    """The credential sends more than its rate; nothing was acknowledged."""

    code = "RATE_LIMITED"


class Late(Unavailable):
    """The request did not arrive in time; nothing was acknowledged, and the connection ends."""

    code = "TIMEOUT"


class OperatorError(GatewayError):
    """Only the operator can help."""

    code = "OPERATOR"


class SetupError(OperatorError):
    """Settings, files, ports or MongoDB are not as the gateway needs them."""

    code = "SETUP"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFailure:
    """What went wrong in a plugin, as a record that is shown alike in CLI, GraphQL and log.

    `operation` is the method or hook; `category` says whose turn it is; `fix` what to do. `trace_id` is that of the
    trace or request in which it happened. No field holds secrets or personal data.
    """

    plugin: str
    version: str
    operation: str
    category: Literal["auth", "rate_limit", "config", "remote", "mapping", "bug"]
    message: str
    fix: str
    retryable: bool = False
    trace_id: str | None = None

    def log_fields(self) -> dict[str, str | bool]:
        """The record as fields of a line of the log (where `message` is taken)."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"reason" if name == "message" else name: value for name, value in named.items() if value is not None}


class PluginError(OperatorError):
    """A plugin cannot do its work; `failure` is the whole record."""

    code = "PLUGIN"

    def __init__(self, failure: PluginFailure) -> None:
        super().__init__(f"{failure.plugin} {failure.version}: {failure.message}", hint=failure.fix)
        self.failure = failure


class StoreError(OperatorError):
    """MongoDB refused a command for a reason that trying again does not cure."""

    code = "STORE"

    def __init__(self, message: str, *, number: int = 0) -> None:
        super().__init__(message)
        self.number = number
