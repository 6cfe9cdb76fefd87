"""One attempt on the terminal: a row of the log, everything that was kept as JSON, and the whole of it for a person."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import click

from gridhook.cli.terminal import instant, json_line, safe, safe_bytes
from gridhook.model import Answered, Attempt, Certificate, Origin, Outcome
from gridhook.rules import ids
from gridhook.rules.diagnosis import diagnose
from gridhook.service import Service
from gridhook.store.promises import AttemptDetail
from gridhook.web.shapes import attempts as shapes

HEADER = ("ATTEMPT", "STARTED", "KIND", "EVENT TYPE", "EVENT ID", "#", "RESULT", "MS", "WHAT HAPPENED")
SHOWN_BYTES = 4096  # of each of the receiver's headers together and its body
PHASES = (("dns", "dns_us"), ("connect", "connect_us"), ("tls", "tls_us"), ("first byte", "first_byte_us"), ("total", "total_us"))


@dataclass(frozen=True, slots=True)
class Found:
    """An attempt with what was sent. headers: names of the webhook's own headers, as they are now. certificates: the webhook's."""

    detail: AttemptDetail
    headers: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()

    @property
    def attempt(self) -> Attempt:
        return self.detail.attempt


async def find(service: Service, account: str, attempt_id: int) -> Found:
    """Raises `NotFound`."""
    detail = await service.store.attempt(account, attempt_id)
    if detail.webhook is None:
        return Found(detail)
    webhook = await service.webhooks.detail(account, detail.webhook.id)
    return Found(detail, webhook.headers, tuple(one.certificate for one in webhook.certificates))


def is_received(outcome: Outcome) -> bool:
    return isinstance(outcome, Answered) and outcome.status in (200, 201)


def row(attempt: Attempt, *, remedy: bool) -> tuple[str, ...]:
    """Under HEADER."""
    words = diagnose(attempt)
    said = words.summary
    if attempt.next_attempt_at is not None:
        said += f"; next attempt {instant(attempt.next_attempt_at)}"
    if remedy and words.remedy:
        said += f" -> {words.remedy}"
    return (
        str(attempt.id),
        instant(attempt.started_at),
        kind(attempt),
        attempt.event_type or "-",
        attempt.event_id or "-",
        str(attempt.number),
        result(attempt.outcome),
        f"{attempt.outcome.exchange.timings.total_us / 1000:.1f}",
        said,
    )


def kind(attempt: Attempt) -> str:
    """Also says when a person asked for it."""
    return attempt.kind.value if attempt.origin is Origin.EVENT else attempt.origin.value


def result(outcome: Outcome) -> str:
    return str(outcome.status) if isinstance(outcome, Answered) else outcome.reason.value


def show(found: Found, as_json: bool) -> None:
    """All of it, with the request as a command that repeats it."""
    whole = shapes.in_full(found.detail, found.headers, found.certificates)
    request, presented = whole.request, whole.certificate
    if as_json:
        payload = None if request.payload is None else json.loads(bytes(request.payload))
        shown = None if presented is None else {"id": presented.id, "serial": presented.serial, "fingerprint": presented.fingerprint}
        click.echo(json_line({**attempt_json(found.attempt), "certificate": shown, "payload": payload, "curl": request.curl}))
        return
    lines = _lines(found.attempt)
    if presented is not None:
        lines["certificate"] += f", serial {presented.serial}"
    for name, value in lines.items():
        click.echo(f"{name:18} {safe(value)}")
    outcome = found.attempt.outcome
    if isinstance(outcome, Answered):
        for title, text in (("answer's headers", outcome.headers), ("answer's body", outcome.body)):
            click.echo(f"{title:18} {'' if text else '-'}".rstrip())
            for line in text[:SHOWN_BYTES].splitlines():
                click.echo(f"    {safe_bytes(line, SHOWN_BYTES)}")
    if request.curl is not None:
        first = "QUERY" if ids.is_certificate_id(found.attempt.credential_id) else "PRIVATE_KEY first, and QUERY"
        click.echo(f"to repeat it (set {first} where it stands; put the values of your own headers for ***)")
        click.echo(_printable(request.curl))


def _printable(command: str) -> str:
    """What cannot be printed stands in the payload, inside a JSON text: as JSON's own escape it means the same."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in command)


def _lines(attempt: Attempt) -> dict[str, str]:
    words, outcome = diagnose(attempt), attempt.outcome
    exchange = outcome.exchange
    timings = ((name, getattr(exchange.timings, field)) for name, field in PHASES)
    lines = {
        "attempt": f"{attempt.id}, {kind(attempt)}, number {attempt.number}",
        "webhook": attempt.webhook_id,
        "event": f"{attempt.event_id} {attempt.event_type}" if attempt.event_id else "-",
        "delivery": "-" if attempt.delivery_id is None else str(attempt.delivery_id),
        "started": instant(attempt.started_at),
        "url": attempt.url,
        "result": result(outcome),
        "what happened": words.summary,
        "what to do": words.remedy or "-",
        "next attempt": instant(attempt.next_attempt_at),
        "timings": ", ".join(f"{name} {us / 1000:.1f} ms" for name, us in timings if us is not None),
        "remote address": exchange.remote_address or "-",
        "tls version": exchange.tls_version or "-",
        "certificate" if ids.is_certificate_id(attempt.credential_id) else "Private Key": attempt.credential_id or "-",
    }
    if not isinstance(outcome, Answered) and outcome.detail:
        lines["detail"] = outcome.detail
    if attempt.bodies_dropped:
        lines["answer"] = "dropped by retention"
    return lines


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    """All that the log keeps; the receiver's bytes as text with escapes."""
    outcome, words = attempt.outcome, diagnose(attempt)
    exchange = outcome.exchange
    timings = exchange.timings
    shown: dict[str, Any] = {
        "attempt": attempt.id,
        "account": attempt.account_id,
        "webhook": attempt.webhook_id,
        "kind": attempt.kind.value,
        "event_type": attempt.event_type,
        "event_id": attempt.event_id,
        "number": attempt.number,
        "started_at": instant(attempt.started_at),
        "url": attempt.url,
        "status": None,
        "reason": None,
        "echo": attempt.echo and attempt.echo.value,
        "summary": words.summary,
        "remedy": words.remedy,
        "next_attempt_at": attempt.next_attempt_at and instant(attempt.next_attempt_at),
        "timings_us": {
            "dns": timings.dns_us,
            "connect": timings.connect_us,
            "tls": timings.tls_us,
            "first_byte": timings.first_byte_us,
            "total": timings.total_us,
        },
        "remote_address": exchange.remote_address,
        "tls_version": exchange.tls_version,
        "reconnects": exchange.reconnects,
        "credential": attempt.credential_id,
        "note": attempt.note,
        "delivery": attempt.delivery_id,
        "origin": attempt.origin.value,
        "bodies_dropped": attempt.bodies_dropped,
    }
    if isinstance(outcome, Answered):
        shown |= {
            "status": outcome.status,
            "response_headers": outcome.headers.decode("utf-8", "backslashreplace"),
            "response_body": outcome.body.decode("utf-8", "backslashreplace"),
            "truncated": outcome.truncated,
            "body_error": outcome.body_error,
        }
    else:
        shown |= {"reason": outcome.reason.value, "phase": outcome.phase.value, "detail": outcome.detail}
    return shown
