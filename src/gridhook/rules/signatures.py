"""Standard Webhooks: signing a delivery, so that its receiver can tell that body, id and time came from us unchanged. Pure.

Beside the bearer key, not in its place: the key proves who sends, the signature also what was sent and when.

Source: Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers".
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Sequence

PREFIX = "whsec_"
KEY_BYTES = 32
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

_KEY_BYTES_ALLOWED = range(24, 65)  # "At least 24 bytes (192 bits, 512 maximum)"
# Stays as it is in `webhook-id`: visible ASCII without "%", which begins an escape, and "." (see `header_id`).
_ESCAPED = re.compile(r"[^!-$&-\-/-~]")


def new_key(entropy: bytes) -> str:
    """A signing key as its receiver is shown it: `whsec_` and the base64 of 32 random bytes."""
    if len(entropy) != KEY_BYTES:
        raise ValueError(f"a signing key takes {KEY_BYTES} bytes of entropy")
    return PREFIX + base64.b64encode(entropy).decode()


def signature_headers(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature` of one attempt.

    keys: from `new_key`, newest first. While a key is being replaced there are two: a signature by each, and a receiver that
        knows either accepts the request.
    message_id: the event's id; the same at every attempt. Sent as `header_id` writes it, and that spelling is what is signed.
    timestamp: seconds since 1970, of this attempt and not of the event: receivers refuse what is older than a few minutes.
    body: the very bytes that are sent.

    Raises ValueError, without a key in its text, when there is no key or one is none of ours.
    """
    if not keys:
        raise ValueError("there is no key to sign with")
    if timestamp < 0:
        raise ValueError("a signature's timestamp counts seconds since 1970")
    sent_id = header_id(message_id)
    signed = f"{sent_id}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(_secret(key), signed, "sha256")).decode() for key in keys)
    values = (sent_id, str(timestamp), " ".join(f"v1,{signature}" for signature in signatures))
    return tuple(zip(HEADERS, values, strict=True))


def header_id(message_id: str) -> str:
    """An event id as `webhook-id` carries it: percent-encoded (UTF-8, RFC 3986 s2.1) where a header could not say it.

    Publishers choose ids, and may use any printable character. Encoded are white space, everything outside ASCII, "%" and
    ".": percent-decoding gives the id back, and two ids never become the same. The ids that we make stay as they are.

    Raises ValueError for an empty id and for one that is not Unicode text.
    """
    # "It's important that both the message id and the timestamp not be user controlled, or at the very least not be allowed to
    # include any `.`": else one signature would fit two splits of the same bytes into id, time and body.
    if not message_id:
        raise ValueError("a message without an id cannot be signed")
    return _ESCAPED.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), message_id)


def _secret(key: str) -> bytes:
    try:
        secret = base64.b64decode(key.removeprefix(PREFIX), validate=True) if key.startswith(PREFIX) else b""
    except ValueError:
        secret = b""
    if len(secret) not in _KEY_BYTES_ALLOWED:
        raise ValueError(f"a signing key is {PREFIX} and the base64 of {_KEY_BYTES_ALLOWED[0]} to {_KEY_BYTES_ALLOWED[-1]} bytes")
    return secret
