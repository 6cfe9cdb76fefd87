"""The rare writes: webhooks, accounts, keys, housekeeping. Each judges before it writes, so that a refusal leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from gridhook.errors import Conflict, GridhookError, NotFound
from gridhook.model import Account, AccountSecret, Attempt, Echo, Instant, PublisherKey, Sealed, Webhook
from gridhook.rules import contexts
from gridhook.store.database import Connection
from gridhook.store.promises import Challenge, Credential
from gridhook.store.rows import attempt_row, clean, webhook_from
from gridhook.store.writer import Operation

STEP = 5_000  # rows that one edit moves before others get their turn: a million held rows must not stop the writer
LIVE_SECRETS = 2


class Edit(Operation):
    """Any other write, as a function of the connection."""

    __slots__ = ("change",)
    rank = 4

    def __init__(self, change: Callable[[Connection], object]) -> None:
        super().__init__(1)
        self.change = change

    def attempt(self, connection: Connection) -> object:
        """Its result, or its refusal as a value: it wrote nothing, so its neighbours' transaction goes on."""
        try:
            return self.change(connection)
        except GridhookError as refusal:
            return refusal


def _webhook_row(connection: Connection, account_id: str, webhook_id: str) -> Any:
    rows = connection.rows("webhook", account_id=account_id, webhook_id=webhook_id)
    if not rows:
        raise NotFound(f"no webhook {webhook_id}")
    return rows[0]


def add_webhook(connection: Connection, webhook: Webhook, credential: Credential | None) -> None:
    if not connection.change(
        "add_webhook",
        account_id=webhook.account_id,
        id=webhook.id,
        name=clean(webhook.name),
        url=webhook.url,
        url_version=webhook.url_version,
        auth_method=webhook.auth_method.value,
        subscribed_events=json.dumps(webhook.subscribed_events),
        created_at=webhook.created_at,
        verified_at=webhook.verified_at,
        paused_at=webhook.paused_at,
        challenge_id=None if webhook.is_verified else "owed",
    ):
        raise Conflict(f"webhook {webhook.id} exists already")
    if credential is not None:
        connection.change(
            "add_credential",
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            id=credential.id,
            sealed=credential.sealed.blob,
            created_at=webhook.created_at,
        )
    for event_type in dict.fromkeys(webhook.subscribed_events):
        connection.change("subscribe", account_id=webhook.account_id, event_type=event_type, webhook_id=webhook.id)


def delete_webhook(connection: Connection, account_id: str, webhook_id: str, now: Instant) -> None:
    webhook = webhook_from(_webhook_row(connection, account_id, webhook_id))
    connection.change("delete_webhook", account_id=account_id, webhook_id=webhook_id, now=now)
    connection.change("forget_credentials", account_id=account_id, webhook_id=webhook_id)
    for event_type in webhook.subscribed_events:
        connection.change("unsubscribe", account_id=account_id, event_type=event_type, webhook_id=webhook_id)


def cancel_step(connection: Connection, account_id: str, webhook_id: str) -> int:
    """Fails a step's worth of a deleted webhook's deliveries; 0 when none is left."""
    held = connection.change("fail_held", account_id=account_id, webhook_id=webhook_id, limit=STEP)
    return held + connection.change("fail_queued", account_id=account_id, webhook_id=webhook_id, limit=STEP)


def change_url(connection: Connection, account_id: str, webhook_id: str, url: str, now: Instant) -> Webhook:
    _webhook_row(connection, account_id, webhook_id)
    connection.change("change_url", account_id=account_id, webhook_id=webhook_id, url=url, now=now)
    return webhook_from(_webhook_row(connection, account_id, webhook_id))


def hold_step(connection: Connection, account_id: str, webhook_id: str) -> int:
    """Holds a step's worth of what is queued; 0 when none is left, or when the webhook may be sent to again."""
    if webhook_from(_webhook_row(connection, account_id, webhook_id)).is_verified:
        return 0
    return connection.change("hold_queued", account_id=account_id, webhook_id=webhook_id, limit=STEP)


def issue_challenge(connection: Connection, account_id: str, webhook_id: str, challenge_id: str) -> Challenge:
    webhook = webhook_from(_webhook_row(connection, account_id, webhook_id))
    connection.change("issue_challenge", account_id=account_id, webhook_id=webhook_id, challenge_id=challenge_id)
    return Challenge(account_id, webhook_id, challenge_id, webhook.url, webhook.url_version)


def settle_challenge(connection: Connection, challenge: Challenge, attempt: Attempt | None, matched: bool, now: Instant) -> bool:
    verified = matched and bool(
        connection.change(
            "verify",
            now=now,
            account_id=challenge.account_id,
            webhook_id=challenge.webhook_id,
            challenge_id=challenge.id,
            url_version=challenge.url_version,
        )
    )
    if not verified:
        connection.change("end_challenge", account_id=challenge.account_id, webhook_id=challenge.webhook_id, challenge_id=challenge.id)
    if attempt is not None:
        if matched and not verified:
            attempt = replace(attempt, echo=Echo.SUPERSEDED)
        (id,) = connection.ids("attempts", 1)
        connection.many("insert_attempt", [attempt_row(id, attempt)])
    return verified


def release_step(connection: Connection, account_id: str, webhook_id: str, now: Instant) -> int:
    """Makes a step's worth of what was held due; 0 when none is left, or when the webhook may not be sent to."""
    rows = connection.rows("webhook", account_id=account_id, webhook_id=webhook_id)
    if not rows or not (webhook := webhook_from(rows[0])).is_verified or webhook.paused_at is not None:
        return 0
    return connection.change("release_held", account_id=account_id, webhook_id=webhook_id, now=now, limit=STEP)


def settle_held(connection: Connection, now: Instant, limit: int) -> tuple[int, int]:
    expired = connection.change("expire_held", now=now, limit=limit)
    released = failed = 0
    for account_id, webhook_id, fate in connection.rows("held_lanes"):
        if fate == "deleted" and failed < limit:
            failed += connection.change("fail_held", account_id=account_id, webhook_id=webhook_id, limit=limit - failed)
        elif fate == "sendable" and released < limit:
            released += connection.change("release_held", account_id=account_id, webhook_id=webhook_id, now=now, limit=limit - released)
    return released, expired


def reclaim(connection: Connection, now: Instant) -> int:
    return connection.change("reclaim", now=now)


def add_account(connection: Connection, account: Account) -> None:
    if not connection.change(
        "add_account", id=account.id, name=clean(account.name), enterprise=int(account.enterprise), created_at=account.created_at
    ):
        raise Conflict(f"account {account.id} exists already")


def set_enterprise(connection: Connection, account_id: str, enterprise: bool) -> None:
    if not connection.change("set_enterprise", account_id=account_id, enterprise=int(enterprise)):
        raise NotFound(f"no account {account_id}")


def add_secret(connection: Connection, secret: AccountSecret) -> None:
    if not connection.change("lock_account", account_id=secret.account_id):
        raise NotFound(f"no account {secret.account_id}")
    if len(connection.rows("secrets", account_id=secret.account_id)) >= LIVE_SECRETS:
        raise Conflict(f"account {secret.account_id} has {LIVE_SECRETS} live secrets already; revoke one first")
    if not connection.change(
        "add_secret", account_id=secret.account_id, id=secret.id, sealed=secret.sealed.blob, created_at=secret.created_at
    ):
        raise Conflict(f"secret {secret.id} exists already")


def revoke_secret(connection: Connection, account_id: str, secret_id: str, now: Instant) -> None:
    connection.change("lock_account", account_id=account_id)
    live = [row[1] for row in connection.rows("secrets", account_id=account_id)]
    if secret_id not in live:
        raise NotFound(f"no live secret {secret_id}")
    if len(live) == 1:
        raise Conflict(f"{secret_id} is the only live secret of account {account_id}; add another first")
    connection.change("revoke_secret", account_id=account_id, id=secret_id, now=now, nothing=b"")


def add_publisher_key(connection: Connection, key: PublisherKey, digest: bytes) -> None:
    if not connection.change(
        "add_publisher_key", id=key.id, account_id=key.account_id, name=clean(key.name), digest=digest, created_at=key.created_at
    ):
        raise Conflict(f"publisher key {key.id} exists already")


def revoke_publisher_key(connection: Connection, key_id: str, now: Instant) -> None:
    if not connection.change("revoke_publisher_key", id=key_id, now=now):
        raise NotFound(f"no live publisher key {key_id}")


def set_meta_once(connection: Connection, key: str, value: bytes) -> bytes:
    connection.change("set_meta_once", key=key, value=value)
    ((kept,),) = connection.rows("meta", key=key)
    return bytes(kept)


def reseal(connection: Connection, limit: int, change: Callable[[str, Sealed], Sealed | None]) -> int:
    changed = 0
    for account_id, id, sealed in connection.rows("sealed_secrets"):
        if changed >= limit:
            return changed
        new = change(contexts.account_secret(account_id, id), Sealed(bytes(sealed)))
        if new is not None:
            changed += connection.change("reseal_secret", sealed=new.blob, account_id=account_id, id=id, old=bytes(sealed))
    for account_id, webhook_id, id, sealed in connection.rows("sealed_credentials"):
        if changed >= limit:
            return changed
        new = change(contexts.private_key(account_id, webhook_id, id), Sealed(bytes(sealed)))
        if new is not None:
            changed += connection.change(
                "reseal_credential", sealed=new.blob, account_id=account_id, webhook_id=webhook_id, id=id, old=bytes(sealed)
            )
    return changed
