"""Webhooks, deliveries and recoveries as the command line shows them: as the API's JSON, or in short text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from gridhook.cli.terminal import instant, safe
from gridhook.model import AuthMethod, Delivery, DeliveryState, Health, Instant, LaneLimits, Origin, Recovery, Webhook, Window
from gridhook.rules.catalogue import EVENT_TYPES
from gridhook.service.webhooks import Detail, Listed
from gridhook.web.shapes import Shape, certificates, health
from gridhook.web.shapes import webhooks as shapes

DELIVERIES = ("DELIVERY", "STATE", "EVENT TYPE", "EVENT ID", "ATTEMPTS", "LAST RESULT", "NEXT ATTEMPT", "EXPIRES", "CREATED")


def fields(values: Mapping[str, object]) -> None:
    """One line per value; a value of several lines goes on below, indented."""
    for name, value in values.items():
        texts = [str(one) for one in value] if isinstance(value, list | tuple) else ["-" if value is None else str(value)]
        for place, text in enumerate(texts or ["-"]):
            click.echo(f"{name if place == 0 else '':18} {safe(text)}".rstrip())


def builtin(shape: Shape) -> Any:
    """As the API would say it, for `json_line`."""
    return msgspec.json.decode(msgspec.json.encode(shape))


# --- webhooks ---


def webhook_json(webhook: Webhook) -> dict[str, Any]:
    limits = webhook.limits or LaneLimits()
    return {
        "webhook": webhook.id,
        "account": webhook.account_id,
        "name": webhook.name,
        "url": webhook.url,
        "status": webhook.status,
        "verified_at": _instant(webhook.verified_at),
        "paused_at": _instant(webhook.paused_at),
        "auth_method": webhook.auth_method.value,
        "subscribed_events": list(webhook.subscribed_events),
        "created_at": instant(webhook.created_at),
        "revision": webhook.revision,
        "max_in_flight": limits.max_in_flight,
        "rate_per_second": limits.rate_per_second,
    }


def listed_json(listed: Listed) -> dict[str, Any]:
    waiting = {"held": listed.held, "held_until": _instant(listed.held_until)}
    expires = {} if listed.certificate is None else {"cert_expires_at": instant(listed.certificate.expires_at)}
    return {**webhook_json(listed.webhook), **expires, **waiting, "health": builtin(health.summary(listed.health))}


def detail_json(detail: Detail) -> dict[str, Any]:
    counts = detail.counts
    return {
        **webhook_json(detail.webhook),
        "held": counts.held,
        "held_until": _instant(counts.held_until),
        "queued": counts.queued,
        "oldest_expires_at": _instant(counts.oldest_expires_at),
        "headers": list(detail.headers),
        "private_keys": [builtin(key) for key in shapes.private_keys(detail)],
        "signing_keys": [
            {"id": key.id, "created_at": instant(key.created_at), "expires_at": _instant(key.expires_at)} for key in detail.signing_keys
        ],
        **_presented_json(detail),
        "health": builtin(health.whole(detail.health)),
    }


def detail_lines(detail: Detail, now: Instant) -> dict[str, object]:
    """The same for people: name to text."""
    webhook, counts, limits = detail.webhook, detail.counts, detail.webhook.limits or LaneLimits()
    rate = "no limit of its own" if limits.rate_per_second is None else f"{limits.rate_per_second:g} a second"
    return {
        "webhook": webhook.id,
        "account": webhook.account_id,
        "name": webhook.name,
        "url": webhook.url,
        "status": state(webhook),
        "verified_at": _instant(webhook.verified_at),
        "paused_at": _instant(webhook.paused_at),
        "auth_method": webhook.auth_method.value,
        "created_at": instant(webhook.created_at),
        "revision": webhook.revision,
        "subscribed_events": f"all {len(EVENT_TYPES)} types"
        if set(webhook.subscribed_events) == set(EVENT_TYPES)
        else ", ".join(webhook.subscribed_events),
        "held": held(counts.held, counts.held_until),
        "queued": counts.queued,
        "in flight, at most": "no limit of its own" if limits.max_in_flight is None else limits.max_in_flight,
        "rate, at most": rate,
        "headers": ", ".join(detail.headers) or None,
        "private keys": [_private_key(key.id, key.activates_at, detail.key_in_use, now) for key in detail.keys],
        "signing keys": [
            key.id + ("" if key.expires_at is None else f"  replaced, signs along until {instant(key.expires_at)}")
            for key in detail.signing_keys
        ],
        **_presented_lines(detail),
        "health": health_words(detail.health),
        "last hour": window_words(detail.health.hour),
        "last day": window_words(detail.health.day),
    }


def _presented_json(detail: Detail) -> dict[str, Any]:
    if detail.webhook.auth_method is not AuthMethod.MTLS:
        return {}
    shown = certificates.presented(detail.certificates, detail.last_used)
    expires = {} if shown.presented is None else {"cert_expires_at": shown.presented.expires_at}
    return {**expires, "certificate": builtin(shown)}


def _presented_lines(detail: Detail) -> dict[str, object]:
    """Of an mTLS webhook: what it presents, and how far its receiver is."""
    if detail.webhook.auth_method is not AuthMethod.MTLS:
        return {}
    shown = certificates.presented(detail.certificates, detail.last_used)
    lines = []
    if (new := shown.presented) is not None:
        accepted = "not accepted yet" if new.accepted_at is None else f"accepted {new.accepted_at}"
        lines.append(f"{new.id}  {new.state.value}, {accepted}, expires {new.expires_at}")
    if (old := shown.fallback) is not None:
        lines.append(f"{old.id}  fallen back on until {old.retires_at}")
    return {"certificates": lines, "last used": detail.last_used}


def state(webhook: Webhook) -> str:
    return f"{webhook.status}, paused" if webhook.paused_at is not None else webhook.status


def held(count: int, until: Instant | None) -> str:
    return f"{count}, the oldest until {instant(until)}" if count and until is not None else str(count)


def _private_key(key_id: str, activates_at: Instant, in_use: str | None, now: Instant) -> str:
    if key_id == in_use:
        return f"{key_id}  in use since {instant(activates_at)}"
    return f"{key_id}  " + (f"will be used from {instant(activates_at)} on" if activates_at > now else "replaced")


# --- health ---


def health_words(been: Health) -> str:
    if been.failing_since is not None:
        row = "1 failure" if been.consecutive_failures == 1 else f"{been.consecutive_failures} failures in a row"
        return f"failing since {instant(been.failing_since)}: {row}, last {been.last_result or '-'}"
    return "nothing sent yet" if been.last_success_at is None else f"well, last received {instant(been.last_success_at)}"


def window_words(window: Window) -> str:
    made = window.succeeded + window.failed
    if not made:
        return "no attempts"
    slow = health.percentile_ms(0.95, window.latencies)
    return (
        f"{window.succeeded} of {made} attempts received ({100 * window.succeeded / made:.4g} %), "
        f"{window.latency_ms / made:.0f} ms on average, 95 % within {slow:.0f} ms"
    )


# --- deliveries ---


def delivery_row(delivery: Delivery) -> tuple[object, ...]:
    """Under DELIVERIES."""
    waits = delivery.state in (DeliveryState.HELD, DeliveryState.QUEUED)
    return (
        delivery.id,
        delivery_state(delivery),
        delivery.event_type,
        delivery.event_id,
        delivery.attempts,
        delivery.last_result or "-",
        "now" if delivery.in_flight else instant(delivery.due_at),
        instant(delivery.expires_at) if waits else "-",
        instant(delivery.created_at),
    )


def delivery_state(delivery: Delivery) -> str:
    words: Sequence[str] = ["in flight" if delivery.in_flight else delivery.state.value]
    if delivery.failure_reason is not None:
        words = [*words, delivery.failure_reason.value]
    if delivery.origin is not Origin.EVENT:
        words = [*words, delivery.origin.value]
    return ", ".join(words)


# --- recoveries ---


def recovery_words(recovery: Recovery) -> str:
    parts = [f"{recovery.requeued} sent again"]
    if recovery.skipped:
        parts.append(f"{recovery.skipped} passed over (waiting already, or received meanwhile)")
    if recovery.gone:
        parts.append(f"{recovery.gone} gone (their payload is past retention)")
    return f"{recovery.examined} of {recovery.expected} looked at: " + ", ".join(parts)


def recovery_state(recovery: Recovery) -> str:
    ended = "" if recovery.finished_at is None else f" {instant(recovery.finished_at)}"
    return recovery.state.value + ended


def _instant(at: Instant | None) -> str | None:
    return None if at is None else instant(at)
