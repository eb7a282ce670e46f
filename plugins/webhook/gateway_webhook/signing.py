"""Standard Webhooks' signatures, by its own library. A secret is `whsec_` and 24 to 64 bytes in base64."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from gateway.plugin import PluginError, PluginFailure, Secret

PREFIX = "whsec_"
#: How far the sender's clock may be off, in seconds.
TOLERANCE = 300


def signers(secrets: Iterable[Secret | None], plugin: str, version: str) -> list[Webhook]:
    """One for each secret that is set. Raises PluginError for one that is no such secret, SetupError for one that
    cannot be read."""
    found = []
    for secret in secrets:
        if secret is None:
            continue
        try:
            found.append(Webhook(secret.reveal()))
        except (binascii.Error, ValueError, EmptyWebhookSecretError):
            raise PluginError(
                PluginFailure(
                    plugin=plugin,
                    version=version,
                    operation="open",
                    category="config",
                    message=f"{secret.reference} does not hold a secret of Standard Webhooks.",
                    fix="It is `whsec_` and base64; `journey-gateway webhook new-secret` makes one.",
                )
            ) from None
    return found


def signed(using: Sequence[Webhook], key: str, at: int, body: str) -> dict[str, str]:
    """The three headers; `at` is milliseconds since 1970. Every secret signs, so that either side may rotate first."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(at // 1000),
        "webhook-signature": " ".join(one.sign(key, moment, body) for one in using),
    }


def refusal(using: Sequence[Webhook], headers: Mapping[str, str], body: bytes, now: int) -> str | None:
    """Why the signature does not hold; None: it does. The library's own check asks the machine's clock, not ours, so
    that only its signing is used."""
    key, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()
    if not key or not given or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if abs(now / 1000 - int(stamp)) > TOLERANCE:
        return "webhook-timestamp is more than five minutes off"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8"
    moment = datetime.fromtimestamp(int(stamp), UTC)
    wanted = [one.sign(key, moment, text).encode() for one in using]
    # All are compared, whatever the first says: the time tells nothing then.
    held = [hmac.compare_digest(one, other.encode()) for one in wanted for other in given]
    return None if any(held) else "no signature matches"
