"""Requests of other systems: verified, read, handed to the one ingest function, and answered once all is durable.

`verify`, `challenge` and `parse` are a stranger's code and run in the instance's thread. What a request brings has ids
of its own, or gets them from the request's, so that the same request again stores nothing twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from gateway.connectors.failing import failure_of
from gateway.connectors.instances import Instance
from gateway.connectors.redaction import reason_of
from gateway.connectors.responses import as_message
from gateway.connectors.threads import Blocked, Late
from gateway.errors import InvalidInput, NotFound, Unauthenticated, Unavailable
from gateway.model.event import JsonObject, Receipt
from gateway.model.identity import digest
from gateway.pipeline.intake import Delivery, Intake
from gateway.plugin import Challenge, Denied, RawRequest, Verified, WebhookSource

log = logging.getLogger("gateway.connectors")

#: How long the checks and the reading of one request may take.
SECONDS = 5.0
_COMPARE = "Compare it with what the connector's README says."


class Webhooks:
    """Takes requests for the webhook sources of this process. `hinted` hears of those that bring a pull forward."""

    def __init__(
        self, instances: Mapping[str, Instance], intake: Intake, hinted: Callable[[str], None] = lambda name: None
    ) -> None:
        self._sources = {name: one for name, one in instances.items() if isinstance(one.connector, WebhookSource)}
        self._intake = intake
        self._hinted = hinted

    async def take(self, name: str, request: RawRequest) -> Receipt | Challenge:
        """Raises NotFound, Unauthenticated, InvalidInput, and Unavailable: nothing was acknowledged then."""
        instance = self._sources.get(name)
        if instance is None:
            raise NotFound("There is no webhook here.", hint="The path is /v1/hooks/<name of the connector>.")
        source: WebhookSource[Any] = instance.connector  # type: ignore[assignment]
        await self._asked(instance, "open", None)
        challenge = await self._asked(instance, "challenge", lambda: source.challenge(request))
        if isinstance(challenge, Challenge):
            return challenge
        verified = await self._asked(instance, "verify", lambda: source.verify(request))
        if not isinstance(verified, Verified):
            reason = verified.reason if isinstance(verified, Denied) else "verify answers neither yes nor no"
            log.warning(
                "webhook refused", extra={"instance": name, "reason": reason_of(reason, secrets=instance.secrets())}
            )
            raise Unauthenticated("The request is not signed as it should be.", hint="Check the secret on both sides.")
        rows = await self._asked(instance, "parse", lambda: list(source.parse(request)))
        messages = [self._identified(as_message(row), verified, request, at) for at, row in enumerate(rows or ())]
        self._intake.check_size(len(messages))
        receipt = Receipt()
        if messages:
            receipt = await self._intake.ingest(
                Delivery(instance.workspace, source_of(name), messages, correct_skew=False)
            )
        self._hinted(name)
        return receipt

    async def _asked(self, instance: Instance, operation: str, call: Callable[[], Any] | None) -> Any:
        try:
            if call is None:
                return await instance.open()
            return await instance.thread.run(call, SECONDS)
        except (Late, Blocked):
            log.error("webhook not taken: its connector does not answer", extra={"instance": instance.name})
            raise Unavailable("The connector does not answer.", hint="Send it again later.", retry_after=30) from None
        except ValueError as error:
            if operation == "parse":
                raise InvalidInput("The request cannot be read.", hint=_COMPARE) from error
            raise self._failed(instance, operation, error) from error
        except Exception as error:
            raise self._failed(instance, operation, error) from error

    def _failed(self, instance: Instance, operation: str, error: Exception) -> Unavailable:
        failure = failure_of(instance, operation, error)
        log.error("webhook not taken", extra={"instance": instance.name, **failure.log_fields()})
        return Unavailable("The connector failed.", hint="Send it again later.", retry_after=30)

    def _identified(self, message: JsonObject, verified: Verified, request: RawRequest, at: int) -> JsonObject:
        if message.get("messageId") is not None:
            return message
        own = verified.id if verified.id is not None else digest(request.body.decode("latin-1")).hex()
        return {**message, "messageId": f"{own}:{at}"}


def source_of(instance: str) -> str:
    """The source that what an instance brings belongs to."""
    return f"connector:{instance}"
