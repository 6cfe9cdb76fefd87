"""The headers of what we send. Pure. The payload is not made here: it is stored as bytes and sent as those bytes.

Source: AccessGrid webhook guide, "The delivery payload".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from gridhook.model import Answered, Outcome

USER_AGENT = "AccessGrid-Webhooks/1.0"
CLOUDEVENT = "application/cloudevents+json"
BLOT = b"[secret]"
LEAST_SECRET = 8  # characters: a shorter value is no secret, and would be found everywhere

_PLAIN = ("Content-Type", "User-Agent")

# Bearer tokens are made by us; a CR, LF or NUL here would be a header of somebody's choice. RFC 6750 s2.1, b64token.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)


def without_secrets(outcome: Outcome, headers: Iterable[tuple[str, str]]) -> Outcome:
    """The outcome of a request with these headers, to be kept: what of them is a secret is blotted out of the receiver's answer.

    Debug pages echo a request's headers. The log must not become the place where a key can be read: the bearer token, and values of
    static headers that are long enough to be one. What a receiver encodes before it sends it back is beyond us.
    """
    if not isinstance(outcome, Answered) or not (outcome.body or outcome.headers):
        return outcome
    for name, value in headers:
        if name == "Authorization":
            value = value.removeprefix("Bearer ")
        elif name in _PLAIN or len(value) < LEAST_SECRET or name.startswith("webhook-"):
            continue
        secret = value.encode("ascii", "replace")
        # Not `in`: of bytes that asks first whether the secret is a number, by way of an error that is raised and dropped.
        if outcome.body.find(secret) >= 0 or outcome.headers.find(secret) >= 0:
            outcome = replace(outcome, body=outcome.body.replace(secret, BLOT), headers=outcome.headers.replace(secret, BLOT))
        if outcome.truncated:  # the cap may have cut through it
            cut = next((n for n in range(len(secret) - 1, LEAST_SECRET - 1, -1) if outcome.body.endswith(secret[:n])), 0)
            if cut:
                outcome = replace(outcome, body=outcome.body[:-cut] + BLOT)
    return outcome


def delivery_headers(bearer_token: str | None, extra: Iterable[tuple[str, str]] = ()) -> tuple[tuple[str, str], ...]:
    """What every attempt of a delivery carries: the guide's three headers in its order, Authorization only with a token, then `extra`.

    extra: the webhook's static headers, as `static_headers.check_headers` let them pass. The headers of a signature are not among
        them: they change with each attempt, and are put after these.

    Raises ValueError, without the token in its text, when the token cannot stand in a header.
    """
    headers = (("Content-Type", CLOUDEVENT), ("User-Agent", USER_AGENT))
    if bearer_token is None:
        return (*headers, *extra)
    if not _TOKEN.fullmatch(bearer_token):
        raise ValueError("the bearer token holds characters that no header may carry")
    return (*headers, ("Authorization", f"Bearer {bearer_token}"), *extra)
