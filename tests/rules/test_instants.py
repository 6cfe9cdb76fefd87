"""Times are read strictly and written in one form."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridhook.rules.instants import FIRST, LAST, parse_rfc3339, rfc3339

NOON = 1_795_348_800_000  # 2026-11-22T12:00:00Z


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22t12:00:00z", NOON),
        ("2026-11-22T12:00:00+00:00", NOON),
        ("2026-11-22T12:00:00-00:00", NOON),
        ("2026-11-22T13:30:00+01:30", NOON),
        ("2026-11-21T23:00:00-13:00", NOON),
        ("2026-11-22T12:00:00.5Z", NOON + 500),
        ("2026-11-22T12:00:00.007Z", NOON + 7),
        ("2026-11-22T12:00:00.1239999999999Z", NOON + 123),
        ("1970-01-01T00:00:00Z", 0),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2017-01-01T00:59:60+01:00", 1_483_228_800_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("9999-12-31T23:59:59.999Z", LAST),
    ],
)
def test_every_spelling_of_an_instant_is_the_same_instant(text, at):
    assert parse_rfc3339(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22T12:00:00",  # no offset: whose noon?
        "2026-11-22 12:00:00Z",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:00.Z",
        "2026-11-22T12:00:00,5Z",
        "2026-11-22T12:00:00+0100",
        "2026-11-22T12:00:00+01",
        "2026-11-22T12:00:00+24:00",
        "2026-11-22T12:00:00+01:60",
        "2026-11-22T24:00:00Z",
        "2026-11-22T12:60:00Z",
        "2026-11-22T12:00:61Z",
        "2026-11-22T12:00:60Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-00-01T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-00:01",
        "12026-11-22T12:00:00Z",
        "+2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00Z\n",
        " 2026-11-22T12:00:00Z",
        "２０２６-11-22T12:00:00Z",
        "2026-W47-7T12:00:00Z",
        "now",
    ],
)
def test_what_is_not_a_time_is_refused_with_a_sentence_that_says_what_to_write(text):
    with pytest.raises(ValueError, match=r"must be an RFC 3339|must lie between|leap second"):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (NOON, "2026-11-22T12:00:00Z"),
        (NOON + 50, "2026-11-22T12:00:00.050Z"),
        (LAST, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_decimals_are_written_only_when_they_say_something(at, text):
    assert rfc3339(at) == text


@settings(deadline=None)
@given(st.integers(FIRST, LAST))
def test_what_we_write_we_read_back(at):
    assert parse_rfc3339(rfc3339(at)) == at


@settings(deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)), st.integers(-1439, 1439))
def test_reading_agrees_with_the_calendar_of_the_standard_library(naive, offset):
    there = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))
    text = there.isoformat()
    at = parse_rfc3339(text)
    assert at == (there - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_makes_it_fail_otherwise(text):
    with contextlib.suppress(ValueError):
        assert FIRST <= parse_rfc3339(text) <= LAST
