"""Who signed an API call: X-PAYLOAD-SIG against the account's secrets, in every spelling that AccessGrid's SDKs use. Pure.

    P   = the raw body, unless it is blank; else the form-decoded query parameter `sig_payload`
    SIG = hex(HMAC-SHA256(key = secret as UTF-8, message = base64(P)))

Neither the method, nor the path, nor a time is signed. What can be had without breaking a client is had here: the id inside
`sig_payload` must belong to the path, and it may be given once only.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from urllib.parse import unquote, unquote_to_bytes

import msgspec

from gridhook.errors import Unauthenticated

REFUSAL = "Authentication failed: check X-ACCT-ID, and that X-PAYLOAD-SIG signs the request body, or sig_payload when there is no body"
"""The one text for every cause: it must not tell an unknown account from a wrong signature."""

LIVE_SECRETS = 2  # an account has at most two live secrets; the work done is always that for two
WRAP = 76  # columns of GNU base64 without -w0

# The fixed words of the console's routes that have more behind them. As an `id` they bind only to the last segment, where the SDKs'
# list calls have them: a list signature never changes, and must not be good for deleting everything below the list.
COLLECTIONS = frozenset({"v1", "console", "webhooks", "events", "attempts", "deliveries", "recoveries", "private-key", "certificates"})

_HEX = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
_STAND_IN = b"0" * 64  # as long as our secrets; what it matches is never accepted


class Spelling(StrEnum):
    """Which form of the signature was accepted."""

    STRICT = "strict"
    LATIN_1 = "latin_1"  # JS SDK: signs the Latin-1 form of a body that it sends as UTF-8
    WRAPPED = "wrapped"  # curl with GNU base64, lines of 76 columns
    SHA256 = "sha256"  # superseded: SHA-256(secret + base64(P))
    SHA256_WRAPPED = "sha256_wrapped"


@dataclass(frozen=True, slots=True)
class Proof:
    """What proved the caller: the position of the secret among those given, and the spelling. `payload` is P."""

    payload: bytes = field(repr=False)
    secret: int
    spelling: Spelling


def signed_payload(body: bytes, query: bytes) -> tuple[bytes, bool]:
    """P, and whether it came from the query. Raises `Unauthenticated` when there is none or more than one `sig_payload`.

    body: exactly as received. A body of `{}` is a body; only white space counts as none.
    query: the raw query string, without "?". `+` and `%20` both mean a space. P is never parsed and written again:
        spacing differs from SDK to SDK and is signed.
    """
    if body.strip():
        # A sig_payload beside a body is not read, but two of them are refused all the same.
        _sig_payload(query)
        return body, False
    payload = _sig_payload(query)
    if not payload:
        raise Unauthenticated(REFUSAL)  # absence is not "{}": AccessGrid's server answers 401 too
    return payload, True


def verify(
    *,
    secrets: Sequence[str],
    signature: str | None,
    body: bytes,
    query: bytes,
    path: str,
    wrapped_base64: bool = True,
    legacy_sha256: bool = False,
) -> Proof:
    """The proof that one of the secrets signed this request; raises `Unauthenticated(REFUSAL)` otherwise, whatever the cause.

    secrets: the account's live ones; none for an unknown account, which costs the same time and gets the same answer.
    signature: the header's value, 64 hex digits of either case.
    path: as it stands in the request line, still percent-encoded, without the query.
    The caller has capped the body already: all of it is hashed here.
    """
    if signature is None or not _HEX.fullmatch(signature):
        raise Unauthenticated(REFUSAL)
    payload, from_query = signed_payload(body, query)
    given = signature.lower().encode()
    keys = [secret.encode() for secret in secrets]
    found: tuple[int, Spelling] | None = None
    # Every key and every spelling is tried, whether or not one has matched: the time tells nothing.
    for position, key in enumerate(keys + [_STAND_IN] * (LIVE_SECRETS - len(keys))):
        for spelling, expected in _signatures(key, payload, from_query, wrapped_base64, legacy_sha256):
            same = hmac.compare_digest(given, expected)
            if same and position < len(keys) and found is None:
                found = position, spelling
    bound = not from_query or is_bound(payload, path)
    if found is None or not bound:
        raise Unauthenticated(REFUSAL)
    return Proof(payload, *found)


def sign(secret: str, payload: bytes) -> str:
    """X-PAYLOAD-SIG of this payload, as the SDKs compute it."""
    return hmac.digest(secret.encode(), b64encode(payload), "sha256").hex()


def is_bound(payload: bytes, path: str) -> bool:
    """Whether a `sig_payload` may be used on this path.

    An object with an `id` may, when the id is a segment of the path. `{}`, objects without `id` and anything that is not an
    object may everywhere: the Java SDK signs `{}` for list and delete. An id may also be the last segment with a query text
    behind it: the JS SDK lets the query leak into the id.
    """
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return True
    if not isinstance(value, dict) or "id" not in value:
        return True
    id_ = value["id"]
    if not isinstance(id_, str):
        return False
    raw = [segment for segment in path.split("/") if segment]
    if not raw:
        return False
    last = {raw[-1], unquote(raw[-1])}
    if id_ in last or any(id_.startswith(segment + "?") for segment in last):
        return True
    earlier = {form for segment in raw[:-1] for form in (segment, unquote(segment))}
    return id_ in earlier - COLLECTIONS


def _sig_payload(query: bytes) -> bytes:
    """The form-decoded `sig_payload`, empty when there is none."""
    values = []
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if _form_decoded(name) == b"sig_payload":
            values.append(_form_decoded(value))
    if len(values) > 1:
        raise Unauthenticated(REFUSAL)
    if not values:
        return b""
    try:
        values[0].decode()
    except UnicodeDecodeError:
        raise Unauthenticated(REFUSAL) from None
    return values[0]


def _form_decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _signatures(
    key: bytes, payload: bytes, from_query: bool, wrapped_base64: bool, legacy_sha256: bool
) -> Iterator[tuple[Spelling, bytes]]:
    """Every acceptable signature under this key. Which ones there are depends on the request and the settings, never on the key."""
    encoded = b64encode(payload)
    wrapped = _wrapped(encoded) if len(encoded) > WRAP else None
    yield Spelling.STRICT, _mac(key, encoded)
    if not from_query and (latin_1 := _latin_1(payload)) is not None:
        yield Spelling.LATIN_1, _mac(key, b64encode(latin_1))
    if wrapped_base64 and wrapped is not None:
        yield Spelling.WRAPPED, _mac(key, wrapped)
    if legacy_sha256:
        yield Spelling.SHA256, sha256(key + encoded).hexdigest().encode()
        if wrapped is not None:
            yield Spelling.SHA256_WRAPPED, sha256(key + wrapped).hexdigest().encode()


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256").hex().encode()


def _wrapped(encoded: bytes) -> bytes:
    """As `base64` prints it inside $(...): a newline between lines, none at the end."""
    return b"\n".join(encoded[at : at + WRAP] for at in range(0, len(encoded), WRAP))


def _latin_1(body: bytes) -> bytes | None:
    """What the JS SDK signed: its btoa() sees one unit per character up to U+00FF. None when that is the body itself or impossible."""
    if body.isascii():
        return None
    try:
        return body.decode("utf-8").encode("latin-1")
    except UnicodeError:
        return None
