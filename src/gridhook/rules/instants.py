"""Instants as text and back: RFC 3339, in UTC when we write, with any stated offset when we read."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

from gridhook.model import Instant

FIRST: Instant = 0
LAST: Instant = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z: RFC 3339 has no year with five digits

# ASCII digits only: `\d` would also take Arabic or Devanagari ones. "T" and "Z" may be lower case (RFC 3339 s5.6).
_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MILLIS = tuple(f".{millis:03d}Z" for millis in range(1000))
_WANTED = "must be an RFC 3339 date and time with an offset, such as 2026-11-22T10:00:00Z"


def rfc3339(at: Instant) -> str:
    """`2026-11-22T10:00:00Z`, with three decimals only when they are not zero."""
    millis = at % 1000
    return _to_the_second(at // 1000) + (_MILLIS[millis] if millis else "Z")


def rfc3339_millis(at: Instant) -> str:
    """`2026-11-22T10:00:00.000Z`: always with three decimals, for texts that are put in order or stand below each other."""
    return _to_the_second(at // 1000) + _MILLIS[at % 1000]


@lru_cache(maxsize=256)
def _to_the_second(whole: int) -> str:
    """Kept: what happens in one second shares its text."""
    return datetime.fromtimestamp(whole, UTC).isoformat()[:19]


def parse_rfc3339(text: str) -> Instant:
    """The instant a strict RFC 3339 text names. The offset is required; a fraction is cut after the milliseconds.

    A leap second (23:59:60 UTC) counts as the second after it, as it does in every count of seconds since 1970.
    Raises `ValueError` with a sentence for the caller: not of that form, a date that does not exist, a year before 1970.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(_WANTED)
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction, zulu, sign, offset_hours, offset_minutes = match.group(7, 8, 9, 10, 11)
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise ValueError(f"no such date: {text[:10]}; {_WANTED}") from None
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(f"no such time of day: {text[11:19]}; {_WANTED}")
    offset = 0
    if zulu is None:
        offset = int(offset_hours) * 60 + int(offset_minutes)
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise ValueError(f"no such offset: {text[-6:]}; {_WANTED}")
        if sign == "-":
            offset = -offset
    minutes = days * 1440 + hour * 60 + minute - offset
    if second == 60 and minutes % 1440 != 1439:
        raise ValueError(f"no such time of day: {text[11:19]}; a leap second falls on 23:59:60 UTC only")
    at = (minutes * 60 + second) * 1000 + (int(fraction[:3].ljust(3, "0")) if fraction else 0)
    if not FIRST <= at <= LAST:
        raise ValueError("must lie between 1970-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z")
    return at
