"""Bad JSON is refused with a place or a name, never bent, never a crash; in a batch it costs only its own element."""

import json
import math

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridhook.errors import TooLarge, Unreadable
from gridhook.rules import exact_json
from gridhook.rules.strict_json import parse, parse_batch

BACKSLASH = "\\"


def read_all(body: bytes, *, max_elements: int) -> list[object]:
    return list(parse_batch(body, max_elements=max_elements))


def refusal(body: bytes) -> str:
    with pytest.raises(Unreadable) as refused:
        parse(body, field="/body")
    assert refused.value.field == "/body"
    assert refused.value.status == 400
    return refused.value.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n\t ", "empty"),
        (b"nope", "line 1, column 1"),
        (b'{"a": 1,}', "line 1, column 9"),
        (b'{"a": 1\n "b": 2}', "line 2, column 2"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
        (b'{"a": 1}\x00', "Extra data"),
        (b"[1, 2", "not JSON"),
        (b'"no end', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"[01]", "not JSON"),
        (b"[+1]", "not JSON"),
        (b"[.5]", "not JSON"),
        (b"[1.]", "not JSON"),
        (b"// a\n1", "not JSON"),
        (b'"line\nbreak"', "control character"),
        (b'"raw \x00 nul"', "control character"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8: byte 0xff at offset 0"),
        ('{"a": 1}'.encode("utf-16-be"), "not JSON"),
        (b'"\xc0\xaf"', "not UTF-8"),  # overlong
        (b'"\xed\xa0\x80"', "not UTF-8"),  # a surrogate, spelled in bytes
        (b'"caf\xe9"', "offset 4"),  # Latin-1
        (b"NaN", "NaN"),
        (b'{"a": [Infinity]}', "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1e400", "1e400"),
        (b"-1e400", "-1e400"),
        (b"1e130000", "1e130000"),
        (b"1e-130000", "1e-130000"),
        (b"0.000012e-400", "exponent"),
        (b"9223372036854775809", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"9" * 4301, "64 bits"),  # the standard library's own limit is a ValueError of another kind
        (b"[" + b"7" * 200_000 + b"]", "64 bits"),
        (b'{"id": 1, "x": {"id": 2}, "id": 3}', "'id' appears twice"),
        (b'[{"a": {"b": 1, "b": 1}}]', "'b' appears twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' appears twice"),
        (b'"\\ud800"', "\\ud800 is half of a surrogate pair (line 1, column 2)"),
        (b'"\\uDFFF"', "surrogate"),
        (b'"\\ud83d\\ud83d\\ude00"', "\\ud83d is half of a surrogate pair (line 1, column 2)"),
        (b'"\\ud83d\\ude00\\ude00"', "column 14"),
        (b'"\\ud83d \\ude00"', "surrogate"),
        (b'{"\\ud83d": 1}', "surrogate"),
        (b'"\\ud83d\\\\ude00"', "surrogate"),
        (b'["ok",\n "\\u0000"]', "NUL) is not allowed (line 2, column 3)"),
        (b'{"a\\u0000b": 1}', "NUL"),
        (b'"\\\\\\u0000"', "NUL"),
        (b"[" * 65 + b"]" * 65, "more than 64 levels"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "more than 64 levels"),
        (b'[{"a":' * 33 + b"1" + b"}]" * 33, "more than 64 levels"),
        (b"[" * 900 + b"]" * 900, "more than 64 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "more than 64 levels"),
        (b"[" * 100_000, "more than 64 levels"),
        (b'{"a":' * 100_000, "more than 64 levels"),
    ],
)
def test_what_cannot_be_sent_on_unchanged_is_refused_with_its_place_or_name(body, says):
    assert says in refusal(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b" [1, 2.5, -0, true] \r\n", [1, 2.5, 0, True]),
        (b"9223372036854775808", 2**63),
        (b"-9223372036854775808", -(2**63)),
        (b"1e308", 1e308),
        (b"5e-324", 5e-324),
        (b"0e999999", 0.0),
        (b"0.000e-5", 0.0),
        (b'"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        (b'"\\uD83D\\uDE00\\ud83d\\ude00"', "\N{GRINNING FACE}" * 2),
        (b'"\\\\u0000 \\\\ud800"', f"{BACKSLASH}u0000 {BACKSLASH}ud800"),  # a backslash, then five letters: no escape
        ('"Zoë ☕"'.encode(), "Zoë ☕"),
        (b'{"a": {"a": {"a": 1}}}', {"a": {"a": {"a": 1}}}),
        (b'[{"a": 1}, {"a": 1}]', [{"a": 1}, {"a": 1}]),
        (b'"' + b"[{" * 500 + b'"', "[{" * 500),  # brackets in a string are no nesting
        (b'["' + b'\\"[' * 300 + b'"]', ['"[' * 300]),
        (b"[" + b"[]," * 500 + b"[]]", [[]] * 501),  # wide is not deep
    ],
)
def test_what_is_right_is_read(body, value):
    read = parse(body)
    assert read == value
    assert type(read) is type(value)


def test_64_levels_are_not_too_many():
    assert parse(b"[" * 64 + b"]" * 64)
    assert parse(b'[{"a":' * 32 + b"1" + b"}]" * 32)


def test_a_text_full_of_quotes_is_walked_once_even_when_the_last_one_is_missing():
    # A pattern that insists on the closing quote would go to the end of the text from each of them: hours, not milliseconds.
    quotes = b'"' + b'\\"' * 500_000
    assert "more than 64 levels" in refusal(b"[" + quotes + b'",' + b"[" * 100 + b"]" * 101)
    with pytest.raises(Unreadable, match="element 0 does not end"):
        read_all(b"[" * 5000 + quotes, max_elements=10)


def test_the_name_in_a_message_is_safe_to_print_and_short():
    message = refusal(b'{"%s": 1, "%s": 2}' % ((b"\\u0007x" * 5000,) * 2))
    assert message.isprintable()
    assert len(message) < 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equal, and of the same types all through: True is not 1 here, nor -0.0 the same as 0.0."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return type(left) is type(right) and left == right


@settings(deadline=None)
@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_what_is_accepted_is_written_again_without_loss(value, ascii_only, indent):
    if "\0" in json.dumps(value, ensure_ascii=False) or "\\u0000" in json.dumps(value):
        value = None
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    read = parse(body)
    assert same(read, value)
    assert json.dumps(read, ensure_ascii=ascii_only, indent=indent).encode() == body


def survives(body: bytes) -> None:
    """Refused as Unreadable, or accepted and then good for writing: nothing else may come out."""
    try:
        value = parse(body)
    except Unreadable as refused:
        said = refused.message
        said.encode()
        return
    again = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    assert b"\0" not in again
    assert b"\\u0000" not in again.replace(b"\\\\", b"")
    assert same(parse(again), value)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_whatever_make_it_fail_otherwise(body):
    survives(body)


SYNTAX = ["{", "}", "[", "]", ",", ":", '"', '"a"', '"a":', "NaN", "-", "0", "12", "null", "true", " ", "\n"]
TRAPS = [
    BACKSLASH,
    "\\u",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\\ud83d\\ude00",
    "1e400",
    "1e-999",
    "9" * 25,
    "[" * 70,
    "\0",
    "\ufeff",
    "é",
    "😀",
]
pieces = st.sampled_from([*SYNTAX, *TRAPS])


@settings(deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
@example('{"a":1,"a":1}')
@example('["' + BACKSLASH)
def test_no_mutilated_json_makes_it_fail_otherwise(text):
    survives(text.encode())


@settings(deadline=None)
@given(json_values, st.integers(0, 200), st.binary(max_size=3))
def test_no_damaged_document_makes_it_fail_otherwise(value, at, damage):
    body = json.dumps(value).encode()
    survives(body[:at] + damage + body[at + 1 :])


GOOD = b'{"type": "ag.access_pass.updated", "data": {"id": "0xp1"}}'


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b'{"type": 1, "type": 2}', "'type' appears twice"),
        (b'{"data": "\\u0000"}', "NUL"),
        (b'{"data": "\\ud800"}', "surrogate"),
        (b'{"data": NaN}', "NaN"),
        (b'{"data": 1e400}', "1e400"),
        (b'{"data": ' + b"8" * 5000 + b"}", "64 bits"),
        (b"[" * 65 + b"]" * 65, "64 levels"),
        (b"[" * 5000 + b'"]]"' + b"]" * 5000, "64 levels"),
        (b'{"a": 1, "a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "64 levels"),
        (b'{"a": {"b": 1, "b": 1}, "c": ' + b"[" * 5000 + b"]" * 5000 + b"}", "appears twice"),
    ],
)
def test_one_bad_element_does_not_sink_the_batch(bad, says):
    body = b"[\n" + b",\n".join([GOOD] * 17 + [bad] + [GOOD] * 3) + b"\n]\n"
    elements = read_all(body, max_elements=1000)
    assert len(elements) == 21
    refused = elements.pop(17)
    assert isinstance(refused, Unreadable)
    assert refused.field == "/17"
    assert says in refused.message
    assert elements == [json.loads(GOOD)] * 20


def test_each_of_several_bad_elements_is_named():
    elements = read_all(b'[NaN, 1, {"a":1,"a":2}, [], "\\u0000", 1e999]', max_elements=10)
    assert [element.field for element in elements if isinstance(element, Unreadable)] == ["/0", "/2", "/4", "/5"]
    assert elements[1] == 1
    assert elements[3] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"{}", "must be a JSON array"),
        (b"nope", "must be a JSON array"),
        (b"[1, 2", "expecting ',' or ']'"),
        (b"[1 2]", "expecting ',' or ']' (line 1, column 4)"),
        (b"[1,]", "not JSON"),
        (b"[,1]", "not JSON"),
        (b"[", "not JSON"),
        (b"[1]]", "extra data"),
        (b"[] x", "extra data (line 1, column 4)"),
        (b'[1, {"a": }]', "line 1, column 11"),
        (b'[{"a": NaN, "b": }]', "not JSON"),  # refused for NaN alone, were the rest JSON
        (b"[" * 100_000, "does not end"),
        (b"[1, " + b"[" * 200_000 + b"]" * 200_000 + b"]", "element 1 is nested so deeply"),
        (b"[1, \xff]", "not UTF-8"),
        (b"\xef\xbb\xbf[]", "byte order mark"),
    ],
)
def test_a_batch_that_is_no_json_array_is_refused_as_a_whole(body, says):
    with pytest.raises(Unreadable) as refused:
        read_all(body, max_elements=1000)
    assert refused.value.field == ""
    assert says in refused.value.message


def test_an_empty_batch_is_an_empty_list():
    assert read_all(b" [ ] ", max_elements=5) == []


def test_a_batch_with_too_many_elements_is_too_large():
    assert read_all(b"[1,2,3]", max_elements=3) == [1, 2, 3]
    with pytest.raises(TooLarge, match="at most 3 events"):
        read_all(b"[1,2,3,4]", max_elements=3)


@settings(deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
def test_a_batch_is_judged_like_its_elements_one_by_one(text):
    body = f"[{text}]".encode()
    try:
        elements = read_all(body, max_elements=100)
    except Unreadable as refused:
        said = refused.message
        said.encode()
        with pytest.raises(Unreadable):
            parse(body)
        return
    try:
        whole = parse(body, max_depth=65)
    except Unreadable:
        assert any(isinstance(element, Unreadable) for element in elements)
    else:
        assert elements == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_the_quick_way_reads_what_the_careful_one_does_or_leaves_it_to_that(value):
    for text in (msgspec.json.encode(value), json.dumps(value).encode(), json.dumps(value, separators=(",", ":")).encode()):
        quick = exact_json.read(text, 64)
        if quick is not None:
            careful = parse(b" " + text)  # a space is enough to take the careful way
            assert (quick, repr(quick)) == (careful, repr(careful))


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":"\\u0000"}',
        b'{"a":123456789012345678901}',
        b'{"a":9223372036854775809}',
        b'{"a":1e400}',
        b'{"a":1e-400}',
        b'{"a":NaN}',
        b'{"a":"\xed\xa0\x80"}',
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"null",
        b"",
        b" ",
        b'{"a":1}x',
    ],
)
def test_the_quick_way_takes_nothing_that_is_refused(text):
    assert exact_json.read(text, 64) is None


def test_a_compact_batch_goes_the_quick_way_up_to_the_first_doubtful_element():
    events = [{"id": f"e{n}", "data": {"n": n}} for n in range(1000)]
    compact = msgspec.json.encode(events)
    texts = exact_json.elements(compact, 1000)
    assert texts is not None
    assert [exact_json.read(bytes(text), 64) for text in texts] == events
    assert exact_json.elements(compact, 999) is None
    assert exact_json.elements(b"[" + b"1," * 200_000 + b"1]", 1000) is None
    doubled = compact.replace(b'"n":7}', b'"n":7,"n":7}', 1)
    elements = read_all(doubled, max_elements=1000)
    assert isinstance(elements[7], Unreadable)
    assert elements[:7] + elements[8:] == events[:7] + events[8:]


def test_a_batch_is_read_as_it_is_asked_for():
    """So that it is never in memory as a whole, which takes ten times its bytes."""
    elements = parse_batch(b'[{"a":1},{"a":2},{"a":NaN}]', max_elements=3)
    assert next(elements) == {"a": 1}
    with pytest.raises(Unreadable):
        next(parse_batch(b'[{"a":1},{"a":2]', max_elements=3))
