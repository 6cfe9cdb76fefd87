"""Attempts: one request and its outcome. What the receiver sent is escaped or encoded, never raw."""

from __future__ import annotations

import codecs
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw

from gridhook.model import Answered, AttemptKind, Certificate, Echo, Origin, Phase, Reason, Timings, Unreachable
from gridhook.model import Attempt as LoggedAttempt
from gridhook.rules import ids
from gridhook.rules.diagnosis import diagnose
from gridhook.rules.header_fields import printable
from gridhook.rules.instants import rfc3339
from gridhook.rules.refusals import may_have_been_presented
from gridhook.store.promises import AttemptDetail as FoundAttempt
from gridhook.web import curl
from gridhook.web.shapes import Shape, Time, json_of, time_of

_SHOWN_NAME = 200
_SHOWN_VALUE = 8192
# Control characters, and those that turn the direction of text: shown raw they deceive.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class TimingsShown(Shape):
    """Milliseconds from the start; null: the phase was not reached, or a warm connection needed none."""

    dns: float | None
    connect: float | None
    tls: float | None
    first_byte: float | None
    total: float


class Response(Shape):
    """What the receiver answered. Written by the receiver: never put it into a page as HTML."""

    headers: Annotated[
        list[Annotated[list[str], Meta(min_length=2, max_length=2)]], Meta(description="[name, value] in the receiver's order.")
    ]
    body: Annotated[str, Meta(description="Up to 16 KiB.")]
    encoding: Annotated[Literal["text", "base64"], Meta(description="text: the body is printable UTF-8.")]
    truncated: bool
    body_error: Annotated[str | None, Meta(description="How the body broke off after the status, which counts all the same.")]


class Attempt(Shape):
    """One request that was made, and what came of it."""

    id: str
    kind: AttemptKind
    event_id: str | None
    event_type: str | None
    delivery_id: str | None
    number: Annotated[int, Meta(description="Of the delivery's attempts, from 1.")]
    origin: Annotated[Origin, Meta(description="Why there is the delivery: an event, or a person who asked again.")]
    outcome: Annotated[Literal["answered", "unreachable"], Meta(description="answered: a status came.")]
    status: int | None
    reason: Annotated[Reason | None, Meta(description="Why no status came.")]
    phase: Annotated[Phase | None, Meta(description="How far an unreachable one got.")]
    echo: Annotated[Echo | None, Meta(description="Of handshakes: what the receiver's answer was worth.")]
    summary: Annotated[str, Meta(description="What happened, in words; with the note, if there is one.")]
    remedy: Annotated[str | None, Meta(description="What to do, if anything.")]
    note: Annotated[str | None, Meta(description="Beside the outcome: that the receiver refused the newest certificate first, and why.")]
    started_at: Time
    timings_ms: TimingsShown
    remote_address: str | None
    tls_version: str | None
    reconnects: int
    url: Annotated[str, Meta(description="With its query string masked.")]
    credential_id: Annotated[
        str | None, Meta(description="The Private Key or client certificate of this attempt; whether it got so far, phase and reason say.")
    ]
    response: Response | None
    bodies_dropped: Annotated[bool, Meta(description="The answer's headers and body were dropped by retention.")]
    next_attempt_at: Annotated[
        Time | None, Meta(description="As planned when this one ended; the delivery's `due_at` is what holds, such as after a redelivery.")
    ]


class AttemptPage(Shape):
    """Newest first. A page may hold fewer than `limit`, or none, and yet have a `next_cursor`: go on until it is null."""

    attempts: list[Attempt]
    next_cursor: Annotated[str | None, Meta(description="Pass as `cursor` for older ones; null at the end.")]
    prev_cursor: Annotated[str | None, Meta(description="Pass as `newer` for newer ones, those that are yet to come too.")]


class Request(Shape):
    """What was sent, as far as it was kept."""

    method: Literal["POST"]
    payload: Annotated[
        Raw | None,
        Meta(description="The CloudEvent. null: dropped by retention, damaged, or a handshake's, which is not kept."),
    ]
    curl: Annotated[
        str | None,
        Meta(description="A command that repeats the request, to be run with the masked parts in its environment; null without payload."),
    ]


class PresentedCertificate(Shape):
    """Of a client certificate, what receivers' logs know it by."""

    id: str
    serial: Annotated[str, Meta(description="Hexadecimal.")]
    fingerprint: Annotated[str, Meta(description="SHA-256 of the certificate in DER, hexadecimal.")]


class AttemptDetail(Attempt, kw_only=True):
    """One attempt in full."""

    request: Request
    certificate: Annotated[
        PresentedCertificate | None, Meta(description="The client certificate, unless the attempt ended before it can have been presented.")
    ]


def shown(attempt: LoggedAttempt) -> Attempt:
    return Attempt(**_members(attempt))


def in_full(found: FoundAttempt, headers: tuple[str, ...] = (), certificates: Sequence[Certificate] = ()) -> AttemptDetail:
    """headers: names of the webhook's own headers, as they are now; their values are masked. certificates: the webhook's."""
    attempt = found.attempt
    payload = found.payload or None
    command = None
    if payload is not None and attempt.kind is not AttemptKind.VERIFICATION:
        certified = ids.is_certificate_id(attempt.credential_id)
        with_key = attempt.credential_id is not None and not certified
        command = curl.command(attempt.url, payload, with_key=with_key, with_certificate=certified, headers=headers)
    request = Request(method="POST", payload=json_of(payload), curl=command)
    presented = None
    if may_have_been_presented(attempt.outcome):
        presented = next((one for one in certificates if one.id == attempt.credential_id), None)
    return AttemptDetail(
        **_members(attempt),
        request=request,
        certificate=None if presented is None else PresentedCertificate(presented.id, presented.serial, presented.fingerprint),
    )


def masked(url: str) -> str:
    """Without the query string: customers put tokens there."""
    bare, question, _ = url.partition("?")
    return f"{bare}?***" if question else bare


def _members(attempt: LoggedAttempt) -> dict[str, Any]:
    outcome = attempt.outcome
    words = diagnose(attempt)
    exchange = outcome.exchange
    answer = outcome if isinstance(outcome, Answered) else None
    refusal = outcome if isinstance(outcome, Unreachable) else None
    return {
        "id": str(attempt.id),
        "kind": attempt.kind,
        "event_id": attempt.event_id,
        "event_type": attempt.event_type,
        "delivery_id": None if attempt.delivery_id is None else str(attempt.delivery_id),
        "number": attempt.number,
        "origin": attempt.origin,
        "outcome": "unreachable" if refusal else "answered",
        "status": answer.status if answer else None,
        "reason": refusal.reason if refusal else None,
        "phase": refusal.phase if refusal else None,
        "echo": attempt.echo,
        "summary": words.summary,
        "remedy": words.remedy or None,
        "note": attempt.note,
        "started_at": rfc3339(attempt.started_at),
        "timings_ms": _timings(exchange.timings),
        "remote_address": exchange.remote_address,
        "tls_version": exchange.tls_version,
        "reconnects": exchange.reconnects,
        "url": masked(attempt.url),
        "credential_id": attempt.credential_id,
        "response": _response(answer) if answer else None,
        "bodies_dropped": attempt.bodies_dropped,
        "next_attempt_at": time_of(attempt.next_attempt_at),
    }


def _timings(timings: Timings) -> TimingsShown:
    return TimingsShown(
        dns=_ms(timings.dns_us),
        connect=_ms(timings.connect_us),
        tls=_ms(timings.tls_us),
        first_byte=_ms(timings.first_byte_us),
        total=timings.total_us / 1000,
    )


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _response(answer: Answered) -> Response:
    body, encoding = _body(answer.body, answer.truncated)
    return Response(
        headers=_headers(answer.headers), body=body, encoding=encoding, truncated=answer.truncated, body_error=answer.body_error
    )


def _headers(raw: bytes) -> list[list[str]]:
    """The status line and anything else without a colon is left out."""
    fields = []
    for line in raw.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and not name.startswith(b"HTTP/"):
            fields.append([printable(name.strip(), _SHOWN_NAME), printable(value.strip(), _SHOWN_VALUE)])
    return fields


def _body(body: bytes, truncated: bool) -> tuple[str, Literal["text", "base64"]]:
    """As text when it is printable UTF-8 (what the cap cut through is dropped), else in base64; and which of the two."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=not truncated)
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"
    return (b64encode(body).decode(), "base64") if _UNPRINTABLE.search(text) else (text, "text")
