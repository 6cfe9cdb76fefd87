"""What callers send, as values: a JSON body as one of our types, and the words of a query. Refusals name the member and the remedy."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec.inspect import EnumType, LiteralType, StructType, type_info

from gridhook.errors import Invalid, Unreadable
from gridhook.model import Instant
from gridhook.rules import catalogue, strict_json
from gridhook.rules.instants import parse_rfc3339
from gridhook.web.call import MAX_QUERY_FIELDS, Call
from gridhook.web.shapes import Shape

S = TypeVar("S", bound=Shape)
W = TypeVar("W", bound=StrEnum)

_MOST_CHARACTERS = 255
_STATUS = re.compile(r"([1-9][0-9]{2})|([1-9])[xX]{2}", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}", re.ASCII)
_MEMBER = re.compile(r"(?s)(.*) - at `\$\.(\w+)(.*)`")
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"(?s)Object contains unknown field `(.*)`")
_EXPECTED = re.compile(r"Expected `([^`]*)`(?:, got `([^`]*)`)?")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}


def read_body(body: bytes, shape: type[S], *, needs: str = "") -> S:
    """The body as `shape`. needs: the members that must be there, for the words of a refusal; "": none, and then no body will do.

    Raises `Unreadable` (400) for what is no JSON object, `Invalid` (422) for members that are missing, unknown or of a wrong type.
    """
    if not body.strip() and not needs:
        return shape()
    value = strict_json.parse(body)
    if not isinstance(value, dict):
        raise Unreadable("", f"the body must be a JSON object{f' with {needs}' if needs else ''}")
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), shape) from None


def read_instant(text: str | None, name: str) -> Instant | None:
    if text is None:
        return None
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        raise Invalid(name, str(error)) from None


def read_text(value: str | None, name: str) -> str | None:
    """A text to compare with: short and printable. What is not matches nothing, and a database may refuse to be asked for it."""
    if value is None:
        return None
    if len(value) > _MOST_CHARACTERS:
        raise Invalid(name, f"has {len(value)} characters; at most {_MOST_CHARACTERS} are allowed")
    if not value.isprintable():
        raise Invalid(name, "must not contain control or other unprintable characters")
    return value


def read_type(text: str | None, name: str = "type") -> str | None:
    """A name of the catalogue. Raises `Invalid` with the likely meant one."""
    return None if text is None else catalogue.event_type(text, field=name).type


def read_outcome(outcome: str | None) -> bool | None:
    """Whether an attempt was received."""
    if outcome in (None, "delivered", "failed"):
        return None if outcome is None else outcome == "delivered"
    raise Invalid("outcome", "must be delivered or failed")


def read_status(text: str | None) -> tuple[int | None, int | None]:
    """(status, class)"""
    if text is None:
        return None, None
    found = _STATUS.fullmatch(text)
    if found is None:
        raise Invalid("status", "must be a status such as 404, or a class such as 4xx")
    return (int(found[1]), None) if found[1] else (None, int(found[2]))


class Query:
    """The parameters of a call. Of a repeated one the first counts; an empty one counts as absent, and so do those we do not know."""

    def __init__(self, call: Call) -> None:
        try:
            pairs = parse_qsl(call.query.decode("latin-1"), max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise Invalid("", f"the query has more than {MAX_QUERY_FIELDS} parameters") from None
        self._values: dict[str, str] = {}
        for name, value in pairs:
            self._values.setdefault(name, value)

    def text(self, name: str) -> str | None:
        return read_text(self._values.get(name), name)

    def word(self, name: str, words: type[W]) -> W | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            return words(value)
        except ValueError:
            raise Invalid(name, f"must be one of {', '.join(words)}") from None

    def instant(self, name: str) -> Instant | None:
        return read_instant(self.text(name), name)

    def type(self, name: str = "type") -> str | None:
        return read_type(self.text(name), name)

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number, clamped; anything that is not one counts as absent."""
        value = self._values.get(name, "").strip()
        return max(least, min(most, int(value))) if _INTEGER.fullmatch(value) else default


def checked_span(since: Instant | None, until: Instant | None) -> None:
    if since is not None and until is not None and until <= since:
        raise Invalid("until", "must lie after since")


def _refusal(message: str, shape: type[Shape]) -> Invalid:
    if found := _MISSING.fullmatch(message):
        what = _description(shape, found[1])
        return Invalid(found[1], f"is required: {what[:1].lower()}{what[1:]}" if what else "is required")
    if found := _UNKNOWN.fullmatch(message):
        name = found[1]
        known = ", ".join(shape.__struct_fields__)
        return Invalid(name if name.isprintable() and len(name) <= 60 else "", f"is no member here; there are {known}")
    found = _MEMBER.fullmatch(message)
    if found is None:
        return Invalid("", message)
    said, name, below = found[1], found[2], found[3]
    where = f"entry {below.strip('[]')} " if below.startswith("[") and below[1:2].isdigit() else ""
    if expected := _EXPECTED.match(said):
        what = " or ".join(_WORDS.get(word.strip(), word.strip()) for word in expected[1].split("|"))
        if expected[1].split("|")[0].strip() == "str" and (words := _words(shape, name)):
            what = what.replace("a string", f"one of {', '.join(words)}")
        got = expected[2]
        return Invalid(name, f"{where}must be {what}" + (f", not {_WORDS.get(got, got)}" if got else ""))
    if said.startswith("Invalid enum value"):
        return Invalid(name, f"{where}must be one of {', '.join(_words(shape, name))}; got {said.removeprefix('Invalid enum value ')}")
    return Invalid(name, f"{where}{said}")


def _fields(shape: type[Shape]) -> dict[str, Any]:
    found = type_info(shape)
    assert isinstance(found, StructType)
    return {one.name: one.type for one in found.fields}


def _description(shape: type[Shape], name: str) -> str:
    schema = msgspec.json.schema_components([shape])[1][shape.__name__]
    return str(schema["properties"].get(name, {}).get("description", ""))


def _words(shape: type[Shape], name: str) -> list[str]:
    """The closed set that a member, or an entry of it, is from; empty when it is from none."""
    return _closed(_fields(shape)[name]) if name in _fields(shape) else []


def _closed(found: Any) -> list[str]:
    if isinstance(found, EnumType):
        return [str(word.value) for word in found.cls]
    if isinstance(found, LiteralType):
        return [str(value) for value in found.values]
    below = getattr(found, "types", None) or [one for one in (getattr(found, "type", None), getattr(found, "item_type", None)) if one]
    return [word for one in below for word in _closed(one)]
