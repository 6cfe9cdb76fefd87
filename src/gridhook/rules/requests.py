"""The headers of what we send. Pure. The payload is not made here: it is stored as bytes and sent as those bytes.

Source: AccessGrid webhook guide, "The delivery payload".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

USER_AGENT = "AccessGrid-Webhooks/1.0"
CLOUDEVENT = "application/cloudevents+json"

# Bearer tokens are made by us; a CR, LF or NUL here would be a header of somebody's choice. RFC 6750 s2.1, b64token.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)


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
