"""One attempt as JSON, and the cursor that walks the log: newest first, stable while new attempts arrive on top."""

from __future__ import annotations

import codecs
import hashlib
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode

from gridhook.errors import Invalid
from gridhook.model import Answered, Attempt, Instant, Timings, Unreachable
from gridhook.rules.diagnosis import diagnose
from gridhook.rules.header_fields import printable
from gridhook.rules.instants import rfc3339

LIMIT = 50
MOST = 100

_CHECK_BYTES = 6
_POSITION = re.compile(r"([0-9]{1,15})\.([0-9]{1,19})", re.ASCII)
_LARGEST_ID = 2**63 - 1
_SHOWN_NAME = 200
_SHOWN_VALUE = 8192
# Control characters, and those that turn the direction of text: shown raw they deceive.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(attempt: Attempt) -> dict[str, object]:
    """Everything that the log has of an attempt; what the receiver sent is escaped or encoded, never raw."""
    outcome = attempt.outcome
    words = diagnose(attempt)
    exchange = outcome.exchange
    answer = _answer(outcome) if isinstance(outcome, Answered) else None
    refusal = outcome if isinstance(outcome, Unreachable) else None
    return {
        "id": str(attempt.id),
        "kind": attempt.kind.value,
        "event_id": attempt.event_id,
        "event_type": attempt.event_type,
        "number": attempt.number,
        "outcome": "unreachable" if refusal else "answered",
        "status": outcome.status if isinstance(outcome, Answered) else None,
        "reason": refusal.reason.value if refusal else None,
        "phase": refusal.phase.value if refusal else None,
        "echo": None if attempt.echo is None else attempt.echo.value,
        "summary": words.summary,
        "remedy": words.remedy or None,
        "started_at": rfc3339(attempt.started_at),
        "timings_ms": _timings(exchange.timings),
        "remote_address": exchange.remote_address,
        "tls_version": exchange.tls_version,
        "reconnects": exchange.reconnects,
        "url": masked(attempt.url),
        "credential_id": attempt.credential_id,
        "response": answer,
        "next_attempt_at": None if attempt.next_attempt_at is None else rfc3339(attempt.next_attempt_at),
    }


def masked(url: str) -> str:
    """Without the query string: customers put tokens there."""
    bare, question, _ = url.partition("?")
    return f"{bare}?***" if question else bare


def cursor(position: tuple[Instant, int], webhook_id: str) -> str:
    """Where the next page begins, as text that is nobody's business but ours."""
    text = f"{position[0]}.{position[1]}".encode()
    return urlsafe_b64encode(_check(text, webhook_id) + text).rstrip(b"=").decode()


def read_cursor(text: str | None, webhook_id: str) -> tuple[Instant, int] | None:
    """The opposite; None for none. Raises `Invalid` for anything that `cursor` did not make for this webhook.

    The check keeps mistakes out, not attackers: every position in a log is its owner's to read.
    """
    if not text:
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raw = b""
    check, position = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    found = _POSITION.fullmatch(position.decode("latin-1"))
    # Written back and compared: the decoder passes over characters that are no base64.
    if found is None or check != _check(position, webhook_id) or urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise Invalid("cursor", "is not one that this list gave; start again without it")
    return int(found[1]), min(int(found[2]), _LARGEST_ID)


def _check(position: bytes, webhook_id: str) -> bytes:
    return hashlib.sha256(webhook_id.encode() + b"|" + position).digest()[:_CHECK_BYTES]


def _timings(timings: Timings) -> dict[str, float | None]:
    return {
        "dns": _ms(timings.dns_us),
        "connect": _ms(timings.connect_us),
        "tls": _ms(timings.tls_us),
        "first_byte": _ms(timings.first_byte_us),
        "total": _ms(timings.total_us),
    }


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _answer(outcome: Answered) -> dict[str, object]:
    body, encoding = _body(outcome.body, outcome.truncated)
    return {
        "headers": _headers(outcome.headers),
        "body": body,
        "encoding": encoding,
        "truncated": outcome.truncated,
        "body_error": outcome.body_error,
    }


def _headers(raw: bytes) -> list[list[str]]:
    """[name, value] in the receiver's order. The status line and anything else without a colon is left out."""
    fields = []
    for line in raw.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon and not name.startswith(b"HTTP/"):
            fields.append([printable(name.strip(), _SHOWN_NAME), printable(value.strip(), _SHOWN_VALUE)])
    return fields


def _body(body: bytes, truncated: bool) -> tuple[str, str]:
    """As text when it is printable UTF-8 (what the cap cut through is dropped), else in base64; and which of the two."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(body, final=not truncated)
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"
    return (b64encode(body).decode(), "base64") if _UNPRINTABLE.search(text) else (text, "text")
