"""Identifiers and secrets as text, made from entropy that the caller draws. Pure.

The SDKs sign the last segment of a path as an id, so an id must be safe in a path, must be none of the words suspend, resume,
unlink, delete, publish, verify, webhooks, key-cards, and must not contain "templates" (the C# SDK then signs something else).
The prefix settles the words; the alphabet, Crockford's base 32 without i, l, o and u, settles "templates".
"""

from __future__ import annotations

from uuid import UUID

from gridhook.model import Instant

ID_BYTES = 16
UUID_BYTES = 10
SECRET_BYTES = 32

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def webhook_id(entropy: bytes) -> str:
    """`wh_` and 26 characters, from 16 random bytes."""
    return "wh_" + _text(entropy)


def account_id(entropy: bytes) -> str:
    return "acc_" + _text(entropy)


def secret_id(entropy: bytes) -> str:
    """Of one of an account's API secrets."""
    return "sec_" + _text(entropy)


def credential_id(entropy: bytes) -> str:
    """Of a webhook's bearer key."""
    return "cred_" + _text(entropy)


def signing_key_id(entropy: bytes) -> str:
    """Of a webhook's Standard Webhooks key."""
    return "sig_" + _text(entropy)


def authority_id(entropy: bytes) -> str:
    """Of one of our certificate authorities."""
    return "ca_" + _text(entropy)


def certificate_id(entropy: bytes) -> str:
    """Of a webhook's client certificate, and of the credential that holds its key."""
    return "crt_" + _text(entropy)


def is_certificate_id(text: str | None) -> bool:
    """Whether this names a client certificate, not a bearer key."""
    return text is not None and text.startswith("crt_")


def person_id(entropy: bytes) -> str:
    """Of somebody who may sign in to the console."""
    return "usr_" + _text(entropy)


def recovery_id(entropy: bytes) -> str:
    return "rec_" + _text(entropy)


def challenge_id(entropy: bytes) -> str:
    """Of one handshake; not its token."""
    return "ch_" + _text(entropy)


def publisher_key_id(entropy: bytes) -> str:
    return "key_" + _text(entropy)


def request_id(entropy: bytes) -> str:
    return "req_" + _text(entropy)


def secret_text(entropy: bytes) -> str:
    """A secret to be shown once: 64 lower-case hex digits from 32 random bytes, safe in a header."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a secret takes {SECRET_BYTES} bytes of entropy")
    return entropy.hex()


def uuid7(now: Instant, entropy: bytes) -> str:
    """An event id: a version 7 UUID (RFC 9562 s5.7), in order of time by the millisecond. Takes 10 random bytes."""
    if len(entropy) != UUID_BYTES:
        raise ValueError(f"a version 7 UUID takes {UUID_BYTES} bytes of entropy")
    if not 0 <= now < 1 << 48:
        raise ValueError("a version 7 UUID holds instants from 1970 to the year 10889")
    chance = int.from_bytes(entropy)
    high, low = chance >> 68, chance & ((1 << 62) - 1)  # 12 and 62 of the 80 bits
    return str(UUID(int=now << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))


def _text(entropy: bytes) -> str:
    if len(entropy) != ID_BYTES:
        raise ValueError(f"an id takes {ID_BYTES} bytes of entropy")
    number = int.from_bytes(entropy)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
