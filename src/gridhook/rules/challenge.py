"""The handshake that proves a receiver wants what we send: what we ask, and what its echo is worth. Pure.

Source: AccessGrid webhook guide, "Verifying your endpoint".
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import msgspec

from gridhook.model import Answered, Echo, Outcome
from gridhook.rules.requests import USER_AGENT

TOKEN_BYTES = 32
HEADER = "X-AccessGrid-Webhook-Challenge"

_BOM = b"\xef\xbb\xbf"


def new_token(entropy: bytes) -> str:
    """64 lower-case hex digits from `TOKEN_BYTES` random bytes. Good for one request and its answer only."""
    if len(entropy) != TOKEN_BYTES:
        raise ValueError(f"a challenge takes {TOKEN_BYTES} bytes of entropy")
    return entropy.hex()


def request_parts(token: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Headers and body of the handshake. No Authorization: the key must not go to a URL that is not proven yet."""
    headers = (("Content-Type", "application/json"), ("User-Agent", USER_AGENT), (HEADER, token))
    return headers, msgspec.json.encode({"challenge": token})


def judge_echo(outcome: Outcome, token: str) -> Echo:
    """What the answer is worth: `MATCHED` only for exactly 200 with a complete JSON object whose `challenge` is the token.

    The content type does not matter. A body that was cut or broke off is no JSON, even when its first part would do.
    """
    if not isinstance(outcome, Answered):
        return Echo.NO_ANSWER
    if outcome.status != 200:
        return Echo.WRONG_STATUS
    if outcome.truncated or outcome.body_error is not None:
        return Echo.NOT_JSON
    try:
        # RFC 8259 s8.1: parsers MAY ignore a byte order mark; some frameworks write one.
        value = msgspec.json.decode(outcome.body.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Echo.NOT_JSON
    if not isinstance(value, dict):
        return Echo.NOT_JSON
    if "challenge" not in value:
        return Echo.NO_CHALLENGE
    echoed = value["challenge"]
    if isinstance(echoed, str) and hmac.compare_digest(echoed.encode(), token.encode()):
        return Echo.MATCHED
    return Echo.MISMATCH


def is_trusted_host(host: str, trusted_hosts: Iterable[str]) -> bool:
    """Whether this very host needs no handshake, whatever its port or scheme. Not its subdomains: those belong to anyone."""
    return _plain(host) in {_plain(trusted) for trusted in trusted_hosts}


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")
