"""From what a publisher said to the CloudEvent that every receiver gets, byte for byte. Pure: time, ids and limits come in.

Two spellings are read: a structured CloudEvent 1.0, and the plain object `{"type", "data", "id"?, "time"?}`.
Values are those of `strict_json.parse`; nothing else guarantees that they can be written again unchanged.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from gridhook.errors import Invalid, TooLarge
from gridhook.model import Instant, NewEvent, Value
from gridhook.rules.catalogue import EventType, check, event_type
from gridhook.rules.instants import parse_rfc3339, rfc3339

MAX_ID_CHARS = 255

_PLAIN = frozenset(("type", "data", "id", "time"))
_STRUCTURED = frozenset(("specversion", "id", "source", "type", "datacontenttype", "dataschema", "time", "data"))
_DROPPED = frozenset(("traceparent", "tracestate"))  # hop by hop: they belong to the publisher's request, not to the event

_write = msgspec.json.Encoder().encode
_write_sorted = msgspec.json.Encoder(order="sorted").encode


class Draft(Value, frozen=True):
    """An event as its publisher put it: well-formed, not yet held against the catalogue, the clock or the limits."""

    type: str
    data: object
    id: str | None = None
    time_at: Instant | None = None


def read_event(value: object, *, plain: bool) -> Draft:
    """One event from its parsed JSON. plain: the body was `application/json`, not a CloudEvents media type.

    Of a CloudEvent, `source` and `dataschema` are replaced by ours, `traceparent` and `tracestate` are not carried on, and any
    other attribute is refused: the receivers would not get it, and the publisher would not know. Null counts as absent
    (CloudEvents 1.0 JSON format s3.1). Raises `Invalid`; the field is a JSON pointer below the event, "" for the whole.
    """
    if not isinstance(value, dict):
        raise Invalid("", f"an event must be a JSON object, not {_kind(value)}")
    if plain:
        if not value.keys() <= _PLAIN:
            raise _unknown(value, _PLAIN, " is not a field of an event; there are type, data, id and time")
    else:
        _check_envelope(value)
    type_ = value.get("type")
    if not isinstance(type_, str) or not type_:
        raise Invalid("/type", "is required" if type_ is None else f"must be a non-empty string, not {_kind(type_)}")
    data = value.get("data")
    if data is None:
        raise Invalid("/data", "is required: an object that keeps the schema of the event's type")
    id_ = value.get("id")
    if id_ is not None:
        _check_id(id_)
    time = value.get("time")
    return Draft(type_, data, id_, None if time is None else _time(time))


class Terms(Value, frozen=True):
    """What is the same for all events that a process accepts."""

    window_ms: int  # how old an event's `time` may be, and for how long after it attempts are made
    skew_ms: int  # how far a publisher's clock may run ahead of ours
    source: str
    base_url: str  # where receivers find the schemas, without a slash at its end
    max_bytes: int  # of the event as sent


def accept(draft: Draft, account_id: str, new_id: str, now: Instant, terms: Terms) -> NewEvent:
    """The event as it will be stored and sent, if it may be. new_id: its id, unless the publisher gave one.

    The fingerprint covers type, data and (if given) time: not the order of keys, not how the time was spelled. 1 and 1.0
    are different content, as they are different bytes at the receiver.

    Raises `Invalid` (unknown type, `data` that breaks its schema, `time` outside the window) and `TooLarge`.
    """
    known = event_type(draft.type)
    check(known, draft.data)
    time_at = now if draft.time_at is None else draft.time_at
    if time_at > now + terms.skew_ms:
        ahead = f"{rfc3339(time_at)} lies {_span(time_at - now)} in the future"
        raise Invalid("/time", f"{ahead}; set the publisher's clock, or leave time out: it is {rfc3339(now)} here")
    if time_at <= now - terms.window_ms:
        ago = f"{rfc3339(time_at)} is {_span(now - time_at)} ago"
        raise Invalid("/time", f"{ago}, and events are delivered for {_span(terms.window_ms)} only; leave time out to publish it as of now")
    id_ = draft.id or new_id
    payload = _write(_envelope(known, id_, terms.source, terms.base_url, time_at, draft.data))
    if len(payload) > terms.max_bytes:
        raise TooLarge(f"the event takes {len(payload)} bytes as sent; the limit is {terms.max_bytes}")
    fingerprint = hashlib.sha256(_write_sorted((draft.type, draft.data, draft.time_at))).digest()
    return NewEvent(account_id, id_, draft.type, time_at, now, time_at + terms.window_ms, payload, fingerprint)


TEST_SOURCE = "/accessgrid/test"


def synthetic_event(type: str, data: object, *, account_id: str, id: str, now: Instant, base_url: str) -> NewEvent:
    """The event of a test send: the envelope of a real one, with a source of its own and the flag `test: true`.

    Owed to nobody: it expires as it is made. Raises `Invalid` for a type that the catalogue does not have.
    """
    known = event_type(type, field="type")
    payload = _write(_envelope(known, id, TEST_SOURCE, base_url, now, data, True))
    return NewEvent(
        account_id=account_id,
        id=id,
        type=type,
        time_at=now,
        accepted_at=now,
        expires_at=now,
        payload=payload,
        fingerprint=hashlib.sha256(payload).digest(),
    )


class _Envelope(msgspec.Struct, omit_defaults=True, gc=False):
    """In the order of its members on the wire."""

    specversion: str
    id: str
    source: str
    type: str
    datacontenttype: str
    dataschema: str
    time: str
    data: object
    test: bool = False


def _envelope(known: EventType, id: str, source: str, base_url: str, time_at: Instant, data: object, test: bool = False) -> _Envelope:
    return _Envelope("1.0", id, source, known.type, "application/json", base_url + known.path, rfc3339(time_at), data, test)


def _check_envelope(value: dict[str, Any]) -> None:
    """The attributes that are the same for every event: there, right, and no others."""
    # "Unset attributes MAY be encoded to the JSON value of null": an unknown one that is null says nothing that could be lost.
    if not value.keys() <= _STRUCTURED:
        given = {name for name, content in value.items() if content is not None}
        if "data_base64" in given:
            raise Invalid("/data_base64", "is not supported; send the object itself in data")
        if not given <= _STRUCTURED | _DROPPED:
            raise _unknown(given, _STRUCTURED | _DROPPED, " is an attribute that receivers would not get; put it into data or leave it out")
    for name in ("id", "source"):
        text = value.get(name)
        if not isinstance(text, str) or not text:
            raise Invalid(f"/{name}", "is required" if text is None else f"must be a non-empty string, not {_kind(text)}")
    version = value.get("specversion")
    if version != "1.0":
        raise Invalid("/specversion", 'is required and must be "1.0"' if version is None else 'must be "1.0"')
    content_type = value.get("datacontenttype")
    if content_type is not None and content_type != "application/json" and not _is_json(content_type):
        raise Invalid("/datacontenttype", "must be application/json, or left out")
    schema = value.get("dataschema")
    if schema is not None and (not isinstance(schema, str) or not schema):
        raise Invalid("/dataschema", f"must be a URI, not {_kind(schema)}, or left out")


def _is_json(content_type: object) -> bool:
    return isinstance(content_type, str) and content_type.partition(";")[0].strip().lower() == "application/json"


def _check_id(id_: object) -> None:
    if not isinstance(id_, str) or not id_:
        raise Invalid("/id", f"must be a non-empty string, not {_kind(id_)}")
    if len(id_) > MAX_ID_CHARS:
        raise Invalid("/id", f"has {len(id_)} characters; at most {MAX_ID_CHARS} are allowed")
    if not id_.isprintable():
        raise Invalid("/id", "must not contain control or other unprintable characters")


def _time(text: object) -> Instant:
    if not isinstance(text, str):
        raise Invalid("/time", f"must be a string such as 2026-11-22T10:00:00Z, not {_kind(text)}")
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Invalid("/time", str(error)) from None


def _unknown(given: Any, known: frozenset[str], why: str) -> Invalid:
    name = next(name for name in sorted(given) if name not in known)
    shown = name if len(name) <= 60 else name[:60] + "..."
    pointer = shown.replace("~", "~0").replace("/", "~1")
    return Invalid(f"/{pointer}" if pointer.isprintable() else "", f"{shown!r}{why}")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case "":
            return "an empty one"
        case str():
            return "a string"
        case list():
            return "an array"
    return "an object"


def _span(milliseconds: int) -> str:
    """In the largest unit that keeps two figures' sense: "90 seconds", "15 minutes", "6 hours"."""
    for size, unit in ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes")):
        if milliseconds >= 2 * size:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds // 1000} seconds"
