"""JSON as it may enter: what a parser would bend, lose or die of is refused here, once, for every body we read.

The engine is the standard library's. It accepts more than JSON and more than can be sent on unchanged; the hooks and
checks around it refuse: NaN and Infinity, numbers that no double or 64-bit integer holds, repeated keys, lone
surrogates (they parse, and fail much later when they are written), NUL, nesting without end, any encoding but UTF-8.
What is plainly harmless takes a quicker way first (`exact_json`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, NoReturn

from gridhook.errors import TooLarge, Unreadable
from gridhook.rules import exact_json

MAX_DEPTH = 64
MAX_INTEGER = 2**63  # in magnitude; what a signed 64-bit integer holds, and one more on the positive side

_WHITESPACE = re.compile(r"[ \t\n\r]*")
# The closing quote is optional, so that a text without one is walked once, not once from each quote in it.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STRUCTURE = re.compile(_STRING.pattern + r"|[\[\]{},]", re.DOTALL)
# Searched after escaped backslashes are blotted out. A high surrogate needs its low one behind it, a low one its high one before it.
# One literal prefix for all alternatives: the search then jumps from escape to escape.
_BAD_ESCAPE = re.compile(r"\\u(?:0000|[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F]..))")
_ONE_KIND_OF_BRACKET = bytes.maketrans(b"[]", b"{}")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_SKIPPABLE = 100_000  # structural tokens walked in Python to get past elements too deep for the engine, per batch: some 30 ms


def parse(body: bytes, *, field: str = "", max_depth: int = MAX_DEPTH) -> object:
    """The value of one JSON text: dict, list, str, int, float, bool or None, all of which can be written again unchanged.

    Floats are doubles: decimals beyond 17 digits are rounded, as every reader of the sent event would round them.
    Raises `Unreadable(field, ...)`, and nothing else, with line and column or the offending key or number.
    """
    value: object = exact_json.read(body, max_depth)
    if value is not None:
        return value
    text = _decoded(body, field)
    try:
        value = _strict.decode(text)
    except _Refused as refused:
        raise Unreadable(field, str(refused)) from None
    except json.JSONDecodeError as error:
        raise Unreadable(field, _syntax(error)) from None
    except RecursionError:
        # The engine counts its own levels and stops at the interpreter's limit, some 1,000: deep, but far from the stack's end.
        raise Unreadable(field, _deep(max_depth)) from None
    if defect := _defect(text, 0, len(text), max_depth):
        raise Unreadable(field, defect)
    return value


def parse_batch(body: bytes, *, max_elements: int, max_depth: int = MAX_DEPTH) -> Iterator[object]:
    """The elements of one JSON array, each judged alone: in place of a bad one stands its `Unreadable`, field `/<index>`.

    One by one, as they are asked for: parsed, a batch takes ten times its bytes, and more than the processor's cache.
    max_depth: of each element, as if it had come alone.
    Raises `Unreadable` when the body is not JSON at all or not an array, `TooLarge` when it has more than `max_elements`; this may
    be found only on the way.
    """
    texts = exact_json.elements(body, max_elements)
    if texts is None:
        yield from _parse_batch(body, max_elements, max_depth)
        return
    for number, text in enumerate(texts):
        value = exact_json.read(bytes(text), max_depth)
        if value is None:
            yield from _parse_batch(body, max_elements, max_depth)[number:]
            return
        yield value


def _parse_batch(body: bytes, max_elements: int, max_depth: int) -> list[object]:
    text = _decoded(body, "")
    at = _past_whitespace(text, 0)
    if not text.startswith("[", at):
        raise Unreadable("", "a batch must be a JSON array of events")
    elements: list[object] = []
    at = _past_whitespace(text, at + 1)
    if text.startswith("]", at):
        _end(text, at + 1)
        return elements
    skippable = _SKIPPABLE
    while True:
        if len(elements) == max_elements:
            raise TooLarge(f"a batch may hold at most {max_elements} events")
        start, field = at, f"/{len(elements)}"
        element: object
        try:
            element, at = _strict.raw_decode(text, start)
            if defect := _defect(text, start, at, max_depth):
                element = Unreadable(field, defect)
        except _Refused as refused:
            # The rest of the element must still be JSON: what follows it can be trusted only then.
            at, skippable = _past_element(text, start, field, skippable)
            element = Unreadable(field, str(refused))
        except json.JSONDecodeError as error:
            raise Unreadable("", _syntax(error)) from None
        except RecursionError:
            at, skippable = _past_nesting(text, start, field, skippable)
            element = Unreadable(field, _deep(max_depth))
        elements.append(element)
        at = _past_whitespace(text, at)
        if text.startswith("]", at):
            _end(text, at + 1)
            return elements
        if not text.startswith(",", at):
            raise Unreadable("", f"not JSON: expecting ',' or ']' {_place(text, at)}")
        at = _past_whitespace(text, at + 1)


class _Refused(Exception):
    """From inside the engine: JSON by its grammar (or Python's), but not what we take."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"the key {_shown(key)} appears twice in one object")
            seen.add(key)
    return value


def _integer(digits: str) -> int:
    # The length first: int() takes quadratic time, and refuses 4,301 digits with an error of its own.
    if len(digits) > 20 or abs(value := int(digits)) > MAX_INTEGER:
        raise _Refused(f"the number {_shown(digits)} is beyond 64 bits; send it as a string")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if not isfinite(value) or (value == 0.0 and re.match(r"-?[0.]*[1-9]", digits)):
        raise _Refused(f"the number {_shown(digits)} has an exponent that no double holds")
    return value


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON; send null or leave the field out")


_strict = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_grammar = json.JSONDecoder(parse_int=len, parse_float=len)  # syntax only; `len` because a long number must cost nothing


def _decoded(body: bytes, field: str) -> str:
    if body.startswith(b"\xef\xbb\xbf"):
        raise Unreadable(field, "starts with a byte order mark; send plain UTF-8 without it")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(field, f"not UTF-8: byte 0x{body[error.start]:02x} at offset {error.start}") from None
    if not text or text.isspace():
        raise Unreadable(field, "the body is empty")
    return text


def _defect(text: str, start: int, end: int, max_depth: int) -> str | None:
    """What is wrong with a text that the engine accepted; cheap questions first."""
    if text.find("\\u", start, end) >= 0:
        same_length = text[start:end].replace("\\\\", "__")
        if bad := _BAD_ESCAPE.search(same_length):
            what = "\\u0000 (NUL) is not allowed" if bad[0] == "\\u0000" else f"{bad[0]} is half of a surrogate pair"
            return f"{what} {_place(text, start + bad.start())}"
    if text.count("{", start, end) + text.count("[", start, end) > max_depth and _depth_exceeds(text[start:end], max_depth):
        return _deep(max_depth)
    return None


def _depth_exceeds(text: str, max_depth: int) -> bool:
    """Without strings and everything else between the brackets, each round strips one level off every branch."""
    brackets = _STRING.sub("", text).encode().translate(_ONE_KIND_OF_BRACKET, _NOT_BRACKETS)
    for _ in range(max_depth):
        brackets = brackets.replace(b"{}", b"")
    return bool(brackets)


def _past_element(text: str, start: int, field: str, skippable: int) -> tuple[int, int]:
    """Where a refused element ends."""
    try:
        return _grammar.raw_decode(text, start)[1], skippable
    except json.JSONDecodeError as error:
        raise Unreadable("", _syntax(error)) from None
    except RecursionError:
        return _past_nesting(text, start, field, skippable)


def _past_nesting(text: str, start: int, field: str, skippable: int) -> tuple[int, int]:
    """Where an element that is too deep for the engine ends, by its brackets alone."""
    level = 0
    for token in _STRUCTURE.finditer(text, start):
        skippable -= 1
        if skippable < 0:
            raise Unreadable("", f"element {field[1:]} is nested so deeply that the elements behind it cannot be found")
        mark = token[0]
        if mark in "[{":
            level += 1
        elif mark in "]}":
            level -= 1
            if level == 0:
                return token.end(), skippable
    raise Unreadable("", f"not JSON: element {field[1:]} does not end")


def _end(text: str, at: int) -> None:
    at = _past_whitespace(text, at)
    if at != len(text):
        raise Unreadable("", f"not JSON: extra data {_place(text, at)}")


def _past_whitespace(text: str, at: int) -> int:
    found = _WHITESPACE.match(text, at)
    return found.end() if found else at


def _syntax(error: json.JSONDecodeError) -> str:
    return f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"


def _place(text: str, at: int) -> str:
    return f"(line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)})"


def _deep(max_depth: int) -> str:
    return f"nested more than {max_depth} levels deep"


def _shown(text: str) -> str:
    """Quoted, with anything unprintable escaped, cut to a length that fits a message."""
    return repr(text) if len(text) <= 80 else repr(text[:80]) + "..."
