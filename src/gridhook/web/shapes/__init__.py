"""What travels over HTTP, as types: bodies are encoded from and read into these, and their JSON Schemas are made from them.

A member of an answer is always there, null when it has nothing to say; one that may be absent has the default UNSET.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from gridhook.model import Instant
from gridhook.rules.instants import rfc3339

Time: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""An instant as text: RFC 3339, in UTC when we write it."""


class Shape(msgspec.Struct):
    """A JSON object."""


def json_of(payload: bytes | None) -> msgspec.Raw | None:
    """As it is kept. None too where it is no JSON any more: then it was damaged in the database, and an answer must be JSON."""
    try:
        msgspec.json.decode(payload or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return msgspec.Raw(payload or b"")


def time_of(at: Instant | None) -> Time | None:
    return None if at is None else rfc3339(at)
