"""Times that people type, as browsers' fields write them: in UTC without a script; with one, instants of the viewer's own zone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gridhook.errors import Invalid
from gridhook.model import Instant
from gridhook.rules.instants import rfc3339
from gridhook.web.pages.forms import sentence
from gridhook.web.reading import read_instant

_UNZONED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?", re.ASCII)


def read(fields: Mapping[str, str], name: str, errors: dict[str, str]) -> Instant | None:
    """Without a zone it is UTC, as the field's label says; RFC 3339 is read too. What cannot be read becomes an error of the field."""
    text = fields.get(name)
    if not text:
        return None
    if unzoned := _UNZONED.fullmatch(text):
        text += "Z" if unzoned[1] else ":00Z"
    try:
        return read_instant(text, name)
    except Invalid as refusal:
        errors[name] = sentence(refusal.message)
        return None


def as_field(text: str) -> str:
    """What a field of the kind datetime-local shows of it, in UTC and to the second: such fields know no zone. Empty for what cannot
    be read."""
    at = read({"": text.strip()}, "", {})
    return "" if at is None else rfc3339(at - at % 1000).removesuffix("Z")
