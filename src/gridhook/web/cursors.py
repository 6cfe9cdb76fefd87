"""Cursors: where in a log a page begins, as text that is nobody's business but ours. Pages stay stable while new rows arrive on top."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TypeAlias

from gridhook.errors import Invalid
from gridhook.model import Instant

Position: TypeAlias = tuple[Instant, int]
"""A row's place: (when, id). A cursor excludes the row that it stands on."""

LIMIT = 50
MOST = 100

_CHECK_BYTES = 6
_POSITION = re.compile(r"([0-9]{1,15})\.([0-9]{1,19})", re.ASCII)
_LARGEST_ID = 2**63 - 1


def cursor(position: Position, log: str) -> str:
    """log: whose; a cursor is good for its own log only."""
    text = f"{position[0]}.{position[1]}".encode()
    return urlsafe_b64encode(_check(text, log) + text).rstrip(b"=").decode()


def read_cursor(text: str | None, log: str, name: str = "cursor") -> Position | None:
    """The opposite; None for none. Raises `Invalid` for anything that `cursor` did not make for this log.

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
    if found is None or check != _check(position, log) or urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise Invalid(name, "is not one that this list gave; start again without it")
    return int(found[1]), min(int(found[2]), _LARGEST_ID)


def around(
    rows: list[Position], following: Position | None, *, before: Position | None, after: Position | None
) -> tuple[Position | None, Position | None]:
    """(next, prev) of a page: where older rows go on, None at the end, and where newer ones do, None only in an empty log.

    rows: of the page, newest first. following: what the store gave to go on in the direction asked for.
    A page without rows is no end: it has the other direction start with the row that it was asked from.
    """
    if after is None:
        newer = rows[0] if rows else (None if before is None else (before[0], max(0, before[1] - 1)))
        return following, newer
    # An empty page, and nothing newer yet: what is newer is asked for from the same place again.
    newer = following or (rows[0] if rows else after)
    older = rows[-1] if rows else (after[0], min(after[1] + 1, _LARGEST_ID))
    return older, newer


def _check(position: bytes, log: str) -> bytes:
    return hashlib.sha256(log.encode() + b"|" + position).digest()[:_CHECK_BYTES]
