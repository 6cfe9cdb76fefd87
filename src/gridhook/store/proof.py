"""What proves who calls, as rows: written together with the webhook that it belongs to, or with the attempt that used it."""

from __future__ import annotations

from collections.abc import Iterable

from gridhook.errors import Conflict
from gridhook.model import Answered, Attempt, AuthMethod, Certificate, Instant, Webhook
from gridhook.rules.retry import RECEIVED
from gridhook.store.database import Connection
from gridhook.store.promises import Credential


def add_proof(connection: Connection, webhook: Webhook, credential: Credential, certificate: Certificate | None, now: Instant) -> None:
    """In use from now on. certificate: what may be shown of it, for a webhook that presents one."""
    connection.change(
        "add_credential",
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        id=credential.id,
        auth_method=webhook.auth_method.value,
        sealed=credential.sealed.blob,
        created_at=now if certificate is None else certificate.created_at,
        activates_at=now,
    )
    if certificate is not None and not connection.change(
        "add_certificate",
        account_id=webhook.account_id,
        webhook_id=webhook.id,
        id=certificate.id,
        authority_id=certificate.authority_id,
        serial=certificate.serial,
        fingerprint=certificate.fingerprint,
        chain=certificate.chain,
        not_before_at=certificate.not_before_at,
        expires_at=certificate.expires_at,
        created_at=certificate.created_at,
    ):
        raise Conflict(f"certificate {certificate.id} exists already")


def forget_proof(connection: Connection, webhook: Webhook, now: Instant) -> None:
    """All keys and certificates of a webhook. What may be shown of its certificates stays."""
    connection.change("forget_credentials", account_id=webhook.account_id, webhook_id=webhook.id)
    if webhook.auth_method is AuthMethod.MTLS:
        connection.change("replace_certificates", account_id=webhook.account_id, webhook_id=webhook.id, now=now)


def accept_certificates(connection: Connection, attempts: Iterable[Attempt]) -> None:
    """Note of each certificate that a receiver took a request with when it did so first. Other attempts change nothing."""
    first: dict[tuple[str, str, str], Instant] = {}
    for one in attempts:
        if one.credential_id is not None and isinstance(one.outcome, Answered) and one.outcome.status in RECEIVED:
            key = (one.account_id, one.webhook_id, one.credential_id)
            at = one.started_at + one.outcome.exchange.timings.total_us // 1000
            first[key] = min(at, first.get(key, at))
    if first:
        # In the order of their keys: two processes that note the same ones do not deadlock.
        connection.many("accept_certificate", [(at, *key) for key, at in sorted(first.items())])
