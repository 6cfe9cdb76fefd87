"""What a log line must not show, taken out of texts that others wrote: exceptions, library messages, free fields.

The wide lines need none of this: they are built from fields that are chosen one by one. This is the second fence.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

HIDDEN = "***"
LONGEST_TEXT = 8_000  # characters of one field: a traceback fits, a payload does not flood the log

# Names of fields whose values are never shown, whoever passes them; compared in lower case with - as _.
_SECRET_NAMES = re.compile(
    r"(?:.*_)?(?:authorization|cookie|set_cookie|password|passwd|secret|secrets|token|private_key|master_key|key|x_payload_sig|sig_payload"
    r"|signature|challenge|x_accessgrid_webhook_challenge|credential|payload|data|body|headers|query|query_string|database_url|dsn|pem)"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;]+"), rf"\1 {HIDDEN}"),
    (
        re.compile(
            r"(?i)(authorization|x-payload-sig|x-accessgrid-webhook-challenge|sig_payload|private_key|master_key|password|secret|token|challenge)"
            r"([\"']?\s*[:=]\s*)(?!\*\*\*)(?:(?:bearer|basic)\s+)?(?:\"[^\"]*\"?|'[^']*'?|[^\s\"',;&]+)"
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)[^/\s\"'@]+@"), rf"\1{HIDDEN}@"),
    # Query strings, of URLs and of request lines ("GET /v1/...?sig_payload=... HTTP/1.1"). In prose a space follows the "?".
    (re.compile(r"(?<=[^\s?])\?[^\s\"'<>]+"), f"?{HIDDEN}"),
    (re.compile(r"(?<=/console/link/)[A-Za-z0-9_-]+"), HIDDEN),  # a one-time link opens the door to whoever reads it
    (re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])"), HIDDEN),  # our keys, secrets, tokens and signatures
)


def redacted(text: str) -> str:
    """The text without credentials, signatures, challenges, PEM blocks, passwords in URLs and query strings; cut when very long."""
    cut = text[: LONGEST_TEXT * 2]  # before the patterns: their cost must not be the writer's choice
    for pattern, shown in _PATTERNS:
        cut = pattern.sub(shown, cut)
    return cut if len(text) <= LONGEST_TEXT and len(cut) <= LONGEST_TEXT else cut[:LONGEST_TEXT] + "..."


def is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.fullmatch(name.lower().replace("-", "_")) is not None


def shown(name: str, value: Any) -> Any:
    """A free field's value as it may stand in a line: numbers as they are, texts redacted, bytes only counted."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_secret_name(name):
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {str(key): shown(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(name, item) for item in value]
    return redacted(str(value))


@lru_cache(maxsize=512)
def bare_url(url: str) -> str:
    """Without query string and fragment: customers put tokens there."""
    return url.partition("?")[0].partition("#")[0]
