"""The rare writes about webhooks, and housekeeping. Each judges before it writes, so that a refusal leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from gridhook.errors import Conflict, GridhookError, NotFound, Stale
from gridhook.model import Attempt, Certificate, Echo, Instant, LaneLimits, NewEvent, Webhook
from gridhook.store.database import Connection
from gridhook.store.promises import Challenge, Credential, WebhookEdit
from gridhook.store.proof import accept_certificates, add_proof, forget_proof
from gridhook.store.rows import attempt_row, clean, webhook_from
from gridhook.store.writer import Operation

STEP = 5_000  # rows that one edit moves before others get their turn: a million held rows must not stop the writer
NO_LIMITS = LaneLimits()


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


def webhook_to_edit(connection: Connection, account_id: str, webhook_id: str) -> Webhook:
    """Nobody else changes it before this transaction ends. Raises `NotFound`."""
    rows = connection.rows("webhook_for_edit", account_id=account_id, webhook_id=webhook_id)
    if not rows:
        raise NotFound(f"no webhook {webhook_id}")
    return webhook_from(rows[0])


def may_be_sent_to(webhook: Webhook) -> bool:
    return webhook.is_verified and webhook.paused_at is None


def add_webhook(
    connection: Connection, webhook: Webhook, credential: Credential | None, certificate: Certificate | None = None, most: int | None = None
) -> None:
    if most is not None:
        connection.change("lock_account", account_id=webhook.account_id)
        ((total,),) = connection.rows("webhook_total", account_id=webhook.account_id)
        if total >= most:
            raise Conflict(f"this account has {total} webhooks, the most it may have; delete one first")
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
        revision=webhook.revision,
        **_settings(webhook),
    ):
        raise Conflict(f"webhook {webhook.id} exists already")
    if credential is not None:
        add_proof(connection, webhook, credential, certificate, webhook.created_at)
    for event_type in dict.fromkeys(webhook.subscribed_events):
        connection.change("subscribe", account_id=webhook.account_id, event_type=event_type, webhook_id=webhook.id)


def delete_webhook(connection: Connection, account_id: str, webhook_id: str, revision: int | None, now: Instant) -> None:
    webhook = webhook_to_edit(connection, account_id, webhook_id)
    _check_revision(webhook, revision)
    connection.change("delete_webhook", account_id=account_id, webhook_id=webhook_id, now=now)
    forget_proof(connection, webhook, now)
    for event_type in webhook.subscribed_events:
        connection.change("unsubscribe", account_id=account_id, event_type=event_type, webhook_id=webhook_id)


def cancel_step(connection: Connection, account_id: str, webhook_id: str) -> int:
    """Fails a step's worth of a deleted webhook's deliveries; 0 when none is left."""
    held = connection.change("fail_held", account_id=account_id, webhook_id=webhook_id, limit=STEP)
    return held + connection.change("fail_queued", account_id=account_id, webhook_id=webhook_id, limit=STEP)


def edit_webhook(
    connection: Connection, account_id: str, webhook_id: str, edit: WebhookEdit, revision: int | None, again: bool, now: Instant
) -> Webhook:
    """again: the URL must be proven anew even if its text is the same."""
    before = webhook_to_edit(connection, account_id, webhook_id)
    _check_revision(before, revision)
    after = replace(before, **{name: value for name in edit.__struct_fields__ if (value := getattr(edit, name)) is not UNSET})
    connection.change(
        "edit_webhook",
        account_id=account_id,
        webhook_id=webhook_id,
        name=clean(after.name),
        subscribed_events=json.dumps(after.subscribed_events),
        **_settings(after),
    )
    for event_type in set(before.subscribed_events) - set(after.subscribed_events):
        connection.change("unsubscribe", account_id=account_id, event_type=event_type, webhook_id=webhook_id)
    for event_type in sorted(set(after.subscribed_events) - set(before.subscribed_events)):
        connection.change("subscribe", account_id=account_id, event_type=event_type, webhook_id=webhook_id)
    if after.url != before.url or again:
        connection.change("change_url", account_id=account_id, webhook_id=webhook_id, url=after.url, now=now)
    return webhook_to_edit(connection, account_id, webhook_id)


def _check_revision(webhook: Webhook, revision: int | None) -> None:
    if revision not in (None, webhook.revision):
        raise Stale(f"webhook {webhook.id} was changed meanwhile (revision {webhook.revision}, not {revision}): read it again, then decide")


def _settings(webhook: Webhook) -> dict[str, object]:
    limits = webhook.limits or NO_LIMITS
    return {
        "max_in_flight": limits.max_in_flight,
        "rate_per_second": limits.rate_per_second,
        "extras": None if webhook.extras is None else webhook.extras.blob,
    }


def pause_webhook(connection: Connection, account_id: str, webhook_id: str, now: Instant) -> Webhook:
    webhook_to_edit(connection, account_id, webhook_id)
    connection.change("pause", account_id=account_id, webhook_id=webhook_id, now=now)
    return webhook_to_edit(connection, account_id, webhook_id)


def resume_webhook(connection: Connection, account_id: str, webhook_id: str) -> Webhook:
    webhook_to_edit(connection, account_id, webhook_id)
    connection.change("resume", account_id=account_id, webhook_id=webhook_id)
    return webhook_to_edit(connection, account_id, webhook_id)


def hold_step(connection: Connection, account_id: str, webhook_id: str) -> int:
    """Holds a step's worth of what is queued; 0 when none is left, or when the webhook may be sent to again."""
    if may_be_sent_to(webhook_to_edit(connection, account_id, webhook_id)):
        return 0
    return connection.change("hold_queued", account_id=account_id, webhook_id=webhook_id, limit=STEP)


def issue_challenge(connection: Connection, account_id: str, webhook_id: str, challenge_id: str) -> Challenge:
    webhook = webhook_to_edit(connection, account_id, webhook_id)
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
        if matched:
            accept_certificates(connection, [attempt])
    return verified


def release_step(connection: Connection, account_id: str, webhook_id: str, now: Instant) -> int:
    """Makes a step's worth of what was held due; 0 when none is left, or when the webhook may not be sent to."""
    rows = connection.rows("webhook_for_edit", account_id=account_id, webhook_id=webhook_id)
    if not rows or not may_be_sent_to(webhook_from(rows[0])):
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
    connection.change("forget_replaced", now=now)
    return released, expired


def add_attempt(connection: Connection, attempt: Attempt, event: NewEvent | None) -> int:
    if event is not None:
        (seq,) = connection.ids("events", 1)
        if not connection.change(
            "insert_test_event",
            seq=seq,
            account_id=event.account_id,
            id=event.id,
            type=event.type,
            time_at=event.time_at,
            accepted_at=event.accepted_at,
            expires_at=event.expires_at,
            fingerprint=event.fingerprint,
            payload=event.payload,
        ):
            raise Conflict(f"event {event.id} exists already")
    (id,) = connection.ids("attempts", 1)
    connection.many("insert_attempt", [attempt_row(id, attempt)])
    accept_certificates(connection, [attempt])
    return id


def reclaim(connection: Connection, now: Instant) -> int:
    return connection.change("reclaim", now=now)
